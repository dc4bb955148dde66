//! Stored objects: canonical JSON (sorted keys) with the revision of their last write inside.
//!
//! The store splices the revision in at commit, so bytes on disk, in lists and in watch events are the same bytes.

use bytes::Bytes;
use mxjob_store::{Committed, Revision, Value as StoreValue};
use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// The bytes to store for an object; `metadata.resourceVersion` becomes the revision of the commit.
#[must_use]
pub(crate) fn encode(object: &Value) -> StoreValue {
    let (mut prefix, mut suffix) = (Vec::with_capacity(1024), Vec::new());
    let empty = Object::new();
    let top = object.as_object().unwrap_or(&empty);
    prefix.push(b'{');
    let mut out = &mut prefix;
    for (index, (key, value)) in top.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json(out, key);
        out.push(b':');
        let Some(metadata) = value.as_object().filter(|_| key == "metadata") else {
            write_json(out, value);
            continue;
        };
        out.push(b'{');
        let mut first = true;
        // `resourceVersion` goes to its place in key order, whether the object has one yet or not.
        for (key, value) in metadata.iter().filter(|(key, _)| key.as_str() < "resourceVersion") {
            separate(out, &mut first);
            write_json(out, key);
            out.push(b':');
            write_json(out, value);
        }
        separate(out, &mut first);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out = &mut suffix;
        out.push(b'"');
        for (key, value) in metadata.iter().filter(|(key, _)| key.as_str() > "resourceVersion") {
            out.push(b',');
            write_json(out, key);
            out.push(b':');
            write_json(out, value);
        }
        out.push(b'}');
    }
    out.push(b'}');
    StoreValue::stamped(prefix, suffix)
}

fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing a JSON value to memory cannot fail: its keys are strings and a Vec takes everything.
    let _ = serde_json::to_writer(out, value);
}

/// The object in stored bytes. Bytes that are no JSON (a damaged disk) read as `null`, which no verb accepts.
#[must_use]
pub(crate) fn decode(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

/// The bytes of the first thing that a transaction stored.
pub(crate) fn stored_bytes(committed: &Committed) -> Bytes {
    committed.stored.iter().flatten().next().map(|entry| entry.value.clone()).unwrap_or_default()
}

/// The stored bytes with another resource version, as the event of a deletion carries them.
#[must_use]
pub(crate) fn restamp(bytes: &[u8], revision: Revision) -> Bytes {
    let mut object = decode(bytes);
    set_resource_version(&mut object, &revision.to_string());
    Bytes::from(to_vec(&object))
}

/// Canonical JSON of a value.
#[must_use]
pub(crate) fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_json(&mut out, value);
    out
}

/// `metadata` of an object, or nothing where it is not an object.
#[must_use]
pub(crate) fn metadata(object: &Value) -> Option<&Object> {
    object.get("metadata").and_then(Value::as_object)
}

/// `metadata` of an object, made if it is missing.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Object {
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
pub(crate) fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// The `metadata.finalizers` of an object.
#[must_use]
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let list = metadata(object).and_then(|meta| meta.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Whether the object is being deleted.
#[must_use]
pub(crate) fn is_terminating(object: &Value) -> bool {
    !meta_str(object, "deletionTimestamp").is_empty()
}

/// Sets `metadata.resourceVersion`.
pub(crate) fn set_resource_version(object: &mut Value, version: &str) {
    metadata_mut(object).insert("resourceVersion".to_owned(), version.into());
}

/// Copies `metadata.managedFields` from one object to another.
pub(crate) fn carry_managed(from: &Value, to: &mut Value) {
    let managed = metadata(from).and_then(|meta| meta.get("managedFields")).cloned();
    let meta = metadata_mut(to);
    match managed {
        Some(managed) => meta.insert("managedFields".to_owned(), managed),
        None => meta.remove("managedFields"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_goes_to_its_place_even_when_labels_imitate_it() {
        let object = json!({"kind": "K", "metadata": {"annotations": {"resourceVersion": ""}, "name": "a", "uid": "u"}, "spec": {}});
        let StoreValue { .. } = encode(&object);
        let text = String::from_utf8(restamp(&to_vec(&object), Revision::from(7)).to_vec())
            .expect("JSON is UTF-8");
        assert_eq!(
            text,
            r#"{"kind":"K","metadata":{"annotations":{"resourceVersion":""},"name":"a","resourceVersion":"7","uid":"u"},"spec":{}}"#
        );
    }
}
