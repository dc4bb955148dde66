//! The MXJob controller on a Kubernetes cluster.
//!
//! ```text
//! kubeconfig or service account ─▶ client (limits, metrics, fence) ─▶ leader election ─▶ controller
//!                                       │
//!                                       ├─▶ webhook: admission by the rules of `mxjob-api`, with its own certificates
//!                                       └─▶ probes and metrics
//! ```
//!
//! Owns everything that an operator process needs on a cluster beside the controller: leader
//! election, the admission webhook and its certificates, probes, metrics, the preflight check, and
//! the manifests that install all of it. It does not decide what a job needs (see
//! [`mxjob_controller`]) or which jobs are accepted (see [`mxjob_api`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod certificates;
pub mod client;
mod lease;
pub mod manifests;
mod metrics;
pub mod names;
pub mod preflight;
mod probes;
mod run;
mod wall_clock;
pub mod webhook;

pub use lease::{Election, Timing, TimingError};
pub use run::{Config, Error, Sockets, bind_everywhere, run};
