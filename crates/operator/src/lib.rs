//! The MXJob controller on a Kubernetes cluster.
//!
//! ```text
//! kubeconfig or service account ─▶ client (limits, counts, fence) ─▶ lease: who leads ─▶ controller
//!                                       │
//!                                       ├─▶ webhook: admission by the rules of `mxjob-api`, with certificates of its own
//!                                       └─▶ probes and metrics
//! ```
//!
//! Owns what a cluster asks of an operator process besides the controller itself: leader election, the admission webhook and
//! its certificates, probes, metrics, the check of rights, and the manifests that install all of it. Never does: decide
//! what a job needs (that is [`mxjob_controller`]) or which jobs are accepted (that is [`mxjob_api`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod certificates;
pub mod client;
mod lease;
pub mod manifests;
mod metrics;
pub mod preflight;
mod probes;
mod run;
#[cfg(test)]
mod testing;
pub mod webhook;

pub use lease::{Election, Timing, TimingError};
pub use run::{Config, Error, Sockets, bind_everywhere, run};
