//! Typed objects that are decoded independently of each other.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use mxjob_machinery::schema::kubernetes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::Raw;

/// The reason of the event on an unreadable object.
pub const UNREADABLE: &str = "Unreadable";

/// A typed object, or the reason why it cannot be decoded. `Api<Lenient<Pod>>` and its watch never
/// fail because of the content of an object.
///
/// A null where the type allows none is decoded as Go's decoder does: as the zero value.
#[derive(Clone, Debug)]
pub struct Lenient<K>(pub Result<K, Box<Unreadable>>);

/// An object that cannot be decoded into its type.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unreadable {
    /// The object as JSON.
    pub raw: Raw,
    /// The invalid field and the reason.
    pub why: String,
    kind: String,
    api_version: String,
}

// === impl Lenient ===

impl<'de, K: DeserializeOwned + Resource<DynamicType = ()>> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not a `RawValue`: an object that precedes the `type` of its watch event is buffered, and
        // is no longer text.
        Raw::deserialize(deserializer).map(|raw| Self(read(raw)))
    }
}

fn read<K: DeserializeOwned + Resource<DynamicType = ()>>(raw: Raw) -> Result<K, Box<Unreadable>> {
    let error = match K::deserialize(&raw.value) {
        Ok(object) => return Ok(object),
        Err(error) => error,
    };
    let schema = kubernetes::kind(&K::group(&()), &K::version(&()), &K::kind(&()));
    let mut why = None;
    if let Some(schema) = schema {
        let mut value = raw.value.clone();
        schema.zero_nulls(&mut value);
        if let Ok(object) = K::deserialize(&value) {
            return Ok(object);
        }
        why = schema.decode_problem(&value);
    }
    Err(Box::new(Unreadable {
        raw,
        why: why.unwrap_or_else(|| error.to_string()),
        kind: K::kind(&()).into_owned(),
        api_version: K::api_version(&()).into_owned(),
    }))
}

impl<K: Resource> Resource for Lenient<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => unreadable.raw.meta(),
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => unreadable.raw.meta_mut(),
        }
    }
}

// === impl Unreadable ===

impl Unreadable {
    /// Kind, namespace and name, such as `Pod ns/a`.
    #[must_use]
    pub fn named(&self) -> String {
        let meta = self.raw.meta();
        let name = meta.name.as_deref().unwrap_or_default();
        match &meta.namespace {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind),
            None => format!("{} {name}", self.kind),
        }
    }

    /// The message of an event on the object.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "cannot read the {}, so it is ignored: {}; correct the field or delete the object",
            self.kind, self.why
        )
    }

    /// A reference to the object, for an event on it.
    #[must_use]
    pub fn reference(&self) -> ObjectReference {
        let meta = self.raw.meta();
        ObjectReference {
            api_version: Some(self.api_version.clone()),
            kind: Some(self.kind.clone()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service};
    use kube::api::{ObjectList, WatchEvent};
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: &Value) -> Value {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7" },
            "spec": { "containers": [{ "name": "mxnet" }] },
        });
        for (field, value) in change.as_object().unwrap() {
            match value.as_object() {
                Some(members) => {
                    members.iter().for_each(|(name, value)| pod[field][name] = value.clone())
                }
                None => pod[field] = value.clone(),
            }
        }
        pod
    }

    /// Invalid values in every part of an object, each with the field that the error names.
    fn invalid_values() -> Vec<(Value, &'static str)> {
        vec![
            (json!({ "metadata": { "labels": { "x": 5 } } }), "ObjectMeta.metadata.labels"),
            (json!({ "metadata": { "labels": [] } }), "ObjectMeta.metadata.labels"),
            (
                json!({ "metadata": { "ownerReferences": [5] } }),
                "ObjectMeta.metadata.ownerReferences",
            ),
            (json!({ "metadata": { "finalizers": [{}] } }), "ObjectMeta.metadata.finalizers"),
            (
                json!({ "metadata": { "creationTimestamp": "yesterday" } }),
                "parsing time \"yesterday\"",
            ),
            (json!({ "metadata": { "managedFields": 1 } }), "ObjectMeta.metadata.managedFields"),
            (json!({ "spec": 5 }), "Pod.spec"),
            (json!({ "spec": { "volumes": [1] } }), "PodSpec.spec.volumes"),
            (json!({ "spec": { "nodeName": {} } }), "PodSpec.spec.nodeName"),
            (json!({ "status": [] }), "Pod.status"),
            (json!({ "status": { "startTime": "then" } }), "parsing time \"then\""),
            (json!({ "status": { "conditions": [true] } }), "PodStatus.status.conditions"),
        ]
    }

    #[test]
    fn an_unreadable_object_names_the_field_and_keeps_its_identity() {
        for (change, field) in invalid_values() {
            let object: Lenient<Pod> = serde_json::from_value(pod(&change)).unwrap();
            assert_eq!(object.meta().uid.as_deref(), Some("u"), "{change}");
            let unreadable = object.0.unwrap_err();
            assert!(unreadable.why.contains(field), "{change}: {}", unreadable.why);
            assert_eq!(unreadable.named(), "Pod n/a");
            let about = unreadable.reference();
            assert_eq!((about.kind.as_deref(), about.uid.as_deref()), (Some("Pod"), Some("u")));
        }
    }

    #[test]
    fn one_unreadable_object_fails_neither_a_list_nor_a_watch() {
        for (change, _) in invalid_values() {
            let (bad, good) = (pod(&change), pod(&json!({})));
            let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [good, bad, good] });
            let list: ObjectList<Lenient<Pod>> = serde_json::from_str(&list.to_string()).unwrap();
            let read: Vec<bool> = list.items.iter().map(|item| item.0.is_ok()).collect();
            assert_eq!(read, [true, false, true], "{change}");
            for event in [
                format!(r#"{{"type":"MODIFIED","object":{bad}}}"#),
                format!(r#"{{"object":{bad},"type":"MODIFIED"}}"#),
            ] {
                let event: WatchEvent<Lenient<Pod>> = serde_json::from_str(&event).unwrap();
                let WatchEvent::Modified(object) = event else { panic!("{event:?}") };
                assert!(object.0.is_err());
            }
        }
    }

    #[test]
    fn null_is_decoded_as_go_decodes_it() {
        let object: Lenient<Pod> = serde_json::from_value(pod(&json!({
            "metadata": { "labels": { "x": null }, "finalizers": [null], "ownerReferences": [null] },
            "spec": { "volumes": [null], "nodeSelector": { "a": null } },
        })))
        .unwrap();
        let pod = object.0.unwrap();
        assert_eq!(pod.metadata.labels.unwrap()["x"], "");
        assert_eq!(pod.spec.unwrap().volumes.unwrap().len(), 1);
        let map: Lenient<ConfigMap> = serde_json::from_value(
            json!({ "metadata": { "name": "a" }, "data": { "a": null, "b": "x" } }),
        )
        .unwrap();
        assert_eq!(map.0.unwrap().data.unwrap()["a"], "");
    }

    #[test]
    fn no_content_of_an_object_fails_the_decoder() {
        fn check<K: DeserializeOwned + Resource<DynamicType = ()>>(value: &Value) {
            let object: Lenient<K> = serde_json::from_value(value.clone()).unwrap();
            let _ = object.meta();
        }
        for part in ["metadata", "spec", "status", "data", "type"] {
            for value in [
                json!(null),
                json!(5),
                json!("x"),
                json!([null]),
                json!({ "name": 5 }),
                json!({ "a": [] }),
            ] {
                let object = json!({ part: value });
                check::<Pod>(&object);
                check::<Service>(&object);
                check::<ConfigMap>(&object);
                check::<Secret>(&object);
                check::<Node>(&object);
                check::<Lease>(&object);
            }
        }
    }
}
