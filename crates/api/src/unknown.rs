//! Fields that no MXJob has: listed, and removed.
//!
//! The caller reports what [`fields`] lists in a warning or an error, and then calls [`prune`].
//! `metadata` is left out: its fields are the same for every kind.

use serde_json::Value;

use crate::schema;

/// The paths of the first unknown fields of an object, as `spec.runPolicy.nope`.
pub fn fields(object: &Value) -> Vec<String> {
    schema::root().unknown_fields(object)
}

/// Removes all unknown fields of an object.
pub fn prune(object: &mut Value) {
    schema::root().prune(object);
}
