//! Fields that no MXJob has: named, and dropped.
//!
//! Nothing is dropped in silence unless a request asks for that; the caller names what [`fields`] finds in a warning or an error, and then calls
//! [`prune`]. `metadata` is not looked into: its fields are the same for every kind.

use crate::schema::{self, Kind, Node};
use crate::trail::Trail;
use mxjob_machinery::field::Path;
use serde_json::Value;

/// The paths of all unknown fields of an object, sorted, as `spec.runPolicy.nope`.
pub fn fields(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(object, schema::root(), &Trail::Start(&Path::default()), &mut found);
    found.sort_unstable();
    found
}

fn walk(value: &Value, node: &Node, at: &Trail<'_>, found: &mut Vec<String>) {
    match (value, &node.0) {
        (Value::Object(members), Kind::Object { is_open, .. }) => {
            for (name, value) in members {
                let at = at.member(name);
                match node.member(name) {
                    Some(node) => walk(value, node, &at, found),
                    None if *is_open => {}
                    None => found.push(at.path().to_string()),
                }
            }
        }
        (Value::Array(items), Kind::Array(item)) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, item, &at.item(index), found);
            }
        }
        _ => {}
    }
}

/// Removes all unknown fields of an object.
pub fn prune(object: &mut Value) {
    remove(object, schema::root());
}

fn remove(value: &mut Value, node: &Node) {
    match (value, &node.0) {
        (Value::Object(members), Kind::Object { is_open, .. }) => members.retain(|name, value| {
            let Some(node) = node.member(name) else { return *is_open };
            remove(value, node);
            true
        }),
        (Value::Array(items), Kind::Array(item)) => {
            items.iter_mut().for_each(|value| remove(value, item))
        }
        _ => {}
    }
}
