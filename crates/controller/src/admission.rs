//! Which of the jobs that wait may start: gang admission for a machine that has no scheduler of its own.
//!
//! A job starts when its `minAvailable` replicas fit what the nodes have left, all at once, or it waits and holds nothing. [`decide`] is
//! a pure function of one [`Snapshot`]: the nodes, what holds room on them, and the jobs in line.
//!
//! The rules:
//!
//! * **Order**: by priority, highest first; within a priority by the time a job came; then by name.
//! * **No barging**: within a queue nobody starts before a job that is in front and waits, however small.
//! * **Queues** are lines of their own: a job at the head of one queue does not hold up another queue, until it has waited for
//!   [`PATIENCE`]. From then on what becomes free is kept for it, so that small jobs elsewhere cannot starve it.
//! * **What can never fit** the nodes, even if they were empty, says so and holds nobody up.
//! * **`scheduleTimeoutSeconds`** is how long a job may hold up those behind it. Afterwards it says that it gave up its turn, is passed over
//!   while it does not fit, and still starts as soon as it does. It does not fail: on a cluster the same field ends an attempt
//!   to schedule, not the job, and one manifest has to mean one thing.
//! * **A job that started** has room for all its replicas that have not succeeded, whether their pods exist at the moment or not, until
//!   it is finished or suspended. One that started with fewer than all of them claims the rest before anybody who comes later.

mod line;
mod room;

use crate::plan::EventKind;
use jiff::{SignedDuration, Timestamp};
use mxjob_machinery::resources::Resources;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use line::decide;

/// How long the head of a queue waits before it holds up the other queues too: long against the life of a trial run, short against a day.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// The queue of jobs that name none, as Volcano calls it.
pub const DEFAULT_QUEUE: &str = "default";

/// Whether there is room for a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// There is, or nobody asks.
    #[default]
    Admitted,
    /// There is, and its pods may be made; but whoever places them has no place for them yet.
    Placing(Waiting),
    /// Not yet.
    Waiting(Waiting),
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For what.
    pub kind: WaitKind,
    /// A clause whose subject is the job: `waits for its turn in queue default`. It stays the same while the job waits for the same.
    pub message: String,
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitKind {
    /// For others in front of it, or for room.
    Line,
    /// For room, after it has given up its turn (`scheduleTimeoutSeconds`).
    TimedOut,
    /// For a larger machine.
    Never,
    /// For somebody to give the controller what it needs. It cannot see the job's pods: nothing is decided, and nothing is changed.
    Obstructed,
}

/// A node, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `status.allocatable`.
    pub allocatable: Resources,
    /// Whether new pods may be bound to it: it is ready and not cordoned.
    pub is_open: bool,
}

/// What one pod asks of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The amounts.
    pub requests: Resources,
    /// `spec.nodeSelector`.
    pub selector: BTreeMap<String, String>,
}

/// Room that is taken: by a pod that is not finished, or for replicas of a job that started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The node that the pods are bound to; `None` if there is no pod yet or it is not bound.
    pub node: Option<String>,
    /// What each of them asks for.
    pub ask: Arc<Ask>,
    /// How many there are.
    pub count: u32,
}

/// A job in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
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
    /// When it came into the line; `None` for just now.
    pub since: Option<Timestamp>,
    /// `schedulingPolicy.scheduleTimeoutSeconds`.
    pub timeout_seconds: Option<i32>,
    /// How many replicas must fit.
    pub min_available: u32,
    /// What must be free in all besides (`schedulingPolicy.minResources`).
    pub min_resources: Resources,
    /// The replicas in canonical order: those that must fit are the first, because a scheduler and servers come before workers.
    pub replicas: Vec<(Arc<Ask>, u32)>,
}

/// All there is to decide by.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What holds room.
    pub holdings: Vec<Holding>,
    /// The jobs in line, in any order.
    pub candidates: Vec<Candidate>,
}

/// What is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The answer to each candidate, by uid.
    pub admissions: BTreeMap<String, Admission>,
    /// When to decide again though nothing changes.
    pub again_at: Option<Timestamp>,
}

// === impl Admission ===

impl Admission {
    /// Why the job waits, if it does.
    pub fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::Admitted | Self::Placing(_) => None,
            Self::Waiting(waiting) => Some(waiting),
        }
    }

    /// What is to be told of a job that does not run yet.
    pub fn word(&self) -> Option<&Waiting> {
        match self {
            Self::Admitted => None,
            Self::Waiting(waiting) | Self::Placing(waiting) => Some(waiting),
        }
    }
}

// === impl Ask ===

impl Ask {
    /// What a pod of that spec asks for.
    pub fn of_pod(spec: Option<&Value>) -> Self {
        let spec = spec.unwrap_or(&Value::Null);
        Self { requests: Resources::of_pod(spec), selector: texts(spec.get("nodeSelector")) }
    }
}

/// The members of a JSON object that are texts: labels and selectors.
pub(crate) fn texts(object: Option<&Value>) -> BTreeMap<String, String> {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect()
}

// === impl WaitKind ===

impl WaitKind {
    /// The reason of the condition `Created` and of the event.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Line => "MXJobWaiting",
            Self::TimedOut => "MXJobScheduleTimeout",
            Self::Never => "MXJobUnschedulable",
            Self::Obstructed => "MXJobObstructed",
        }
    }

    pub(crate) fn event(self) -> EventKind {
        match self {
            Self::Line => EventKind::Normal,
            Self::TimedOut | Self::Never | Self::Obstructed => EventKind::Warning,
        }
    }
}

#[cfg(test)]
mod tests;
