//! When a job has succeeded.
//!
//! | job | success |
//! | --- | --- |
//! | `MXTrain` with a scheduler | the scheduler succeeded (final worker failures are checked before) |
//! | `MXTrain`, `successPolicy: AllWorkers`, or without a scheduler | every worker succeeded |
//! | `MXTune` | every tuner succeeded |
//!
//! A role without replicas decides nothing: the next rule that has any applies.
//!
//! The processes of ps-lite leave through one barrier, so in a healthy job the scheduler ends up to
//! a second *before* the workers, and a worker that fails there ends after it. Deciding at the exit
//! of the scheduler would call that job a success and kill workers that are about to end. So
//! workers that still run when the scheduler has ended get [`SETTLE_TIMEOUT`] to end by themselves.
//! So do workers whose pods do not run yet: where processes do not meet at all, the scheduler of a
//! short job may finish before the last worker has started.

use jiff::{SignedDuration, Timestamp};
use mxjob_api::{Job, JobMode, Role, SuccessPolicy};

use super::observe::{Observed, ReplicaState};

/// How long workers may take to end after their scheduler: ten times the maximum measured on a busy
/// machine (0.8 s).
pub(super) const SETTLE_TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// Whether the job has succeeded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Success {
    /// Not yet.
    Open,
    /// The deciding role has succeeded, and workers are about to end.
    Settling {
        /// Until when they may run.
        until: Timestamp,
    },
    /// Yes.
    Reached,
}

pub(super) fn check(job: &Job, observed: &Observed<'_>, now: Timestamp) -> Success {
    let Some(role) = deciding_role(job) else { return Success::Open };
    if observed.of(role).any(|replica| replica.state != ReplicaState::Succeeded) {
        return Success::Open;
    }
    if role == Role::Scheduler
        && observed
            .of(Role::Worker)
            .any(|worker| matches!(worker.state, ReplicaState::Running | ReplicaState::Pending))
    {
        let ended = observed.of(role).filter_map(|scheduler| scheduler.pod?.finished_at()).max();
        // A scheduler without a pod ended long ago.
        if let Some(until) = ended
            .and_then(|ended| ended.checked_add(SETTLE_TIMEOUT).ok())
            .filter(|until| now < *until)
        {
            return Success::Settling { until };
        }
    }
    Success::Reached
}

fn deciding_role(job: &Job) -> Option<Role> {
    let order: &[Role] = match (job.mode, job.success_policy) {
        (JobMode::MXTrain, SuccessPolicy::Default) => &[Role::Scheduler, Role::Worker],
        (JobMode::MXTrain, SuccessPolicy::AllWorkers) => &[Role::Worker, Role::Scheduler],
        (JobMode::MXTune, _) => &[Role::Tuner],
    };
    order.iter().copied().find(|role| job.count(*role) > 0)
}
