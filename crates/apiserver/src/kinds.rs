//! The rows of the registry.

mod cluster;
mod core;
mod definition;
mod event;
mod installed;
pub(crate) mod limits;
mod mxjob;
mod namespace;
pub(crate) mod pod;
pub(crate) mod priority;
pub(crate) mod quota;
mod rbac;
pub(crate) mod review;
pub(crate) mod strategy;
mod webhook;

use serde_json::Value;

use crate::registry::{Cell, Column, Kind};

/// Verbs of a built-in kind, in the order in which API servers list them.
pub(crate) const BUILT_IN: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of `status` subresources.
pub(crate) const STATUS: &[&str] = &["get", "patch", "update"];

/// All kinds, in discovery's order.
#[must_use]
pub(crate) fn all() -> Vec<Kind> {
    let mut kinds = core::kinds();
    kinds.push(installed::deployment());
    kinds.push(event::grouped());
    kinds.extend(review::kinds());
    kinds.push(installed::disruption_budget());
    kinds.extend(rbac::kinds());
    kinds.push(installed::webhook_configuration());
    kinds.extend(cluster::kinds());
    kinds.push(mxjob::kind());
    kinds
}

/// Whether a row is that of the built-in MXJobs.
pub(crate) fn is_mxjob(kind: &Kind) -> bool {
    use mxjob_api::mxjob::{GROUP, PLURAL};
    kind.group == GROUP && kind.plural == PLURAL
}

/// The `Name` column.
pub(crate) const NAME: Column = Column {
    name: "Name",
    kind: "string",
    description: "",
    priority: 0,
    cell: Cell::Path(".metadata.name"),
};

/// The `Age` column.
pub(crate) const AGE: Column = Column {
    name: "Age",
    kind: "date",
    description: "How long ago the object was created.",
    priority: 0,
    cell: Cell::Path(".metadata.creationTimestamp"),
};

/// A column of text computed from the object.
pub(crate) const fn computed(
    name: &'static str,
    priority: i64,
    cell: fn(&Value, jiff::Timestamp) -> Value,
) -> Column {
    Column { name, kind: "string", description: name, priority, cell: Cell::Computed(cell) }
}

/// A string under a JSON pointer; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list under a JSON pointer; empty where there is none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `text`, or what `kubectl` shows for nothing.
pub(crate) fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Sets a field where it is absent or null.
pub(crate) fn default_to(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        let slot = map.entry(field).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value.into();
        }
    }
}
