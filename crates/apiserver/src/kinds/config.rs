//! Config maps and secrets: columns and rules (upstream's `pkg/apis/core/validation`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mxjob_machinery::field::{BadValue, Error, Errors, Path};
use mxjob_machinery::json::{self, text};
use mxjob_machinery::pod_spec;
use serde_json::{Map, Value, json};

use super::{default_to, rules};
use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::strategy::Strategy;

/// The most bytes that all values of an object may have (upstream's `MaxSecretSize`).
const MAX_BYTES: usize = 1024 * 1024;
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// The keys that secrets of a type must have.
const REQUIRED_KEYS: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];
/// Keys whose values must be JSON objects.
const JSON_KEYS: &[&str] = &[".dockercfg", ".dockerconfigjson"];
/// The annotation that names the account of a secret with a token.
const ACCOUNT: &str = "kubernetes.io/service-account.name";

/// The columns of config maps.
pub(super) const CONFIG_MAP_COLUMNS: &[Column] = &[NAME, computed("Data", 0, data_count), AGE];
/// The columns of secrets.
pub(super) const SECRET_COLUMNS: &[Column] = &[
    NAME,
    computed("Type", 0, |object, _| text(object, "/type").into()),
    computed("Data", 0, data_count),
    AGE,
];

fn data_count(object: &Value, _: Timestamp) -> Value {
    let count = |field| map(object, field).map_or(0, Map::len);
    (count("data") + count("binaryData")).to_string().into()
}

fn map<'a>(object: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    object.get(field).and_then(Value::as_object)
}

/// The errors in the keys of a map: they become names of files.
fn key_errors(object: &Value, field: &str) -> Errors {
    pod_spec::validate_keys(object.get(field).unwrap_or(&Value::Null), &Path::new(field))
}

/// How many bytes a value in base64 stands for.
fn decoded_len(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    let digits = text.bytes().filter(|byte| !matches!(byte, b'=' | b'\r' | b'\n')).count();
    digits / 4 * 3 + (digits % 4).saturating_sub(1)
}

fn decoded_bytes(object: &Value, field: &str) -> usize {
    map(object, field).into_iter().flat_map(Map::values).map(decoded_len).sum()
}

/// The changes of an immutable object.
fn immutable_errors(old: &Value, new: &Value, fields: &[&str]) -> Errors {
    let is_immutable = |object: &Value| object.get("immutable") == Some(&Value::Bool(true));
    if !is_immutable(old) {
        return Errors::new();
    }
    let mut errors = Errors::new();
    if !is_immutable(new) {
        errors.push(Error::forbidden(&Path::new("immutable"), IMMUTABLE));
    }
    for field in fields {
        if !rules::same(old.get(field), new.get(field)) {
            errors.push(Error::forbidden(&Path::new(*field), IMMUTABLE));
        }
    }
    errors
}

/// The rules of a config map.
#[derive(Debug)]
pub(super) struct ConfigMap;

impl Strategy for ConfigMap {
    /// Upstream's `ValidateConfigMap`.
    fn validate(&self, object: &Value) -> Errors {
        let mut errors = key_errors(object, "data");
        let mut bytes = decoded_bytes(object, "binaryData");
        for (key, value) in map(object, "data").into_iter().flatten() {
            if map(object, "binaryData").is_some_and(|binary| binary.contains_key(key)) {
                let path = Path::new("data").key(key);
                let detail = "duplicate of key present in binaryData";
                errors.push(Error::invalid(&path, key, detail));
            }
            bytes += value.as_str().map_or(0, str::len);
        }
        errors.append(key_errors(object, "binaryData"));
        if bytes > MAX_BYTES {
            // How upstream prints the path of the whole object.
            errors.push(Error::too_long(&Path::new("[]"), MAX_BYTES));
        }
        errors
    }

    /// Upstream's `ValidateConfigMapUpdate`.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        immutable_errors(old, new, &["data", "binaryData"])
    }
}

/// The rules of a secret, which takes `stringData` and gives back base64.
#[derive(Debug)]
pub(super) struct Secret;

impl Secret {
    fn fold_strings(object: &mut Value) {
        default_to(object, "type", "Opaque");
        let Some(map) = object.as_object_mut() else { return };
        let Some(Value::Object(strings)) = map.remove("stringData") else { return };
        let data = map.entry("data").or_insert_with(|| json!({}));
        if let Some(data) = data.as_object_mut() {
            for (key, value) in strings {
                let text = value.as_str().unwrap_or_default();
                data.insert(key, STANDARD.encode(text).into());
            }
        }
    }

    /// The keys that the type asks for, and the content of those that must be JSON.
    fn type_errors(object: &Value) -> Errors {
        let (path, kind) = (Path::new("data"), text(object, "/type"));
        let missing = |key: &str| Error::required(&path.key(key), "");
        let value = |key: &str| map(object, "data").and_then(|data| data.get(key));
        let mut errors = Errors::new();
        let required = REQUIRED_KEYS.iter().find(|(name, _)| *name == kind);
        for key in required.into_iter().flat_map(|(_, keys)| *keys) {
            match value(key) {
                None => errors.push(missing(key)),
                Some(content) if JSON_KEYS.contains(key) => {
                    errors.extend(json_error(content, &path.key(key)));
                }
                Some(_) => {}
            }
        }
        match kind {
            "kubernetes.io/basic-auth" => {
                let keys = ["username", "password"];
                if keys.iter().all(|key| value(key).is_none()) {
                    errors.extend(keys.map(missing));
                }
            }
            "kubernetes.io/ssh-auth"
                if value("ssh-privatekey").is_none_or(|key| decoded_len(key) == 0) =>
            {
                errors.push(missing("ssh-privatekey"));
            }
            "kubernetes.io/service-account-token" => {
                let annotations = object.pointer("/metadata/annotations");
                if !rules::is_set(annotations.and_then(|annotations| annotations.get(ACCOUNT))) {
                    let path = Path::new("metadata").child("annotations").key(ACCOUNT);
                    errors.push(Error::required(&path, ""));
                }
            }
            _ => {}
        }
        errors
    }
}

/// Why a value is not a JSON object. The value itself is not shown.
fn json_error(value: &Value, path: &Path) -> Option<Error> {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    let problem = match json::decode(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return None,
        Ok(other) => format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json::kind(&other)
        ),
        Err(error) => error.to_string(),
    };
    Some(Error::invalid(path, BadValue::from("<secret contents redacted>"), problem))
}

impl Strategy for Secret {
    fn prepare_create(&self, object: &mut Value) {
        Self::fold_strings(object);
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        Self::fold_strings(new);
    }

    /// Upstream's `ValidateSecret`.
    fn validate(&self, object: &Value) -> Errors {
        let mut errors = key_errors(object, "data");
        if decoded_bytes(object, "data") > MAX_BYTES {
            errors.push(Error::too_long(&Path::new("data"), MAX_BYTES));
        }
        errors.append(Self::type_errors(object));
        errors
    }

    /// Upstream's `ValidateSecretUpdate`.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        let mut errors = rules::immutable(old, new, &["type"]);
        errors.append(immutable_errors(old, new, &["data"]));
        errors
    }

    fn is_selectable(&self, field: &str) -> bool {
        field == "type"
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        (field == "type").then(|| text(object, "/type").to_owned())
    }
}
