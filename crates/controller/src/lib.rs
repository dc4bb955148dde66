//! The MXJob controller: what a job needs is decided by [`plan`], a pure function, and carried out by a thin executor that is
//! an ordinary client of the Kubernetes API.
//!
//! * [`view`]: the facts of pods and services that decide.
//! * [`memory`]: what must outlive the controller, kept in the job's status.
//! * [`plan`](mod@plan): the decisions. No I/O, no clock.
//! * [`run`]: the executor. No decisions.
//!
//! The controller cannot tell the embedded server from a cluster: it has a [`kube::Client`] and no other door.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod executor;
pub mod memory;
pub mod plan;
pub mod view;

pub use executor::{Error, Options, run};
pub use plan::{Plan, Snapshot, plan};
