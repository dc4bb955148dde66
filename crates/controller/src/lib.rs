//! The MXJob controller: what a job needs is decided by [`plan()`], a pure function, and carried out by a thin executor that is
//! an ordinary client of the Kubernetes API.
//!
//! * [`view`]: the facts of pods and services that decide.
//! * [`memory`]: what must outlive the controller, kept in the job's status.
//! * [`admission`]: which of the jobs that wait may start, where nobody else decides that. Pure too.
//! * [`plan`](mod@plan): the decisions. No I/O, no clock.
//! * [`nodes`]: which nodes are alive, where nobody else watches over them.
//! * [`metrics`]: what is counted on the way.
//! * [`rights`]: what it asks of the API, and [`Standing`]: what is in its way.
//! * [`run`]: the executor. No decisions.
//!
//! ```
//! use mxjob_controller::{Admission, Snapshot, memory::Memory, plan};
//! use serde_json::json;
//!
//! let job = json!({
//!     "metadata": { "name": "digits", "namespace": "default", "uid": "1f0c" },
//!     "spec": { "mxReplicaSpecs": { "Worker": { "template": { "spec": {
//!         "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }],
//!     } } } } },
//! });
//! let job = mxjob_api::Job::from_value(&job)?;
//! let snapshot =
//!     Snapshot {
//!         job: job.into(), memory: Memory::default(), pods: vec![], services: vec![], problems: vec![],
//!         admission: Admission::Admitted,
//!     };
//! let plan = plan(&snapshot, "2026-11-24T08:00:00Z".parse()?);
//! assert_eq!((plan.create_services.len(), plan.create_pods.len()), (1, 1));
//! assert!(plan.status.is_some_and(|next| next.to_value()["conditions"][0]["type"] == "Created"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The controller cannot tell the embedded server from a cluster: it has a [`kube::Client`] and no other door.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

pub mod admission;
mod executor;
pub mod memory;
pub mod metrics;
pub mod nodes;
mod patch;
pub mod plan;
mod pod_group;
pub mod rights;
mod standing;
pub mod view;

pub use admission::Admission;
pub use executor::{Error, Gang, Options, PodGroups, run};
pub use metrics::Metrics;
pub use plan::{Plan, Snapshot, plan};
pub use standing::Standing;
