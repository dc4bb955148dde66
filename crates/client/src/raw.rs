//! Objects as JSON, with the metadata that `kube` needs.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One object of any kind, as JSON. No field is lost, and only the fields that are used are parsed.
///
/// `meta()` has the name, the namespace, the uid and the resource version, each where it is a
/// string; everything else is only in the value.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The whole object.
    pub value: Value,
    metadata: ObjectMeta,
}

// === impl Raw ===

impl Raw {
    /// Reads the identity of an object and nothing else.
    #[must_use]
    pub fn new(value: Value) -> Self {
        let text = |field: &str| value.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Self { value, metadata }
    }

    /// The string at a JSON pointer; empty if there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the object is being deleted.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.value.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::new)
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl Resource for Raw {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_kept() {
        let given = json!({ "kind": "Pod", "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "odd": [1] }, "odd": {} });
        let object: Raw = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(object.value, given);
        let meta = object.meta();
        assert_eq!((meta.name.as_deref(), meta.namespace.as_deref()), (Some("a"), Some("n")));
        assert_eq!((meta.uid.as_deref(), meta.resource_version.as_deref()), (Some("u"), Some("7")));
    }

    #[test]
    fn any_json_value_is_accepted() {
        for value in [
            json!(null),
            json!([1]),
            json!({ "metadata": 5 }),
            json!({ "metadata": { "name": 5 } }),
        ] {
            let object: Raw = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(
                (object.meta().name.as_deref(), object.is_leaving()),
                (None, false),
                "{value}"
            );
            assert_eq!(object.text("/metadata/name"), "");
        }
    }
}
