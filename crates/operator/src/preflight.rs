//! What must be in place before the operator can do its work: rights, and the definition of the jobs.

mod needs;

pub use needs::{CRD, Need, Parts, Scope, rights};
