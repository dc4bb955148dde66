//! Whether metadata has the JSON types of `meta/v1.ObjectMeta`, reported as Go's decoder reports
//! it.

use serde_json::{Map, Value};

use crate::field::{Path, Paths};
use crate::json;
use crate::schema::time_problem;

/// The JSON shape of a field.
enum Type {
    Text,
    Integer,
    Flag,
    Time,
    Object,
    Texts,
    TextMap,
    Structs(&'static str, &'static [(&'static str, Self)]),
}

const OWNER_REFERENCE: &[(&str, Type)] = &[
    ("apiVersion", Type::Text),
    ("blockOwnerDeletion", Type::Flag),
    ("controller", Type::Flag),
    ("kind", Type::Text),
    ("name", Type::Text),
    ("uid", Type::Text),
];

const MANAGED_FIELDS_ENTRY: &[(&str, Type)] = &[
    ("apiVersion", Type::Text),
    ("fieldsType", Type::Text),
    ("fieldsV1", Type::Object),
    ("manager", Type::Text),
    ("operation", Type::Text),
    ("subresource", Type::Text),
    ("time", Type::Time),
];

const OBJECT_META: &[(&str, Type)] = &[
    ("annotations", Type::TextMap),
    ("creationTimestamp", Type::Time),
    ("deletionGracePeriodSeconds", Type::Integer),
    ("deletionTimestamp", Type::Time),
    ("finalizers", Type::Texts),
    ("generateName", Type::Text),
    ("generation", Type::Integer),
    ("labels", Type::TextMap),
    ("managedFields", Type::Structs("ManagedFieldsEntry", MANAGED_FIELDS_ENTRY)),
    ("name", Type::Text),
    ("namespace", Type::Text),
    ("ownerReferences", Type::Structs("OwnerReference", OWNER_REFERENCE)),
    ("resourceVersion", Type::Text),
    ("selfLink", Type::Text),
    ("uid", Type::Text),
];

/// Whether `meta/v1.ObjectMeta` has the field.
pub fn is_field(field: &str) -> bool {
    OBJECT_META.iter().any(|(known, _)| *known == field)
}

/// The paths of fields that `meta/v1.ObjectMeta` does not have, below `prefix`: `metadata.bogus`.
pub fn unknown_fields(metadata: &Map<String, Value>, prefix: &str) -> Vec<String> {
    let mut unknown = Paths::default();
    collect_unknown(metadata, &Path::new(prefix), OBJECT_META, &mut unknown);
    unknown.into_vec()
}

fn collect_unknown(
    map: &Map<String, Value>,
    above: &Path,
    table: &'static [(&'static str, Type)],
    unknown: &mut Paths,
) {
    for (name, value) in map {
        match table.iter().find(|(known, _)| known == name) {
            None => unknown.push_with(|| above.child(name)),
            Some((_, Type::Structs(_, inner))) => {
                let path = above.child(name);
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    if let Value::Object(item) = item {
                        collect_unknown(item, &path.index(index), inner, unknown);
                    }
                }
            }
            Some(_) => {}
        }
    }
}

/// What is wrong with the types in the value of an object's `metadata`, if anything:
/// `json: cannot unmarshal number into Go struct field ObjectMeta.name of type string`.
pub fn decode_problem(metadata: &Value) -> Option<String> {
    match metadata {
        Value::Null => None,
        Value::Object(map) => fields(map, "ObjectMeta", "", OBJECT_META),
        other => {
            let kind = json::kind(other);
            Some(format!("json: cannot unmarshal {kind} into Go value of type v1.ObjectMeta"))
        }
    }
}

fn fields(
    map: &Map<String, Value>,
    structure: &str,
    prefix: &str,
    table: &'static [(&'static str, Type)],
) -> Option<String> {
    map.iter().find_map(|(name, value)| {
        let (_, wanted) = table.iter().find(|(known, _)| known == name)?;
        problem(value, wanted, structure, &format!("{prefix}{name}"))
    })
}

fn problem(value: &Value, wanted: &'static Type, structure: &str, path: &str) -> Option<String> {
    // Null is the zero value of every type.
    if value.is_null() {
        return None;
    }
    let mismatch = |value: &Value, go_type: &str| {
        let mut kind = json::kind(value).to_owned();
        if go_type == "int64" && value.is_number() {
            kind.push_str(&format!(" {value}"));
        }
        Some(format!(
            "json: cannot unmarshal {kind} into Go struct field {structure}.{path} of type {go_type}"
        ))
    };
    match (wanted, value) {
        (Type::Text, Value::String(_))
        | (Type::Flag, Value::Bool(_))
        | (Type::Object, Value::Object(_)) => None,
        (Type::Integer, value) if value.is_i64() => None,
        (Type::Time, Value::String(text)) => time_problem(text),
        (Type::Texts, Value::Array(items)) => items
            .iter()
            .find(|item| !item.is_string() && !item.is_null())
            .and_then(|item| mismatch(item, "string")),
        (Type::TextMap, Value::Object(map)) => map
            .values()
            .find(|item| !item.is_string() && !item.is_null())
            .and_then(|item| mismatch(item, "string")),
        (Type::Structs(name, table), Value::Array(items)) => {
            items.iter().find_map(|item| match item {
                Value::Null => None,
                Value::Object(map) => fields(map, name, &format!("{path}."), table),
                other => mismatch(other, &format!("v1.{name}")),
            })
        }
        // The last three have decoders of their own upstream, which hand the value to a string.
        (Type::Text, _) => mismatch(value, "string"),
        (Type::Flag, _) => mismatch(value, "bool"),
        (Type::Integer, _) => mismatch(value, "int64"),
        (Type::Texts, _) => mismatch(value, "[]string"),
        (Type::TextMap, _) => mismatch(value, "map[string]string"),
        (Type::Structs(name, _), _) => mismatch(value, &format!("[]v1.{name}")),
        (Type::Time, _) => Some(format!(
            "json: cannot unmarshal {} into Go value of type string",
            json::kind(value)
        )),
        (Type::Object, _) => mismatch(value, "v1.FieldsV1"),
    }
}
