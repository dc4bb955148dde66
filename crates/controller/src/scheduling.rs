//! Who decides when the replicas of a job may start, and what that decision says of the job.
//!
//! Gang scheduling means that a job starts with enough of its replicas or not at all. Where the
//! cluster has no scheduler for that, the controller decides itself, by [`queue`].

pub mod queue;

use crate::event::EventKind;

/// Who makes sure that a job starts with enough of its replicas or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gang {
    /// Nobody, or the cluster's own scheduler: every job may start.
    #[default]
    Off,
    /// The controller, by [`queue`]: where nodes bind any pod they get, as on one machine. It
    /// counts all pods and nodes, so `Options::namespace` should be `None`.
    Native,
    /// A scheduler of the cluster that reads a `PodGroup` of each job.
    PodGroups(PodGroups),
}

/// The schedulers that know a `PodGroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodGroups {
    /// Volcano: it says when the pods of a group may be created.
    Volcano,
    /// A scheduler with the coscheduling plugin of scheduler-plugins: the pods are created
    /// immediately, and the scheduler holds them back.
    SchedulerPlugins {
        /// Name of the scheduler, for the `schedulerName` of pods that name none.
        scheduler: String,
    },
}

/// Whether a job may start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SchedulingState {
    /// It may: there is capacity, or nobody checks.
    #[default]
    MayStart,
    /// Its pods may be created, but the scheduler has no node for them yet.
    Placing(Waiting),
    /// Not yet.
    Waiting(Waiting),
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it waits for.
    pub kind: WaitKind,
    /// A clause whose subject is the job: `waits for its turn in queue default`. It does not change
    /// while the job waits for the same thing.
    pub message: String,
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitKind {
    /// Other jobs in front of it, or capacity.
    Queued,
    /// Capacity, after its `scheduleTimeoutSeconds` expired.
    TimedOut,
    /// Larger nodes.
    Unschedulable,
    /// Permissions or resources that the controller lacks. It cannot see the job's pods, so it
    /// decides nothing and changes nothing.
    Obstructed,
}

// === impl SchedulingState ===

impl SchedulingState {
    /// Why the job may not start, if it may not.
    pub fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::MayStart | Self::Placing(_) => None,
            Self::Waiting(waiting) => Some(waiting),
        }
    }

    /// Why the job does not run yet: it may not start, or its pods have no node.
    pub fn pending(&self) -> Option<&Waiting> {
        match self {
            Self::MayStart => None,
            Self::Waiting(waiting) | Self::Placing(waiting) => Some(waiting),
        }
    }
}

// === impl WaitKind ===

impl WaitKind {
    /// The reason of the condition `Created` and of the event.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Queued => "MXJobWaiting",
            Self::TimedOut => "MXJobScheduleTimeout",
            Self::Unschedulable => "MXJobUnschedulable",
            Self::Obstructed => "MXJobObstructed",
        }
    }

    pub(crate) fn event(self) -> EventKind {
        match self {
            Self::Queued => EventKind::Normal,
            Self::TimedOut | Self::Unschedulable | Self::Obstructed => EventKind::Warning,
        }
    }
}
