//! How the controller identifies objects, and the jobs that they belong to.

use mxjob_api::mxjob;
use serde_json::Value;

/// The name of an object. It may outlive the object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What identifies a cached object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) key: Key,
    pub(super) uid: String,
    /// The resource version as a number; Kubernetes guarantees that those of one resource can be
    /// compared. 0 if it is not a number.
    pub(super) version: u64,
}

impl Identity {
    /// `None` if it is not a stored object.
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
    pub(super) uid: String,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn an_object_is_identified_by_name_uid_and_version() {
        let given = json!({ "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7" } });
        let identity = Identity::read(&given).unwrap();
        assert_eq!(
            (identity.key.namespace.as_str(), identity.uid.as_str(), identity.version),
            ("n", "u", 7)
        );
        assert_eq!(Identity::read(&json!({ "metadata": { "name": "a" } })), None);
    }
}
