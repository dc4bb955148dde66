//! Stored objects: canonical JSON (sorted keys) that contains the revision of its last write.
//!
//! The store inserts the revision at commit, so that disk, lists and watch events have the same
//! bytes.

use bytes::Bytes;
use mxjob_machinery::names::Namespace;
use mxjob_store::{Committed, Revision, Value as StoreValue};
use serde_json::Value;

pub(crate) use mxjob_machinery::object::{
    Object, decode, finalizers, is_terminating, meta_str, metadata, metadata_mut, name, namespace,
    to_vec, uid,
};

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
        // `resourceVersion` is placed in key order, whether the object already has one or not.
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
    // Writing a JSON value to memory cannot fail: its keys are strings and a Vec has no limit.
    let _ = serde_json::to_writer(out, value);
}

/// The bytes of the first object that a transaction stored.
pub(crate) fn stored_bytes(committed: &Committed) -> Bytes {
    committed.stored.iter().flatten().next().map(|entry| entry.value.clone()).unwrap_or_default()
}

/// The stored bytes with another resource version, for the event of a deletion.
#[must_use]
pub(crate) fn restamp(bytes: &[u8], revision: Revision) -> Bytes {
    let mut object = decode(bytes);
    set_resource_version(&mut object, &revision.to_string());
    Bytes::from(to_vec(&object))
}

/// Sets `metadata.namespace` to the namespace of a path, if it has one.
pub(crate) fn set_namespace(object: &mut Value, namespace: Option<Namespace<'_>>) {
    if let Some(namespace) = namespace {
        metadata_mut(object).insert("namespace".to_owned(), namespace.as_str().into());
    }
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
    use serde_json::json;

    use super::*;

    #[test]
    fn revision_is_inserted_at_its_place_even_if_a_label_looks_like_it() {
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
