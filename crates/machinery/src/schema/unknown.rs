//! Fields that a kind does not have: listed, and removed.
//!
//! Callers report what [`Schema::unknown_fields`] lists in a warning or an error, and then call
//! [`Schema::prune`].

use serde_json::Value;

use super::{Schema, Trail};
use crate::field::{Path, Paths};

/// The members that every object has, whatever its schema says.
const ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata"];

impl Schema<'_> {
    /// The paths of the first unknown fields of an object, in its order, as
    /// `spec.containers[0].nope`. Its `metadata` is left out.
    pub fn unknown_fields(self, object: &Value) -> Vec<String> {
        let mut found = Paths::default();
        let start = Path::default();
        let members = object.as_object().into_iter().flatten();
        for (name, value) in members.filter(|(name, _)| !ENVELOPE.contains(&name.as_str())) {
            member(name, value, self, &Trail::Start(&start), &mut found);
        }
        found.into_vec()
    }

    /// Removes all unknown fields of an object, but none from its `metadata`.
    pub fn prune(self, object: &mut Value) {
        if let Some(members) = object.as_object_mut() {
            members
                .retain(|name, value| ENVELOPE.contains(&name.as_str()) || keep(name, value, self));
        }
    }

    /// Metadata of an object within an object is what all metadata is.
    fn is_envelope(self, name: &str) -> bool {
        self.node().embedded && ENVELOPE.contains(&name)
    }
}

fn member(name: &str, value: &Value, schema: Schema<'_>, above: &Trail<'_>, found: &mut Paths) {
    let at = above.member(name);
    match schema.member(name) {
        Some(_) if schema.is_envelope(name) => {}
        Some(below) => walk(value, below, &at, found),
        None if schema.node().takes(name) => {}
        None => found.push_with(|| at.path()),
    }
}

fn walk(value: &Value, schema: Schema<'_>, at: &Trail<'_>, found: &mut Paths) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                member(name, value, schema, at, found);
            }
        }
        Value::Array(items) => {
            let Some(item) = schema.item() else { return };
            for (index, value) in items.iter().enumerate() {
                walk(value, item, &at.item(index), found);
            }
        }
        _ => {}
    }
}

/// Whether a member is known; its own unknown fields are removed.
fn keep(name: &str, value: &mut Value, schema: Schema<'_>) -> bool {
    match schema.member(name) {
        Some(_) if schema.is_envelope(name) => true,
        Some(below) => {
            remove(value, below);
            true
        }
        None => schema.node().takes(name),
    }
}

fn remove(value: &mut Value, schema: Schema<'_>) {
    match value {
        Value::Object(members) => members.retain(|name, value| keep(name, value, schema)),
        Value::Array(items) => {
            if let Some(item) = schema.item() {
                items.iter_mut().for_each(|value| remove(value, item));
            }
        }
        _ => {}
    }
}
