//! Container logs. The shim writes them in CRI format; the agent reads them for `kubectl logs`.

pub(crate) mod file;
pub mod format;
pub mod read;
