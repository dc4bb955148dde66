//! What a job needs now, decided by one pure function.
//!
//! [`plan`] takes one [`Snapshot`] and returns a [`Plan`]: what to create, what to delete, the next
//! status, the events of the transition, and when to plan again if nothing happens. It reads no
//! clock, does no I/O and keeps no state: what must be remembered is in the status ([`Memory`]).
//! The executor carries a plan out and holds no rules.
//!
//! The order of decisions is the contract's, in `plan/decide.rs`: finished, too large, suspended,
//! waiting for capacity, final failure, limits, success, restarting, running, created. The result
//! does not depend on the order in which pods are listed.
//!
//! Its cost is bounded by the existing objects of the job and
//! [`MAX_REPLICAS`](mxjob_api::mxjob::MAX_REPLICAS), whatever the spec and the status claim: a job
//! with more replicas is rejected, and its end and its deletion work from the pods and services
//! that exist.
//!
//! ```text
//! Snapshot ─▶ observe ─▶ decide ─▶ status (conditions, counts, memory) ─┐
//!              │           │                                           ├─▶ Plan
//!              └───────────┴─────▶ actions (replicas, cleanup) ────────┘
//! ```

mod cleanup;
mod decide;
mod draft;
mod limits;
mod message;
mod observe;
mod refusal;
mod replicas;
mod restart;
mod success;

use std::sync::Arc;

use jiff::Timestamp;
use mxjob_api::{Job, JobStatus, Role, pods};
use serde_json::{Map, Value, json};

use crate::event::Event;
use crate::memory::{self, Memory};
use crate::scheduling::{SchedulingState, WaitKind};
use crate::target::Target;
use crate::view::{ATTEMPT_ANNOTATION, PodView, ServiceView};
use decide::Decision;
use draft::Draft;
use observe::Observed;

pub(crate) use refusal::refuse;

/// One job and its objects at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The job with its status.
    pub job: Arc<Job>,
    /// What earlier plans stored in the status.
    pub memory: Memory,
    /// The pods the job controls.
    pub pods: Vec<Arc<PodView>>,
    /// The services the job controls.
    pub services: Vec<Arc<ServiceView>>,
    /// What could not be created in the last attempt.
    pub problems: Vec<Problem>,
    /// Whether the job may start; always so where the cluster's own scheduler decides.
    pub scheduling: SchedulingState,
}

/// An object that cannot be created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `pod digits-worker-0`.
    pub object: String,
    /// The reason, as a clause.
    pub message: String,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Services to create: before the pods, because ps-lite gives up on a name that does not
    /// resolve, or waits for it forever.
    pub create_services: Vec<ReplicaId>,
    /// Pods to create.
    pub create_pods: Vec<ReplicaId>,
    /// The attempt the new pods belong to.
    pub attempt: u32,
    /// Pods to delete, after the status is written: it may hold the reason and the count of their
    /// deletion.
    pub delete_pods: Vec<Target>,
    /// Pods to stop and to keep, also after the status is written.
    pub stop_pods: Vec<Target>,
    /// Services to delete, also after the status is written.
    pub delete_services: Vec<Target>,
    /// The next status, if it differs from the one in the snapshot.
    pub status: Option<NextStatus>,
    /// Events to record, once the status is written.
    pub events: Vec<Event>,
    /// Whether to delete the job itself, because its TTL expired.
    pub delete_job: bool,
    /// When to plan again even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

/// A replica of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId {
    /// Its role.
    pub role: Role,
    /// Its index in the role.
    pub index: u32,
}

/// The status to write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NextStatus {
    /// The part that the contract defines.
    pub status: JobStatus,
    /// The controller's own part.
    pub memory: Memory,
}

/// Decides what a job needs at a moment.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    if snapshot.job.deletion_timestamp.is_some() {
        // The garbage collector deletes what the job owns, and nobody needs the status of a
        // terminating job.
        return Plan::default();
    }
    if snapshot.scheduling.waiting().is_some_and(|waiting| waiting.kind == WaitKind::Obstructed) {
        return obstructed(snapshot, now);
    }
    let observed = Observed::new(snapshot);
    let mut draft = Draft::new(snapshot, &observed.memory, now);
    match decide::decide(snapshot, &observed, now) {
        Decision::Finished => cleanup::finished(&mut draft, &observed),
        Decision::Refuse(violation) => cleanup::refuse(&mut draft, &observed, &violation),
        Decision::Suspend => replicas::suspend(&mut draft, &observed),
        Decision::Wait => replicas::wait(&mut draft),
        Decision::Fail(failure, in_place) => {
            replicas::count(&mut draft, in_place);
            cleanup::fail(&mut draft, &observed, &failure);
        }
        Decision::Succeed(in_place) => {
            // A replica may have failed, run again and succeeded between two plans.
            replicas::count(&mut draft, in_place);
            cleanup::succeed(&mut draft, &observed);
        }
        Decision::Settle { until } => replicas::settle(&mut draft, until),
        Decision::Restart(account) => replicas::restart(&mut draft, &observed, account),
        Decision::Proceed(account) => replicas::proceed(&mut draft, &observed, account),
    }
    draft.finish(&observed)
}

/// Reports the obstacle of an unfinished job and changes nothing else: what cannot be seen is
/// neither decided about nor counted.
fn obstructed(snapshot: &Snapshot, now: Timestamp) -> Plan {
    if snapshot.job.status.is_finished() {
        return Plan::default();
    }
    Draft::new(snapshot, &snapshot.memory, now).close()
}

// === impl Plan ===

impl Plan {
    /// The pod to create for a replica, marked with its attempt; `None` for a role that the job
    /// does not have.
    pub fn pod(&self, job: &Job, replica: ReplicaId) -> Option<Value> {
        let mut pod = pods::pod(job, replica.role, replica.index)?;
        let metadata = pod.get_mut("metadata")?.as_object_mut()?;
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            // A template that was copied from a pod has one, and its pods would be treated as pods
            // of another attempt.
            annotations.remove(ATTEMPT_ANNOTATION);
        }
        if self.attempt > 0 {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if !annotations.is_object() {
                *annotations = json!({});
            }
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(ATTEMPT_ANNOTATION.to_owned(), self.attempt.to_string().into());
            }
        }
        Some(pod)
    }

    /// Whether the plan only changes the number of running pods: no transition, nothing to
    /// remember. Its write may be delayed and combined with the next one.
    pub fn is_minor(&self, job: &Job, memory: &Memory) -> bool {
        let Some(next) = &self.status else { return false };
        let without_activity = |status: &JobStatus| {
            let mut status = status.clone();
            status.last_reconcile_time = None;
            status.replicas.values_mut().for_each(|counts| counts.active = 0);
            status
        };
        !self.has_actions()
            && self.events.is_empty()
            && next.memory == *memory
            && without_activity(&next.status) == without_activity(&job.status)
    }

    /// Whether there is nothing to do now.
    pub fn is_empty(&self) -> bool {
        self.status.is_none() && !self.has_actions()
    }

    /// Whether it creates or deletes anything.
    fn has_actions(&self) -> bool {
        !self.create_services.is_empty()
            || !self.create_pods.is_empty()
            || !self.delete_pods.is_empty()
            || !self.stop_pods.is_empty()
            || !self.delete_services.is_empty()
            || self.delete_job
    }
}

// === impl NextStatus ===

impl NextStatus {
    /// The JSON to store.
    pub fn to_value(&self) -> Value {
        let mut status = match self.status.to_value() {
            Value::Object(status) => status,
            _ => Map::new(),
        };
        self.memory.write(&mut status);
        status.into()
    }

    /// The keys of `status` that the controller owns; it leaves others alone.
    pub fn keys() -> [&'static str; 8] {
        [
            "conditions",
            "mxReplicaStatuses",
            "replicaStatuses",
            "startTime",
            "completionTime",
            "lastReconcileTime",
            memory::COMPLETED_INDEXES,
            memory::RESTART_STATE,
        ]
    }
}

#[cfg(test)]
mod tests;
