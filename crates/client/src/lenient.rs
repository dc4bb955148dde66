//! Typed objects, each decoded for itself.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use mxjob_machinery::schema::kubernetes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::Raw;

/// The reason of the event on an object that cannot be read.
pub const UNREADABLE: &str = "Unreadable";

/// A typed object, or why it is none: `Api<Lenient<Pod>>` and a watch of it never fail for what is in an object.
///
/// Nulls that the type does not take count as what Go's decoder makes of them.
#[derive(Clone, Debug)]
pub struct Lenient<K>(pub Result<K, Box<Unreadable>>);

/// An object that its type cannot hold.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unreadable {
    /// The object as it is.
    pub raw: Raw,
    /// Which field is wrong, and how.
    pub why: String,
    kind: String,
    api_version: String,
}

// === impl Lenient ===

impl<'de, K: DeserializeOwned + Resource<DynamicType = ()>> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not a `RawValue`: where the object comes before the type of its event it is not text any more.
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
    /// `Pod ns/a`.
    #[must_use]
    pub fn named(&self) -> String {
        let meta = self.raw.meta();
        let name = meta.name.as_deref().unwrap_or_default();
        match &meta.namespace {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind),
            None => format!("{} {name}", self.kind),
        }
    }

    /// What an event on the object says.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "the {} cannot be read and is left out: {}; correct the field or delete the object",
            self.kind, self.why
        )
    }

    /// The object, for an event on it.
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

    /// Poison in every part of an object, and the field that is named.
    fn poison() -> Vec<(Value, &'static str)> {
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
    fn what_cannot_be_read_says_which_field_and_is_known_by_its_identity() {
        for (change, field) in poison() {
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
    fn one_object_spoils_neither_a_list_nor_a_watch() {
        for (change, _) in poison() {
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
    fn null_is_read_as_go_reads_it() {
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

    /// Whatever is in an object of the kinds that are read typed.
    #[test]
    fn no_object_fails() {
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
