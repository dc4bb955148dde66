//! Named schemas: those of built-in kinds are JSON texts that are compiled in, those of custom
//! resources come from their definition ([`custom`]), and every kind has a list schema.
//!
//! The texts are inserted into a document unchanged. Only a kind's own schema is parsed, to add its
//! group, version and kind.

mod custom;

use std::borrow::Cow;
use std::collections::BTreeMap;

use mxjob_machinery::schema::{REFERENCE, kubernetes};
use serde_json::{Value, json};

use crate::kind::Kind;

/// Schemas in every document, in addition to those that its kinds and operations refer to.
const META: &[&str] = &["DeleteOptions", "ListMeta", "ObjectMeta", "Patch", "Status"];
/// The extension that names the kind of a schema.
const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";
/// The prefix of references in version 2.
const REFERENCE_V2: &str = "#/definitions/";

/// Schemas of one document.
#[derive(Debug, Default)]
pub(super) struct Schemas<'a>(BTreeMap<String, Named<'a>>);

#[derive(Debug)]
enum Named<'a> {
    /// A schema with references of version 3.
    Text(Cow<'static, str>),
    /// The schema of a custom resource, which the versions show differently.
    Custom(&'a Kind),
}

/// A schema's name: the group's domain reversed, as upstream names the packages of its types.
pub(super) fn name(group: &str, version: &str, kind: &str) -> String {
    kubernetes::name(group, version, kind)
}

/// The name of a schema of `meta/v1`.
pub(super) fn meta(name: &str) -> String {
    kubernetes::name("meta.k8s.io", "v1", name)
}

/// Whether there is a schema for a kind.
pub(super) fn is_described(group: &str, version: &str, kind: &str) -> bool {
    kubernetes::definitions().json(&name(group, version, kind)).is_some()
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{name}") })
}

/// A copy whose references point to version 2's place for schemas.
pub(super) fn reference_v2(schema: &Value) -> Value {
    schema.get("$ref").and_then(Value::as_str).map_or_else(
        || schema.clone(),
        |target| json!({ "$ref": target.replace(REFERENCE, REFERENCE_V2) }),
    )
}

// === impl Schemas ===

impl<'a> Schemas<'a> {
    /// The schemas of some kinds, of their lists, and of everything that these or the text of
    /// `paths` refer to.
    pub(super) fn of(kinds: &[&'a Kind], paths: &str) -> Self {
        let mut schemas = Self::default();
        for kind in kinds {
            for (name, schema) in of(kind) {
                schemas.0.insert(name, schema);
            }
        }
        let mut wanted: Vec<String> = META.iter().map(|name| meta(name)).collect();
        wanted.extend(references(paths).map(str::to_owned));
        // The schemas of custom resources refer to those of `META`.
        let texts = schemas.0.values().filter_map(Named::text);
        wanted.extend(texts.flat_map(references).map(str::to_owned));
        while let Some(name) = wanted.pop() {
            if schemas.0.contains_key(&name) {
                continue;
            }
            if let Some(json) = kubernetes::definitions().json(&name) {
                wanted.extend(references(json).map(str::to_owned));
                schemas.0.insert(name, Named::Text(json.into()));
            }
        }
        schemas
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// All schemas as one JSON object.
    pub(super) fn to_json(&self) -> String {
        object(self.0.iter().map(|(name, schema)| match schema {
            Named::Text(json) => (name, Cow::from(&**json)),
            Named::Custom(kind) => (name, custom::v3(kind).to_string().into()),
        }))
    }

    /// The same for version 2, which has no alternatives of types.
    pub(super) fn to_json_v2(&self) -> String {
        object(self.0.iter().map(|(name, schema)| {
            let json = match (schema, name.rsplit('.').next()) {
                (Named::Custom(kind), _) => custom::v2(kind).to_string().into(),
                (_, Some("Quantity")) => r#"{"type":"string"}"#.into(),
                (_, Some("IntOrString")) => r#"{"format":"int-or-string","type":"string"}"#.into(),
                (Named::Text(json), _) => unwrapped(json).replace(REFERENCE, REFERENCE_V2).into(),
            };
            (name, json)
        }))
    }
}

// === impl Named ===

impl Named<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(json) => Some(json),
            Self::Custom(_) => None,
        }
    }
}

fn object<'a>(members: impl Iterator<Item = (&'a String, Cow<'a, str>)>) -> String {
    let mut text = String::from("{");
    for (name, json) in members {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        text.push_str(&json);
    }
    text.push('}');
    text
}

/// Version 2 has descriptions beside references, as upstream writes it; its readers do not look
/// into `allOf`.
fn unwrapped(json: &str) -> String {
    let mut parts = json.split("\"allOf\":[{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A wrapper contains only a reference.
        let (reference, rest) = part.split_once("}]").unwrap_or((part, ""));
        text.push_str(reference);
        text.push_str(rest);
    }
    text
}

/// The references in a text.
fn references(json: &str) -> impl Iterator<Item = &str> {
    json.split(REFERENCE).skip(1).filter_map(|part| part.split('"').next())
}

/// A kind's schema and its list's.
fn of(kind: &Kind) -> [(String, Named<'_>); 2] {
    let name = name(&kind.group, &kind.version, &kind.kind);
    let own = built_in(&name).map_or(Named::Custom(kind), |mut own| {
        own[GROUP_VERSION_KIND] = gvk(kind, &kind.kind);
        Named::Text(own.to_string().into())
    });
    let list = json!({
        "type": "object",
        "description": format!("A list of {}.", kind.plural),
        "required": ["items"],
        "properties": {
            "apiVersion": api_version(),
            "kind": kind_field(),
            "metadata": reference(&meta("ListMeta")),
            "items": { "type": "array", "items": reference(&name) },
        },
        GROUP_VERSION_KIND: gvk(kind, &kind.list_kind()),
    });
    [(name.clone(), own), (format!("{name}List"), Named::Text(list.to_string().into()))]
}

fn built_in(name: &str) -> Option<Value> {
    serde_json::from_str(kubernetes::definitions().json(name)?).ok()
}

fn gvk(kind: &Kind, name: &str) -> Value {
    json!([{ "group": kind.group, "version": kind.version, "kind": name }])
}

fn api_version() -> Value {
    described("The version of the schema that this object follows.")
}

fn kind_field() -> Value {
    described("What this object is.")
}

fn described(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}
