//! What a job needs now, decided by one pure function.
//!
//! [`plan`] looks at one [`Snapshot`] and answers with a [`Plan`]: what to make, what to remove, the next status, the events of
//! the transition, and when to look again though nothing happens. It reads no clock, does no I/O and remembers nothing: what must
//! be remembered is in the status ([`Memory`]). The executor carries a plan out and holds no rules.
//!
//! The order of decisions is the contract's, in `plan/decide.rs`: what is finished stays finished > too large > suspended > waiting for room > final failure > limits > success >
//! restarting > running > created. One snapshot has one answer, whatever the order in which pods were listed.
//!
//! It costs no more than what exists of the job and [`MAX_REPLICAS`](mxjob_api::mxjob::MAX_REPLICAS) replicas, whatever the spec and the
//! status claim: a job with more is refused, and its end and its removal work from the pods and services that exist.
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

use crate::admission::{Admission, WaitKind};
use crate::memory::{self, Memory};
use crate::view::{ATTEMPT_ANNOTATION, PodView, ServiceView};
use jiff::Timestamp;
use mxjob_api::{Job, JobStatus, Role, pods};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use decide::Decision;
use draft::Draft;
use observe::Observed;
pub(crate) use refusal::refuse;

/// One job and what belongs to it, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The job with its status.
    pub job: Arc<Job>,
    /// What earlier plans noted in the status.
    pub memory: Memory,
    /// The pods the job controls.
    pub pods: Vec<Arc<PodView>>,
    /// The services the job controls.
    pub services: Vec<Arc<ServiceView>>,
    /// What could not be made when it was last tried.
    pub problems: Vec<Problem>,
    /// Whether there is room for the job; always so where the cluster's own scheduler sees to that.
    pub admission: Admission,
}

/// An object that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `pod digits-worker-0`.
    pub object: String,
    /// Why, as a clause.
    pub message: String,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Services to make: before the pods, because ps-lite gives up on (or waits for ever for) a name that does not resolve.
    pub create_services: Vec<ReplicaId>,
    /// Pods to make.
    pub create_pods: Vec<ReplicaId>,
    /// The attempt the new pods belong to.
    pub attempt: u32,
    /// Pods to remove, after the status is written: it may hold the reason and the count of their removal.
    pub delete_pods: Vec<Target>,
    /// Services to remove, likewise.
    pub delete_services: Vec<Target>,
    /// The next status, if it differs from the one in the snapshot.
    pub status: Option<NextStatus>,
    /// What to tell, once the status is written.
    pub events: Vec<Event>,
    /// Whether the job itself has outlived its time.
    pub delete_job: bool,
    /// When to plan again even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

/// One replica of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId {
    /// Its role.
    pub role: Role,
    /// Its index in the role.
    pub index: u32,
}

/// One object to remove: this one and no later one of its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Name of the object.
    pub name: String,
    /// Its uid, the precondition of the removal.
    pub uid: String,
}

/// The status to write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NextStatus {
    /// The part of the contract.
    pub status: JobStatus,
    /// Our own part.
    pub memory: Memory,
}

/// An event to tell about the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How it is meant.
    pub kind: EventKind,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// A failure.
    Warning,
}

/// Decides what a job needs at a moment.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    if snapshot.job.deletion_timestamp.is_some() {
        // The garbage collector takes what the job owns, and a status of a leaving job helps nobody.
        return Plan::default();
    }
    if snapshot.admission.waiting().is_some_and(|waiting| waiting.kind == WaitKind::Obstructed) {
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
            // A replica may have failed, run again and ended well between two looks at it.
            replicas::count(&mut draft, in_place);
            cleanup::succeed(&mut draft, &observed);
        }
        Decision::Settle { until } => replicas::settle(&mut draft, until),
        Decision::Restart(account) => replicas::restart(&mut draft, &observed, account),
        Decision::Proceed(account) => replicas::proceed(&mut draft, &observed, account),
    }
    draft.finish(&observed)
}

/// Says what is in the way of a job that is not over, and touches nothing else: what cannot be seen is neither judged nor counted.
fn obstructed(snapshot: &Snapshot, now: Timestamp) -> Plan {
    if snapshot.job.status.is_finished() {
        return Plan::default();
    }
    Draft::new(snapshot, &snapshot.memory, now).close()
}

// === impl Plan ===

impl Plan {
    /// The pod to post for a replica, marked with its attempt; `None` for a role the job does not have.
    pub fn pod(&self, job: &Job, replica: ReplicaId) -> Option<Value> {
        let mut pod = pods::pod(job, replica.role, replica.index)?;
        let metadata = pod.get_mut("metadata")?.as_object_mut()?;
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            // A template that was copied from a pod has one, and its pods would be taken for those of another attempt.
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

    /// Whether all it does is to count more or fewer running pods than that status: no transition, nothing to remember. It may wait a moment
    /// for the next of them.
    pub fn is_minor(&self, job: &Job, memory: &Memory) -> bool {
        let Some(next) = &self.status else { return false };
        let without_activity = |status: &JobStatus| {
            let mut status = status.clone();
            status.last_reconcile_time = None;
            status.replicas.values_mut().for_each(|counts| counts.active = 0);
            status
        };
        !self.acts()
            && self.events.is_empty()
            && next.memory == *memory
            && without_activity(&next.status) == without_activity(&job.status)
    }

    /// Whether there is anything to do now.
    pub fn is_empty(&self) -> bool {
        self.status.is_none() && !self.acts()
    }

    /// Whether it makes or removes anything.
    fn acts(&self) -> bool {
        !self.create_services.is_empty()
            || !self.create_pods.is_empty()
            || !self.delete_pods.is_empty()
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

    /// The keys of `status` that are the controller's; others are somebody else's and stay.
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
