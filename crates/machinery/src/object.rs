//! The parts that all objects have, read and set on the JSON of an object.

use serde_json::{Map, Value};

use crate::names::{Namespace, ObjectName, Uid};

/// A JSON object.
pub type Object = Map<String, Value>;

/// The object in stored bytes. Bytes that are no JSON (a damaged disk) read as `null`, which no
/// verb accepts.
#[must_use]
pub fn decode(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

/// Canonical JSON of a value.
#[must_use]
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    // Writing a JSON value to memory cannot fail: its keys are strings and a Vec takes everything.
    let _ = serde_json::to_writer(&mut out, value);
    out
}

/// `metadata` of an object, or nothing where it is not an object.
#[must_use]
pub fn metadata(object: &Value) -> Option<&Object> {
    object.get("metadata").and_then(Value::as_object)
}

/// `metadata` of an object, made if it is missing.
pub fn metadata_mut(object: &mut Value) -> &mut Object {
    if !object.is_object() {
        *object = Value::Object(Object::new());
    }
    let top = as_object_mut(object);
    as_object_mut(top.entry("metadata").or_insert_with(|| Value::Object(Object::new())))
}

fn as_object_mut(value: &mut Value) -> &mut Object {
    if !value.is_object() {
        *value = Value::Object(Object::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("just made an object"),
    }
}

/// A string of `metadata`; empty where it is absent.
#[must_use]
pub fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// The `metadata.name` of an object.
#[must_use]
pub fn name(object: &Value) -> Option<ObjectName<'_>> {
    ObjectName::new(meta_str(object, "name"))
}

/// The `metadata.namespace` of an object.
#[must_use]
pub fn namespace(object: &Value) -> Option<Namespace<'_>> {
    Namespace::new(meta_str(object, "namespace"))
}

/// The `metadata.uid` of an object.
#[must_use]
pub fn uid(object: &Value) -> Option<Uid<'_>> {
    Uid::new(meta_str(object, "uid"))
}

/// The `metadata.finalizers` of an object.
#[must_use]
pub fn finalizers(object: &Value) -> Vec<String> {
    let list = metadata(object).and_then(|meta| meta.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Whether the object is being deleted.
#[must_use]
pub fn is_terminating(object: &Value) -> bool {
    !meta_str(object, "deletionTimestamp").is_empty()
}
