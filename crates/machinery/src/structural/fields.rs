//! Fields that a schema does not have, and fields that it has a value for.

use serde_json::Value;

use super::Node;
use super::node::Entries;
use crate::field::{Path, Paths};
use crate::schema::Trail;

/// What every object has, whatever its schema says.
const ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata"];

/// The unknown fields of an object.
pub(super) fn unknown(object: &Value, root: &Node) -> Vec<String> {
    let mut found = Paths::default();
    let start = Path::default();
    let own = object.as_object().into_iter().flatten();
    for (name, value) in own.filter(|(name, _)| !ENVELOPE.contains(&name.as_str())) {
        member(name, value, root, &Trail::Start(&start), &mut found);
    }
    found.into_vec()
}

/// Removes the unknown fields of an object.
pub(super) fn prune(object: &mut Value, root: &Node) {
    if let Some(members) = object.as_object_mut() {
        members.retain(|name, value| ENVELOPE.contains(&name.as_str()) || keep(name, value, root));
    }
}

fn member(name: &str, value: &Value, node: &Node, above: &Trail<'_>, found: &mut Paths) {
    let at = above.member(name);
    match node.member(name) {
        Some(below) if !is_envelope(node, name) => walk(value, below, &at, found),
        Some(_) => {}
        None if node.takes(name) => {}
        None => found.push_with(|| at.path()),
    }
}

/// Metadata of an object within an object is what all metadata is.
fn is_envelope(node: &Node, name: &str) -> bool {
    node.embedded && ENVELOPE.contains(&name)
}

fn walk(value: &Value, node: &Node, at: &Trail<'_>, found: &mut Paths) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                member(name, value, node, at, found);
            }
        }
        Value::Array(items) => {
            let Some(item) = &node.items else { return };
            for (index, value) in items.iter().enumerate() {
                walk(value, item, &at.item(index), found);
            }
        }
        _ => {}
    }
}

fn keep(name: &str, value: &mut Value, node: &Node) -> bool {
    match node.member(name) {
        Some(below) if !is_envelope(node, name) => {
            remove(value, below);
            true
        }
        Some(_) => true,
        None => node.takes(name),
    }
}

fn remove(value: &mut Value, node: &Node) {
    match value {
        Value::Object(members) => members.retain(|name, value| keep(name, value, node)),
        Value::Array(items) => {
            if let Some(item) = &node.items {
                items.iter_mut().for_each(|value| remove(value, item));
            }
        }
        _ => {}
    }
}

/// Sets defaults in and below a value.
pub(super) fn fill(value: &mut Value, node: &Node) {
    match value {
        Value::Object(members) => {
            for (name, field) in &node.fields {
                let Some(default) = &field.default else { continue };
                let missing = match members.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !field.nullable,
                };
                if missing {
                    members.insert(name.clone(), default.clone());
                }
            }
            if let Entries::Of(entry) = &node.entries
                && let Some(default) = &entry.default
            {
                for (name, value) in members.iter_mut() {
                    if value.is_null() && !entry.nullable && !node.fields.contains_key(name) {
                        *value = default.clone();
                    }
                }
            }
            for (name, value) in members {
                if let Some(below) = node.member(name) {
                    fill(value, below);
                }
            }
        }
        Value::Array(items) => {
            let Some(item) = &node.items else { return };
            for value in items {
                if let (Value::Null, Some(default), false) = (&*value, &item.default, item.nullable)
                {
                    *value = default.clone();
                }
                fill(value, item);
            }
        }
        _ => {}
    }
}
