//! To be written.

/// The usual namespace of the operator.
pub const NAMESPACE: &str = "mxjob-system";
