//! What a job that is not over does with its replicas: makes them, replaces them, holds them back.

use super::draft::Draft;
use super::observe::{Observed, Replica, State, Verdict};
use super::restart::Account;
use super::{EventKind, limits, message};
use crate::memory::WHOLE_JOB;
use jiff::Timestamp;
use mxjob_api::{ConditionType, RestartScope, Role};
use std::collections::BTreeMap;

/// Goes on: what is missing is made, and the job is running when every replica of every role is.
pub(super) fn proceed(draft: &mut Draft<'_>, observed: &Observed<'_>, account: Account<'_>) {
    activate(draft);
    remember(draft, account);
    // Failures that the status has counted already, but whose pods are still there: the removal did not succeed.
    remove_failed(draft, observed);
    create_missing(draft, observed);
    let is_up = |replica: &Replica<'_>| matches!(replica.state, State::Running | State::Succeeded);
    if observed.replicas.iter().all(is_up) && observed.in_state(State::Running).next().is_some() {
        let message = message::running(draft.job);
        draft.transition(ConditionType::Running, true, EventKind::Normal, "MXJobRunning", message);
    }
}

/// Replaces the replicas that failed, or all of them.
pub(super) fn restart(draft: &mut Draft<'_>, observed: &Observed<'_>, account: Account<'_>) {
    activate(draft);
    let events: Vec<_> = message::exits(draft.job, &account.culprits).collect();
    draft.plan.events.extend(events);
    let message = message::restarting(draft.job, &account.culprits);
    draft.transition(
        ConditionType::Restarting,
        true,
        EventKind::Warning,
        "MXJobRestarting",
        message,
    );
    remember(draft, account);
    remove_failed(draft, observed);
    create_missing(draft, observed);
}

/// Leaves everything as it is while the last processes of a succeeded job end by themselves.
pub(super) fn settle(draft: &mut Draft<'_>, until: Timestamp) {
    activate(draft);
    draft.wake(Some(until));
}

/// Stops everything, for now.
pub(super) fn suspend(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    let message = message::suspended(draft.job);
    let was_suspended = draft.status.is_true(&ConditionType::Suspended);
    draft.transition(ConditionType::Suspended, true, EventKind::Normal, "MXJobSuspended", message);
    if !was_suspended
        && draft.job.restart_scope == RestartScope::Job
        && draft.status.start_time.is_some()
    {
        // The rendezvous is given up as a whole, so the next one needs all of its members, and new ones.
        draft.memory.completed.clear();
        draft.memory.restarts.attempt = draft.memory.restarts.attempt.saturating_add(1);
    }
    for replica in &observed.replicas {
        draft.delete_pod(replica.removable_pod());
        draft.delete_service(replica.removable_service());
    }
}

/// Holds nothing while there is no room for the job. A job that is resumed waits as resumed, and its clock stands still until it starts.
pub(super) fn wait(draft: &mut Draft<'_>) {
    if resume(draft) {
        draft.status.start_time = None;
    }
}

/// What being active means for the status: the clock runs, and from now on if the job was held back.
fn activate(draft: &mut Draft<'_>) {
    resume(draft);
    if draft.status.start_time.is_none() {
        draft.status.start_time = Some(draft.now);
    }
    let deadline = draft.job.active_deadline_seconds;
    let deadline = deadline.and_then(|seconds| limits::after(draft.status.start_time?, seconds));
    draft.wake(deadline);
}

/// Lets a job go that was held back, and its clock with it; says whether it was.
pub(super) fn resume(draft: &mut Draft<'_>) -> bool {
    if !draft.status.is_true(&ConditionType::Suspended) {
        return false;
    }
    let message = message::resumed(draft.job);
    draft.transition(ConditionType::Suspended, false, EventKind::Normal, "MXJobResumed", message);
    draft.status.start_time = Some(draft.now);
    true
}

/// Takes the new restarts into the status.
fn remember(draft: &mut Draft<'_>, account: Account<'_>) {
    count(draft, account.added);
    draft.memory = account.memory;
}

/// Adds to the restarts in the status.
pub(super) fn count(draft: &mut Draft<'_>, restarts: BTreeMap<Role, u32>) {
    for (role, added) in restarts {
        let restarts = &mut draft.status.replicas.entry(role).or_default().restarts;
        *restarts = restarts.saturating_add(added);
    }
}

/// Removes what is to be made again. The new attempt of a whole-job restart makes every pod a leftover.
fn remove_failed(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    let attempt = draft.memory.restarts.attempt;
    for replica in &observed.replicas {
        let is_leftover = replica.pod.is_some_and(|pod| pod.attempt != attempt);
        if is_leftover || replica.state == State::Failed(Verdict::Replaceable) {
            draft.delete_pod(replica.removable_pod());
        }
    }
}

/// Makes what has no pod, once its wait is over and, in a whole-job restart, all predecessors are gone.
fn create_missing(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    let is_new_attempt = draft.memory.restarts.attempt != observed.memory.restarts.attempt;
    // A name whose service is about to vanish must not be looked up by a new process.
    let is_service_leaving =
        |replica: &Replica<'_>| replica.service.is_some_and(|service| service.leaving);
    // A rendezvous begins when all of its predecessor is gone; one process early would meet the wrong peers.
    let together = draft.job.restart_scope == RestartScope::Job;
    let is_blocked = is_new_attempt
        || observed.is_draining()
        || (together && observed.in_state(State::Leaving).next().is_some())
        || observed.replicas.iter().any(is_service_leaving);
    for replica in &observed.replicas {
        if replica.state == State::Succeeded {
            continue;
        }
        if replica.service.is_none() {
            draft.create_service(replica);
        }
        if replica.state != State::Missing || is_blocked {
            continue;
        }
        let delays = &draft.memory.restarts.delays;
        let delay =
            if together { delays.get(WHOLE_JOB) } else { delays.get(&replica.short_name()) };
        match delay.map(|delay| delay.until).filter(|until| *until > draft.moment) {
            Some(until) => draft.wake(Some(until)),
            None => draft.create_pod(replica),
        }
    }
}
