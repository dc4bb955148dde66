//! Container logs: written by the shim in CRI format, read by the agent for `kubectl logs`.

pub(crate) mod file;
pub mod format;
pub mod read;
