//! Objects as the watches deliver them: JSON, with the little metadata that `kube` asks for beside it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use mxjob_api::mxjob;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// One object of any kind, unread. Nothing is lost in it and nothing is parsed that is not looked at.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) value: Value,
    metadata: ObjectMeta,
}

/// Which object: the name that survives the object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Where an object lies: what every cached object is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) key: Key,
    pub(super) uid: String,
    /// The resource version as a number; Kubernetes promises that those of one resource can be compared. 0 if it is none.
    pub(super) version: u64,
}

impl Identity {
    /// `None` for what is no stored object.
    pub(super) fn read(object: &Value) -> Option<Self> {
        let metadata = object.get("metadata")?;
        let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            key: Key { namespace: text("namespace").unwrap_or_default(), name: text("name")? },
            uid: text("uid")?,
            version: text("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0),
        })
    }
}

/// The job that an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Which job of that name.
    pub(super) uid: String,
    /// The name.
    pub(super) key: Key,
}

/// The MXJob that controls an object.
pub(super) fn controller(object: &Value) -> Option<Owner> {
    let references = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let controller = references
        .iter()
        .find(|reference| reference.get("controller") == Some(&Value::Bool(true)))?;
    let text = |field: &str| controller.get(field).and_then(Value::as_str);
    let group = text("apiVersion")?.split_once('/')?.0;
    if group != mxjob::GROUP || text("kind")? != mxjob::KIND {
        return None;
    }
    let namespace =
        object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let key = Key { namespace: namespace.to_owned(), name: text("name")?.to_owned() };
    Some(Owner { uid: text("uid")?.to_owned(), key })
}

// === impl Object ===

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |field: &str| value.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { value, metadata })
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_controlling_mxjob_is_the_owner() {
        let reference = |api_version: &str, kind: &str, controller: bool| {
            json!({ "metadata": { "namespace": "n", "ownerReferences": [
            { "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "x" },
            { "apiVersion": api_version, "kind": kind, "name": "digits", "uid": "u", "controller": controller },
        ] } })
        };
        let key = Key { namespace: "n".to_owned(), name: "digits".to_owned() };
        let owner = Owner { uid: "u".to_owned(), key };
        assert_eq!(controller(&reference("kubeflow.org/v1", "MXJob", true)), Some(owner));
        assert_eq!(controller(&reference("kubeflow.org/v1", "MXJob", false)), None);
        assert_eq!(controller(&reference("kubeflow.org/v1", "TFJob", true)), None);
        assert_eq!(controller(&reference("v1", "MXJob", true)), None);
        assert_eq!(controller(&json!({ "metadata": {} })), None);
    }

    #[test]
    fn an_object_keeps_what_it_does_not_know() {
        let given = json!({ "kind": "Pod", "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "odd": [1] }, "odd": {} });
        let object: Object = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(object.value, given);
        assert_eq!(object.meta().name.as_deref(), Some("a"));
        let identity = Identity::read(&given).unwrap();
        assert_eq!(
            (identity.key.namespace.as_str(), identity.uid.as_str(), identity.version),
            ("n", "u", 7)
        );
        assert_eq!(Identity::read(&json!({ "metadata": { "name": "a" } })), None);
    }
}
