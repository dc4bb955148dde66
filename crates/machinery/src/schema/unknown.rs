//! Fields that a kind does not have: named, and dropped.
//!
//! Nothing is dropped in silence unless a request asks for that: callers name what [`Schema::unknown_fields`] finds in a warning or an
//! error, and then call [`Schema::prune`].

use serde_json::Value;

use super::{Kind, Schema, Trail};
use crate::field::{Path, Paths};

/// The member of an object that [`crate::metadata`] looks after, for every kind alike.
const METADATA: &str = "metadata";

impl Schema<'_> {
    /// The paths of all unknown fields of an object, in its order, as `spec.containers[0].nope`. Its `metadata` is not looked into.
    pub fn unknown_fields(self, object: &Value) -> Vec<String> {
        let mut found = Paths::default();
        let start = Path::default();
        let members = object.as_object().into_iter().flatten();
        for (name, value) in members.filter(|(name, _)| *name != METADATA) {
            member(name, value, self, &Trail::Start(&start), &mut found);
        }
        found.into_vec()
    }

    /// Removes all unknown fields of an object, but none from its `metadata`.
    pub fn prune(self, object: &mut Value) {
        if let Some(members) = object.as_object_mut() {
            members.retain(|name, value| name == METADATA || keep(name, value, self));
        }
    }
}

fn is_open(schema: Schema<'_>) -> bool {
    matches!(schema.kind(), Kind::Object { is_open: true, .. })
}

fn member(name: &str, value: &Value, schema: Schema<'_>, above: &Trail<'_>, found: &mut Paths) {
    let at = above.member(name);
    match schema.member(name) {
        Some(schema) => walk(value, schema, &at, found),
        None if is_open(schema) => {}
        None => found.push_with(|| at.path()),
    }
}

fn walk(value: &Value, schema: Schema<'_>, at: &Trail<'_>, found: &mut Paths) {
    match (value, schema.kind()) {
        (Value::Object(members), Kind::Object { .. }) => {
            for (name, value) in members {
                member(name, value, schema, at, found);
            }
        }
        (Value::Array(items), Kind::Array(item)) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, schema.at(item), &at.item(index), found);
            }
        }
        _ => {}
    }
}

/// Whether a member is known; then what is unknown in it is removed.
fn keep(name: &str, value: &mut Value, schema: Schema<'_>) -> bool {
    let Some(schema) = schema.member(name) else { return is_open(schema) };
    remove(value, schema);
    true
}

fn remove(value: &mut Value, schema: Schema<'_>) {
    match (value, schema.kind()) {
        (Value::Object(members), Kind::Object { .. }) => {
            members.retain(|name, value| keep(name, value, schema));
        }
        (Value::Array(items), Kind::Array(item)) => {
            items.iter_mut().for_each(|value| remove(value, schema.at(item)));
        }
        _ => {}
    }
}
