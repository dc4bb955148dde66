//! Which of the waiting jobs may start: gang scheduling for a machine without a scheduler.
//!
//! A job starts when its `minAvailable` replicas fit the free capacity of the nodes together.
//! Otherwise it waits and holds nothing. [`decide`] is a pure function of one [`QueueSnapshot`]:
//! the nodes, what is allocated on them, and the waiting jobs.
//!
//! The rules:
//!
//! * **Order**: by priority, highest first; within a priority by the time a job arrived; then by
//!   name.
//! * **No overtaking**: within a queue no job starts before a waiting job in front of it, however
//!   small it is.
//! * **Queues** are independent: a job at the head of one queue does not block another queue until
//!   it has waited for [`BLOCK_ALL_QUEUES_AFTER`]. From then on capacity that becomes free is kept
//!   for it, so that small jobs in other queues cannot starve it.
//! * **Jobs that can never fit** the nodes, even if they were empty, say so and block nobody.
//! * **`scheduleTimeoutSeconds`** is how long a job may block those behind it. Afterwards it
//!   reports the timeout, others may pass it while it does not fit, and it still starts as soon as
//!   it fits. It does not fail: on a cluster the same field ends a scheduling attempt, not the job,
//!   and one manifest has to mean one thing.
//! * **A job that started** has capacity for all its replicas that have not succeeded, whether
//!   their pods exist at the moment or not, until it is finished or suspended. One that started
//!   with fewer than all of them claims the rest before any job that comes later.

mod decide;
mod free_capacity;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mxjob_machinery::resources::Resources;
use serde_json::Value;

use super::{SchedulingState, WaitKind, Waiting};

pub use decide::decide;

/// How long the head of a queue waits before it blocks the other queues too: long compared with a
/// trial run, short compared with a day.
pub const BLOCK_ALL_QUEUES_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// The queue of jobs that name none, as Volcano calls it.
pub const DEFAULT_QUEUE: &str = "default";

/// What a node offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCapacity {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `status.allocatable`.
    pub allocatable: Resources,
    /// Whether new pods may be bound to it: it is ready and not cordoned.
    pub is_schedulable: bool,
}

/// What one pod requests of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRequest {
    /// Resource amounts.
    pub requests: Resources,
    /// `spec.nodeSelector`.
    pub selector: BTreeMap<String, String>,
}

/// Capacity in use: by a pod that is not finished, or reserved for replicas of a started job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The node that the pods are bound to; `None` if there is no pod yet or it is not bound.
    pub node: Option<String>,
    /// What each of them requests.
    pub request: Arc<PodRequest>,
    /// Number of pods.
    pub count: u32,
}

/// A waiting job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedJob {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `schedulingPolicy.queue`.
    pub queue: String,
    /// The value of its priority class.
    pub priority: i32,
    /// When it entered the queue; `None` means just now.
    pub since: Option<Timestamp>,
    /// `schedulingPolicy.scheduleTimeoutSeconds`.
    pub timeout_seconds: Option<i32>,
    /// How many replicas must fit.
    pub min_available: u32,
    /// What must also be free in total (`schedulingPolicy.minResources`).
    pub min_resources: Resources,
    /// The replicas in canonical order. The first ones must fit, because a scheduler and servers
    /// come before workers.
    pub replicas: Vec<(Arc<PodRequest>, u32)>,
}

/// The input of a decision.
#[derive(Clone, Debug, Default)]
pub struct QueueSnapshot {
    /// The nodes.
    pub nodes: Vec<NodeCapacity>,
    /// Capacity in use.
    pub allocations: Vec<Allocation>,
    /// The waiting jobs, in any order.
    pub jobs: Vec<QueuedJob>,
}

/// The outcome of a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueDecision {
    /// The new state of each job, by uid.
    pub states: BTreeMap<String, SchedulingState>,
    /// When to decide again even if nothing changes.
    pub recheck_at: Option<Timestamp>,
}

// === impl PodRequest ===

impl PodRequest {
    /// What a pod with this spec requests.
    pub fn of_pod(spec: Option<&Value>) -> Self {
        let spec = spec.unwrap_or(&Value::Null);
        Self { requests: Resources::of_pod(spec), selector: strings(spec.get("nodeSelector")) }
    }
}

/// The string members of a JSON object: labels and selectors.
pub(crate) fn strings(object: Option<&Value>) -> BTreeMap<String, String> {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests;
