//! The MXJob resource: its types, validation and replace rule, and the pods and services of a job.
//!
//! Owns every rule about MXJob fields: the typed view with the effective defaults ([`Job`]),
//! validation ([`validate`](validate::validate)), the replace rule ([`replace`]), both together for
//! requests ([`admission`], and on a cluster [`review`]), unknown fields ([`unknown`]), the names,
//! labels, environment, pods and services of a replica, the status and its conditions, and the
//! CustomResourceDefinition generated from the types.
//!
//! Pure: no I/O, no async, no clock, no randomness; the time of a transition is a parameter. Stored
//! objects stay the JSON documents that users wrote; this crate never writes a default into one.
//!
//! ```
//! use mxjob_api::{Job, Role, env, names};
//! use serde_json::json;
//!
//! let object = json!({
//!     "apiVersion": "kubeflow.org/v1",
//!     "kind": "MXJob",
//!     "metadata": { "name": "digits", "namespace": "default" },
//!     "spec": { "mxReplicaSpecs": { "Worker": { "template": { "spec": {
//!         "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }],
//!     } } } } },
//! });
//! assert!(mxjob_api::validate::validate(&object).is_empty());
//!
//! let job = Job::from_value(&object)?;
//! assert_eq!(names::pod_name(&job.name, Role::Worker, 0), "digits-worker-0");
//! assert!(env::for_replica(&job, Role::Worker, 0).contains(&("DMLC_ROLE".to_owned(), "worker".to_owned())));
//! # Ok::<(), mxjob_api::job::Error>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

pub mod admission;
pub mod crd;
pub mod env;
pub mod job;
pub mod labels;
pub mod layout;
pub mod mxjob;
pub mod names;
pub mod pod_fields;
pub mod pods;
pub mod policy;
pub mod replace;
pub mod review;
pub mod role;
pub mod schema;
pub mod spec;
pub mod status;
mod time;
pub mod unknown;
pub mod validate;
mod value;

pub use job::{Job, ReplicaSpec, Scheduling};
pub use policy::{CleanPodPolicy, RestartPolicy, RestartScope, SuccessPolicy};
pub use role::{JobMode, Role};
pub use status::{Condition, ConditionStatus, ConditionType, JobStatus, ReplicaStatus};
