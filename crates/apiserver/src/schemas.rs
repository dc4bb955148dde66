//! What a kind's fields may be: for built-in kinds from the schemas of the machinery, for custom resources from their strategy.

use mxjob_machinery::metadata;
use mxjob_machinery::schema::{Schema, kubernetes};
use serde_json::Value;

use crate::kind::Kind;

/// The schema of a built-in kind. Parsed when the kind is first written.
fn of(kind: &Kind) -> Option<Schema<'static>> {
    if kind.custom { None } else { kubernetes::kind(kind.group, kind.version, kind.kind) }
}

/// What Go's decoder would say of the types in an object. Of a custom resource it only sees the metadata.
pub(crate) fn decode_problem(kind: &Kind, object: &Value) -> Option<String> {
    match of(kind) {
        Some(schema) => schema.decode_problem(object),
        None => object.get("metadata").and_then(metadata::decode_problem),
    }
}

/// Paths of fields that the kind does not have, besides those in `metadata`.
pub(crate) fn unknown_fields(kind: &Kind, object: &Value) -> Vec<String> {
    match of(kind) {
        Some(schema) => schema.unknown_fields(object),
        None => kind.strategy.unknown_fields(object),
    }
}

/// Drops what [`unknown_fields`] lists.
pub(crate) fn prune(kind: &Kind, object: &mut Value) {
    match of(kind) {
        Some(schema) => schema.prune(object),
        None => kind.strategy.prune(object),
    }
}

/// Fills in the defaults of a custom resource's schema.
pub(crate) fn fill(kind: &Kind, object: &mut Value) {
    kind.strategy.fill(object);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn every_built_in_kind_has_a_schema() {
        for kind in registry::built_in().iter().filter(|kind| !kind.custom) {
            assert!(
                of(kind).is_some(),
                "{} {}: add it to machinery's generator",
                kind.group,
                kind.kind
            );
        }
    }
}
