//! The order of decisions. Each arm asks one question; the answers are worked out in the modules beside this one.

use super::Snapshot;
use super::limits;
use super::message::Failure;
use super::observe::{Observed, Replica, State, Verdict};
use super::restart::{self, Account};
use super::success::{self, Success};
use jiff::Timestamp;

/// What is to become of the job now.
pub(super) enum Decision<'a> {
    /// It is over: clean up, count, and delete it when its time is up.
    Finished,
    /// It is held back.
    Suspend,
    /// There is no room for it yet.
    Wait,
    /// It has failed.
    Fail(Failure<'a>),
    /// It has succeeded.
    Succeed,
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
    // Before failures: whoever holds a job back does not want to hear what its leaving pods did.
    if job.suspend {
        return Decision::Suspend;
    }
    if snapshot.admission.waiting().is_some() {
        return Decision::Wait;
    }
    if observed.in_state(State::Failed(Verdict::Final)).next().is_some() {
        return Decision::Fail(Failure::Replica(first_failures(observed)));
    }
    let account = restart::account(snapshot, observed, now);
    if let Some(failure) = limits::exceeded(job, &account, now) {
        return Decision::Fail(failure);
    }
    match success::judge(job, observed, now) {
        Success::Reached => return Decision::Succeed,
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
