//! The schema of a kind: built-in kinds have those of the machinery, custom resources their
//! strategy.

use mxjob_machinery::metadata;
use mxjob_machinery::schema::{Schema, kubernetes};
use serde_json::Value;

use crate::document;
use crate::kind::Kind;

/// The schema of a built-in kind. Parsed when the kind is first written.
fn of(kind: &Kind) -> Option<Schema<'static>> {
    kind.is_typed().then(|| kubernetes::kind(&kind.group, &kind.version, &kind.kind)).flatten()
}

/// The message of Go's decoder about a wrong type in an object. Of a custom resource it only sees
/// the metadata.
pub(crate) fn decode_problem(kind: &Kind, object: &Value) -> Option<String> {
    match of(kind) {
        Some(schema) => schema.decode_problem(object),
        None => object.get("metadata").and_then(metadata::decode_problem),
    }
}

/// Paths of fields that the kind does not have.
pub(crate) fn unknown_fields(kind: &Kind, object: &Value) -> Vec<String> {
    let in_metadata =
        document::metadata(object).map(|meta| metadata::unknown_fields(meta, "metadata"));
    let others = match of(kind) {
        Some(schema) => schema.unknown_fields(object),
        None => kind.strategy.unknown_fields(object),
    };
    in_metadata.into_iter().flatten().chain(others).collect()
}

/// Brings an object into its stored form, before the rules of its kind are checked.
pub(crate) fn normalize(kind: &Kind, object: &mut Value) {
    prune(kind, object);
    zero_nulls(kind, object);
    fill(kind, object);
    metadata::normalize(document::metadata_mut(object));
}

/// Drops the fields outside of `metadata` that [`unknown_fields`] lists.
fn prune(kind: &Kind, object: &mut Value) {
    match of(kind) {
        Some(schema) => schema.prune(object),
        None => kind.strategy.prune(object),
    }
}

/// Replaces nulls in maps and lists as Go's decoder does. For a defined custom resource that is
/// only its metadata: its schema says what null means in the rest.
pub(crate) fn zero_nulls(kind: &Kind, object: &mut Value) {
    match of(kind) {
        Some(schema) => schema.zero_nulls(object),
        None => {
            kind.strategy.zero_nulls(object);
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata::zero_nulls(metadata);
            }
        }
    }
}

/// Fills in the defaults of a custom resource's schema.
fn fill(kind: &Kind, object: &mut Value) {
    kind.strategy.fill(object);
}

#[cfg(test)]
mod tests {
    use mxjob_machinery::schema::{Entries, Node, Type};
    use serde_json::json;

    use super::*;
    use crate::registry;

    /// Null in every map and list of a schema.
    fn nulls(schema: Schema<'_>, above: &mut Vec<*const Node>) -> Value {
        let node = schema.node();
        if above.contains(&std::ptr::from_ref(node)) {
            return Value::Null;
        }
        above.push(node);
        let value = match node.kind {
            Some(Type::Object) => {
                let field =
                    |name: &String| Some((name.clone(), nulls(schema.member(name)?, above)));
                let mut members: serde_json::Map<_, _> =
                    node.fields.keys().filter_map(field).collect();
                if matches!(node.entries, Entries::Of(_)) {
                    members.insert("a".to_owned(), Value::Null);
                }
                members.into()
            }
            Some(Type::Array) => json!([null]),
            _ => Value::Null,
        };
        above.pop();
        value
    }

    /// The path of a null in a map or a list.
    fn find_null(value: &Value, schema: Schema<'_>, path: &str) -> Option<String> {
        let node = schema.node();
        match (node.kind, value) {
            (Some(Type::Object), Value::Object(members)) => {
                members.iter().find_map(|(name, value)| {
                    let path = format!("{path}.{name}");
                    if value.is_null() {
                        return (!node.fields.contains_key(name)).then_some(path);
                    }
                    find_null(value, schema.member(name)?, &path)
                })
            }
            (Some(Type::Array), Value::Array(items)) => items.iter().find_map(|value| {
                let item = schema.item()?;
                let path = format!("{path}[]");
                if value.is_null() { Some(path) } else { find_null(value, item, &path) }
            }),
            _ => None,
        }
    }

    #[test]
    fn no_kind_keeps_a_null_in_a_map_or_list() {
        for kind in registry::built_in().iter().filter(|kind| kind.is_typed()) {
            let schema = of(kind).unwrap();
            let mut object = nulls(schema, &mut Vec::new());
            assert!(find_null(&object, schema, "").is_some(), "{}: nothing to be found", kind.kind);
            assert_eq!(decode_problem(kind, &object), None, "{}", kind.kind);
            zero_nulls(kind, &mut object);
            assert_eq!(find_null(&object, schema, ""), None, "{}", kind.kind);
        }
    }

    #[test]
    fn metadata_keeps_no_null_whatever_the_kind() {
        for kind in registry::built_in() {
            let mut object = json!({"metadata": {
                "labels": {"a": null}, "annotations": {"a": null}, "finalizers": [null], "ownerReferences": [null],
                "managedFields": [null], "name": null,
            }});
            zero_nulls(kind, &mut object);
            let expected = json!({"metadata": {
                "labels": {"a": ""}, "annotations": {"a": ""}, "finalizers": [""], "ownerReferences": [{}],
                "managedFields": [{}], "name": null,
            }});
            assert_eq!(object, expected, "{}", kind.kind);
        }
    }

    #[test]
    fn every_built_in_kind_has_a_schema() {
        for kind in registry::built_in().iter().filter(|kind| kind.is_typed()) {
            assert!(
                of(kind).is_some(),
                "{} {}: add it to machinery's generator",
                kind.group,
                kind.kind
            );
        }
    }
}
