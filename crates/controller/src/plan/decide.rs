//! The order of decisions. Each branch asks one question; the other modules of `plan` compute the
//! answers.

use jiff::Timestamp;
use mxjob_api::validate;
use mxjob_machinery::field;

use super::Snapshot;
use super::limits;
use super::message::Failure;
use super::observe::{Observed, Replica, ReplicaState, Verdict};
use super::restart::{self, InPlace, RestartUpdate};
use super::success::{self, Success};

/// What happens to the job now.
pub(super) enum Decision<'a> {
    /// It is finished: clean up, count, and delete it when its TTL expires.
    Finished,
    /// It is larger than a job may be, for this reason, and API admission did not reject it.
    Refuse(field::Error),
    /// It is suspended.
    Suspend,
    /// There is no capacity for it yet.
    Wait,
    Fail(Failure<'a>, InPlace),
    Succeed(InPlace),
    /// Its scheduler has succeeded; the workers are about to end and may still fail.
    Settle {
        /// Until when they may run.
        until: Timestamp,
    },
    /// Replicas failed and are replaced.
    Restart(RestartUpdate<'a>),
    /// It continues.
    Proceed(RestartUpdate<'a>),
}

pub(super) fn decide<'a>(
    snapshot: &'a Snapshot,
    observed: &'a Observed<'a>,
    now: Timestamp,
) -> Decision<'a> {
    let job = &snapshot.job;
    if job.status.is_finished() {
        return Decision::Finished;
    }
    // A suspended job is no exception: its size is fixed, so it can never continue.
    if let Some(violation) = validate::size(job) {
        return Decision::Refuse(violation);
    }
    // Before failures: a user who suspends a job does not care how its terminating pods ended.
    if job.suspend {
        return Decision::Suspend;
    }
    if snapshot.scheduling.waiting().is_some() {
        return Decision::Wait;
    }
    let restarts = restart::new_restarts(snapshot, observed, now);
    if observed.in_state(ReplicaState::Failed(Verdict::Final)).next().is_some() {
        return Decision::Fail(Failure::Replica(first_failures(observed)), restarts.in_place);
    }
    match limits::exceeded(job, &restarts, now) {
        // The restart that exceeds the limit is not counted, so the count stays within the limit.
        Some(failure @ Failure::Backoff { limit, .. }) => {
            let is_within = restarts.total() <= limit;
            let counted = if is_within { restarts.in_place } else { InPlace::default() };
            return Decision::Fail(failure, counted);
        }
        Some(failure) => return Decision::Fail(failure, restarts.in_place),
        None => {}
    }
    match success::check(job, observed, now) {
        Success::Reached => return Decision::Succeed(restarts.in_place),
        Success::Settling { until } => return Decision::Settle { until },
        Success::Open => {}
    }
    if restarts.has_replacements() {
        Decision::Restart(restarts)
    } else {
        Decision::Proceed(restarts)
    }
}

/// The failed replicas, the first one to fail in front.
fn first_failures<'a>(observed: &'a Observed<'a>) -> Vec<&'a Replica<'a>> {
    let mut failed: Vec<_> = observed.in_state(ReplicaState::Failed(Verdict::Final)).collect();
    restart::first_failed_first(&mut failed);
    failed
}
