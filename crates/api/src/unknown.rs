//! Fields that no MXJob has: named, and dropped.
//!
//! Nothing is dropped in silence unless a request asks for that; the caller names what [`fields`] finds in a warning or an error, and then calls
//! [`prune`]. `metadata` is not looked into: its fields are the same for every kind.

use crate::schema;
use serde_json::Value;

/// The paths of all unknown fields of an object, as `spec.runPolicy.nope`.
pub fn fields(object: &Value) -> Vec<String> {
    schema::root().unknown_fields(object)
}

/// Removes all unknown fields of an object.
pub fn prune(object: &mut Value) {
    schema::root().prune(object);
}
