//! The rules for `metadata` (`k8s.io/apimachinery/pkg/api/validation`), on the JSON as it came.
//!
//! Owns what upstream checks for every kind. It never fills anything in: uids, times, generated
//! names and the current values of system fields are the API server's to set.

mod decode;

use serde_json::{Map, Value};

use crate::{
    field::{BadValue, Error, Errors, Path},
    go, names,
    schema::{Schema, kubernetes},
};

pub use decode::{decode_problem, is_field, unknown_fields};

/// Upstream's limit on the keys and values of all annotations together.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;
/// Upstream's limit on the name of a field manager.
pub const FIELD_MANAGER_MAX_BYTES: usize = 128;
const SUBRESOURCE_MAX_BYTES: usize = 256;

/// The finalizer that orphans dependents.
pub const FINALIZER_ORPHAN: &str = "orphan";
/// The finalizer that deletes dependents first.
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";
const FINALIZER_NAMESPACE: &str = "kubernetes";

/// What the names of a kind must look like: one of the functions of [`crate::names`].
pub type NameRule = fn(&str) -> Vec<String>;

/// Validates the metadata of a new object whose name is a DNS subdomain, as most names are.
pub fn validate(meta: &Map<String, Value>, namespaced: bool, path: &Path) -> Errors {
    validate_named(meta, namespaced, names::dns1123_subdomain, path)
}

/// Validates the metadata of a new object under its kind's rule for names.
pub fn validate_named(
    meta: &Map<String, Value>,
    namespaced: bool,
    name_rule: NameRule,
    path: &Path,
) -> Errors {
    let mut errors = Errors::new();
    let prefix = text(meta, "generateName");
    if !prefix.is_empty() {
        invalid_all(&mut errors, &path.child("generateName"), prefix, name_rule(&masked(prefix)));
    }
    let name = text(meta, "name");
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), "name or generateName is required"));
    } else {
        invalid_all(&mut errors, &path.child("name"), name, name_rule(name));
    }
    let namespace = text(meta, "namespace");
    let namespace_path = path.child("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(Error::required(&namespace_path, "")),
        (true, false) => {
            invalid_all(&mut errors, &namespace_path, namespace, names::dns1123_label(namespace))
        }
        (false, false) => {
            errors.push(Error::forbidden(&namespace_path, "not allowed on this type"))
        }
        (false, true) => {}
    }
    let generation = integer(meta, "generation");
    if generation < 0 {
        let rule = "must be greater than or equal to 0";
        errors.push(Error::invalid(&path.child("generation"), generation, rule));
    }
    labels(&mut errors, meta, &path.child("labels"));
    annotations(&mut errors, meta, &path.child("annotations"));
    owner_references(&mut errors, meta, &path.child("ownerReferences"));
    added_finalizers(&mut errors, meta, &Map::new(), &path.child("finalizers"));
    managed_fields(&mut errors, meta, &path.child("managedFields"));
    errors
}

/// Validates the metadata of an update against that of the current object.
///
/// Both must be what would be stored: the server has already put current values where a client may
/// leave them out or may not set them. Added finalizers are checked as on creation, which upstream
/// does for some kinds only. Upstream runs this twice on most kinds, once for all and
/// once in the kind's own rules, so its answers carry each cause twice.
pub fn validate_update(new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) -> Errors {
    let mut errors = Errors::new();
    if !text(old, "deletionTimestamp").is_empty() {
        no_new_finalizers(&mut errors, new, old, &path.child("finalizers"));
    }
    if text(new, "resourceVersion").is_empty() {
        let rule = "must be specified for an update";
        errors.push(Error::invalid(&path.child("resourceVersion"), "", rule));
    }
    let generation = integer(new, "generation");
    if generation < integer(old, "generation") {
        errors.push(Error::invalid(
            &path.child("generation"),
            generation,
            "must not be decremented",
        ));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        immutable(&mut errors, new, old, field, path);
    }
    labels(&mut errors, new, &path.child("labels"));
    annotations(&mut errors, new, &path.child("annotations"));
    owner_references(&mut errors, new, &path.child("ownerReferences"));
    added_finalizers(&mut errors, new, old, &path.child("finalizers"));
    managed_fields(&mut errors, new, &path.child("managedFields"));
    errors
}

/// What to warn about, without refusing it.
pub fn warnings(meta: &Map<String, Value>) -> Vec<String> {
    strings(meta, "finalizers")
        .filter(|name| !name.contains('/') && !is_standard_finalizer(name))
        .map(|name| {
            format!(
                "metadata.finalizers: {}: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers",
                go::quote(name)
            )
        })
        .collect()
}

/// Validates the name of a field manager.
pub fn validate_field_manager(manager: &str, path: &Path) -> Errors {
    let mut errors = Errors::new();
    if manager.len() > FIELD_MANAGER_MAX_BYTES {
        errors.push(Error::too_long(path, FIELD_MANAGER_MAX_BYTES));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| !go::is_print(*c)) {
        let code = u32::from(c);
        errors.push(Error::invalid(
            path,
            manager,
            format!("invalid character U+{code:04X} (at position {at})"),
        ));
    }
    errors
}

/// Puts the zero value in place of each null in a map or list of metadata, as
/// [`Schema::zero_nulls`] does of whole objects.
pub fn zero_nulls(meta: &mut Map<String, Value>) {
    if let Some(schema) = kubernetes::kind("meta.k8s.io", "v1", "ObjectMeta") {
        Schema::zero_nulls_in(schema, meta);
    }
}

/// Brings metadata into the form in which it is stored, as decoding and encoding it would: unknown
/// fields, nulls, and empty text, lists and maps are gone.
pub fn normalize(meta: &mut Map<String, Value>) {
    meta.retain(|field, value| {
        let empty = match &*value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Number(number) => number.as_i64() == Some(0) && field == "generation",
            Value::Bool(_) => false,
        };
        !empty && is_field(field)
    });
}

/// Validates a map of labels.
pub fn validate_labels(labels: &Map<String, Value>, path: &Path) -> Errors {
    let mut errors = Errors::new();
    for (key, value) in labels {
        invalid_all(&mut errors, path, key, names::qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        invalid_all(&mut errors, path, value, names::label_value(value));
    }
    errors
}

fn labels(errors: &mut Errors, meta: &Map<String, Value>, path: &Path) {
    if let Some(labels) = meta.get("labels").and_then(Value::as_object) {
        errors.append(validate_labels(labels, path));
    }
}

fn annotations(errors: &mut Errors, meta: &Map<String, Value>, path: &Path) {
    let Some(annotations) = meta.get("annotations").and_then(Value::as_object) else { return };
    let mut bytes = 0_usize;
    for (key, value) in annotations {
        // Keys are compared without regard to case, so upper case passes.
        invalid_all(errors, path, key, names::qualified_name(&key.to_lowercase()));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_MAX_BYTES {
        errors.push(Error::too_long(path, ANNOTATIONS_MAX_BYTES));
    }
}

/// Checks the finalizers that the old metadata does not have: others must stay removable one by
/// one, whatever an earlier version accepted.
fn added_finalizers(
    errors: &mut Errors,
    new: &Map<String, Value>,
    old: &Map<String, Value>,
    path: &Path,
) {
    let has = |meta, finalizer: &str| strings(meta, "finalizers").any(|name| name == finalizer);
    for name in strings(new, "finalizers").filter(|name| !has(old, name)) {
        invalid_all(errors, path, name, names::qualified_name(name));
    }
    let conflicts = |meta| has(meta, FINALIZER_ORPHAN) && has(meta, FINALIZER_FOREGROUND);
    if conflicts(new) && !conflicts(old) {
        let value = BadValue::bare(go::string_slice(strings(new, "finalizers")));
        let rule =
            format!("finalizer {FINALIZER_ORPHAN} and {FINALIZER_FOREGROUND} cannot be both set");
        errors.push(Error::invalid(path, value, rule));
    }
}

fn no_new_finalizers(
    errors: &mut Errors,
    new: &Map<String, Value>,
    old: &Map<String, Value>,
    path: &Path,
) {
    let mut added: Vec<&str> = strings(new, "finalizers")
        .filter(|name| !strings(old, "finalizers").any(|old| old == *name))
        .collect();
    added.sort_unstable();
    added.dedup();
    if !added.is_empty() {
        let found = go::string_slice(added);
        errors.push(Error::forbidden(
            path,
            format!("no new finalizers can be added if the object is being deleted, found new finalizers {found}"),
        ));
    }
}

fn owner_references(errors: &mut Errors, meta: &Map<String, Value>, path: &Path) {
    let mut controller: Option<&str> = None;
    for owner in meta.get("ownerReferences").and_then(Value::as_array).into_iter().flatten() {
        let Some(owner) = owner.as_object() else { continue };
        let api_version = text(owner, "apiVersion");
        // `version` or `group/version`; with more slashes upstream finds no version in it.
        let version = match api_version.split_once('/') {
            None => api_version,
            Some((_, version)) if version.contains('/') => "",
            Some((_, version)) => version,
        };
        if version.is_empty() {
            errors.push(Error::invalid(
                &path.child("apiVersion"),
                api_version,
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                errors.push(Error::invalid(
                    &path.child(field),
                    "",
                    format!("{field} must not be empty"),
                ));
            }
        }
        if api_version == "v1" && text(owner, "kind") == "Event" {
            let value = BadValue::bare(Value::Object(owner.clone()));
            errors.push(Error::invalid(
                path,
                value,
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            let name = text(owner, "name");
            if let Some(first) = controller {
                let value = BadValue::bare(meta.get("ownerReferences").unwrap_or(&Value::Null));
                let rule = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(Error::invalid(path, value, rule));
            } else {
                controller = Some(name);
            }
        }
    }
}

fn managed_fields(errors: &mut Errors, meta: &Map<String, Value>, path: &Path) {
    for (index, entry) in
        meta.get("managedFields").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let Some(entry) = entry.as_object() else { continue };
        let path = path.index(index);
        let operation = text(entry, "operation");
        if !matches!(operation, "Apply" | "Update") {
            errors.push(Error::invalid(
                &path.child("operation"),
                operation,
                "must be `Apply` or `Update`",
            ));
        }
        let fields_type = text(entry, "fieldsType");
        if !matches!(fields_type, "" | "FieldsV1") {
            errors.push(Error::invalid(
                &path.child("fieldsType"),
                fields_type,
                "must be `FieldsV1`",
            ));
        }
        errors.append(validate_field_manager(text(entry, "manager"), &path.child("manager")));
        if text(entry, "subresource").len() > SUBRESOURCE_MAX_BYTES {
            errors.push(Error::too_long(&path.child("subresource"), SUBRESOURCE_MAX_BYTES));
        }
    }
}

fn immutable(
    errors: &mut Errors,
    new: &Map<String, Value>,
    old: &Map<String, Value>,
    field: &str,
    path: &Path,
) {
    let empty = |value: Option<&Value>| value.is_none_or(|value| value.is_null() || value == "");
    let (new, old) = (new.get(field), old.get(field));
    if new != old && !(empty(new) && empty(old)) {
        let value = match new {
            Some(value) => BadValue::from(value),
            None if field.ends_with("Timestamp") || field.ends_with("Seconds") => {
                BadValue::from("null")
            }
            None => BadValue::from(""),
        };
        errors.push(Error::invalid(&path.child(field), value, "field is immutable"));
    }
}

fn is_standard_finalizer(name: &str) -> bool {
    matches!(name, FINALIZER_ORPHAN | FINALIZER_FOREGROUND | FINALIZER_NAMESPACE)
}

/// A prefix as it would begin a name: a trailing dash is followed by something.
fn masked(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(stem) if !stem.is_empty() => {
            let mut stem = stem.to_owned();
            stem.pop();
            stem + "a"
        }
        _ => prefix.to_owned(),
    }
}

fn invalid_all(errors: &mut Errors, path: &Path, value: &str, complaints: Vec<String>) {
    for rule in complaints {
        errors.push_with(|| Error::invalid(path, value, rule));
    }
}

fn text<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn integer(map: &Map<String, Value>, field: &str) -> i64 {
    map.get(field).and_then(Value::as_i64).unwrap_or_default()
}

fn strings<'a>(map: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a str> {
    map.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests;
