//! The rows of the registry.

mod cluster;
mod config;
mod core;
pub(crate) mod definition;
mod endpoints;
mod event;
mod lease;
pub(crate) mod limits;
mod metrics;
mod mxjob;
mod namespace;
mod node;
pub(crate) mod pod;
pub(crate) mod priority;
pub(crate) mod quota;
mod rbac;
mod review;
mod rules;
mod service;
pub(crate) mod storage;
mod webhook;
mod workloads;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::kind::Kind;

/// All kinds, in discovery's order.
#[must_use]
pub(crate) fn all() -> Vec<Kind> {
    let mut kinds = core::kinds();
    kinds.push(workloads::deployment());
    kinds.push(event::grouped());
    kinds.extend(review::kinds());
    kinds.push(workloads::disruption_budget());
    kinds.extend(rbac::kinds());
    kinds.push(storage::class());
    kinds.push(workloads::webhook_configuration());
    kinds.extend(cluster::kinds());
    kinds.push(endpoints::slice());
    kinds.push(mxjob::kind());
    kinds.extend(metrics::kinds());
    kinds
}

/// `text`, or `<none>` as `kubectl` shows empty cells.
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
