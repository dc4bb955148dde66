//! The MXJob controller. [`plan()`], a pure function, decides what a job needs. A thin executor,
//! which is an ordinary client of the Kubernetes API, carries the plan out.
//!
//! * [`view`]: the facts about pods and services that decide.
//! * [`memory`]: what must outlive the controller, kept in the job's status.
//! * [`scheduling`]: which waiting jobs may start, where the cluster does not decide that. Pure.
//! * [`plan`](mod@plan): the decisions. No I/O, no clock.
//! * [`metrics`]: Prometheus metrics.
//! * [`rights`]: the permissions that it needs.
//! * [`Health`]: whether it is synced, and what obstructs it.
//! * [`run`]: the executor. No decisions.
//!
//! ```
//! use mxjob_controller::{SchedulingState, Snapshot, memory::Memory, plan};
//! use serde_json::json;
//!
//! let job = json!({
//!     "metadata": { "name": "digits", "namespace": "default", "uid": "1f0c" },
//!     "spec": { "mxReplicaSpecs": { "Worker": { "template": { "spec": {
//!         "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }],
//!     } } } } },
//! });
//! let job = mxjob_api::Job::from_value(&job)?;
//! let snapshot = Snapshot {
//!     job: job.into(),
//!     memory: Memory::default(),
//!     pods: vec![],
//!     services: vec![],
//!     problems: vec![],
//!     scheduling: SchedulingState::MayStart,
//! };
//! let plan = plan(&snapshot, "2026-11-24T08:00:00Z".parse()?);
//! assert_eq!((plan.create_services.len(), plan.create_pods.len()), (1, 1));
//! assert!(plan.status.is_some_and(|next| next.to_value()["conditions"][0]["type"] == "Created"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The controller cannot tell the embedded server from a cluster: it uses a [`kube::Client`] and
//! nothing else.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

pub mod event;
mod executor;
mod health;
pub mod memory;
pub mod metrics;
mod patch;
pub mod plan;
mod pod_group;
pub mod rights;
pub mod scheduling;
pub mod target;
pub mod view;

pub use executor::{Error, Options, run};
pub use health::Health;
pub use metrics::Metrics;
pub use plan::{Plan, Snapshot, plan};
pub use scheduling::{Gang, PodGroups, SchedulingState};
