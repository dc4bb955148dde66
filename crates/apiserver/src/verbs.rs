//! The verbs, each for all kinds.

pub(crate) mod binding;
pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod eviction;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod patch;
pub(crate) mod review;
pub(crate) mod token;
pub(crate) mod update;
pub(crate) mod usage;
pub(crate) mod watch;

/// Upstream's message for a writer whose copy is stale.
const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";
/// Maximum number of attempts for a write that other writes keep invalidating.
const ATTEMPTS: usize = 16;
