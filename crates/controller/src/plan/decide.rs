//! The order of decisions. Each arm asks one question; the answers are worked out in the modules beside this one.

use super::Snapshot;
use super::limits;
use super::message::Failure;
use super::observe::{Observed, Replica, State, Verdict};
use super::restart::{self, Account, InPlace};
use super::success::{self, Success};
use jiff::Timestamp;
use mxjob_api::validate;
use mxjob_machinery::field;

/// What is to become of the job now.
pub(super) enum Decision<'a> {
    /// It is over: clean up, count, and delete it when its time is up.
    Finished,
    /// It is larger than a job may be, as this says, and no admission has seen it.
    Refuse(field::Error),
    /// It is held back.
    Suspend,
    /// There is no room for it yet.
    Wait,
    /// It has failed.
    Fail(Failure<'a>, InPlace),
    /// It has succeeded.
    Succeed(InPlace),
    /// It has succeeded as far as its scheduler tells; the workers are about to end and may still fail.
    Settle {
        /// How long they may take.
        until: Timestamp,
    },
    /// Replicas failed that are to be made again.
    Restart(Account<'a>),
    /// It is on its way.
    Proceed(Account<'a>),
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
    // Not even a job that is held back stays: its size is fixed, so it can never go on.
    if let Some(violation) = validate::size(job) {
        return Decision::Refuse(violation);
    }
    // Before failures: whoever holds a job back does not want to hear what its leaving pods did.
    if job.suspend {
        return Decision::Suspend;
    }
    if snapshot.admission.waiting().is_some() {
        return Decision::Wait;
    }
    let account = restart::account(snapshot, observed, now);
    if observed.in_state(State::Failed(Verdict::Final)).next().is_some() {
        return Decision::Fail(Failure::Replica(first_failures(observed)), account.in_place);
    }
    match limits::exceeded(job, &account, now) {
        // The restart that was one too many does not count: what is counted is within the limit.
        Some(failure @ Failure::Backoff { .. }) => {
            return Decision::Fail(failure, InPlace::default());
        }
        Some(failure) => return Decision::Fail(failure, account.in_place),
        None => {}
    }
    match success::judge(job, observed, now) {
        Success::Reached => return Decision::Succeed(account.in_place),
        Success::Settling { until } => return Decision::Settle { until },
        Success::Open => {}
    }
    if account.has_news() { Decision::Restart(account) } else { Decision::Proceed(account) }
}

/// The failed replicas, the one that failed first in front.
fn first_failures<'a>(observed: &'a Observed<'a>) -> Vec<&'a Replica<'a>> {
    let mut failed: Vec<_> = observed.in_state(State::Failed(Verdict::Final)).collect();
    restart::first_failed_first(&mut failed);
    failed
}
