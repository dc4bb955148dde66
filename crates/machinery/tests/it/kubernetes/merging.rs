//! How lists are merged, written into the schemas for clients that compute patches from them
//! (`kubectl apply`).

use mxjob_machinery::merge_keys;
use mxjob_machinery::ownership::Shape;
use mxjob_machinery::schema::REFERENCE;
use serde_json::{Map, Value, json};

/// Lists whose items' other fields go when a patch names those to retain.
const RETAIN_KEYS: &[&str] = &["volumes"];

/// Annotates every list that the table of merge keys names.
pub(super) fn annotate(definitions: &mut Map<String, Value>) {
    let kinds: Vec<String> = definitions
        .iter()
        .filter(|(_, definition)| definition.pointer("/properties/metadata").is_some())
        .map(|(name, _)| name.clone())
        .collect();
    for name in kinds {
        let kind = name.rsplit('.').next().unwrap_or(&name);
        let api_version = if name.starts_with("io.k8s.api.core.v1.") { "v1" } else { "other/v1" };
        walk(definitions, &name, merge_keys::shape(api_version, kind));
    }
}

fn walk(definitions: &mut Map<String, Value>, name: &str, shape: &Shape) {
    let (Shape::Typed(fields) | Shape::Struct(fields)) = shape else { return };
    for (field, shape) in fields {
        let property = definitions.get_mut(name).and_then(|it| it["properties"].get_mut(&**field));
        let Some(property) = property else { continue };
        if property["type"] == "array" {
            describe(property, field, shape);
        }
        let below = property.get("items").unwrap_or(property);
        let target = below.get("$ref").or_else(|| below.pointer("/allOf/0/$ref"));
        let Some(target) = target.and_then(Value::as_str) else { continue };
        let target = target.trim_start_matches(REFERENCE).to_owned();
        let item = if let Shape::ListMap { item, .. } = shape { item } else { shape };
        walk(definitions, &target, item);
    }
}

fn describe(property: &mut Value, field: &str, shape: &Shape) {
    match shape {
        Shape::ListMap { keys, .. } => {
            let keys: Vec<&str> = keys.iter().map(|(key, _)| &**key).collect();
            let strategy = if RETAIN_KEYS.contains(&field) { "merge,retainKeys" } else { "merge" };
            property["x-kubernetes-list-type"] = "map".into();
            property["x-kubernetes-list-map-keys"] = json!(keys);
            property["x-kubernetes-patch-merge-key"] = json!(keys[0]);
            property["x-kubernetes-patch-strategy"] = strategy.into();
        }
        Shape::Set => {
            property["x-kubernetes-list-type"] = "set".into();
            property["x-kubernetes-patch-strategy"] = "merge".into();
        }
        Shape::Any | Shape::Atomic | Shape::Struct(_) | Shape::Typed(_) | Shape::Map(_) => {}
    }
}
