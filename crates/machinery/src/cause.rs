//! One cause of a failure: what a field error becomes in a `Status`.

use serde::{Deserialize, Serialize};

/// `meta/v1.StatusCause`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// A machine-readable word, such as `FieldValueInvalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The JSON path of the field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}
