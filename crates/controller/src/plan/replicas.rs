//! What an unfinished job does with its replicas: create, replace, or stop them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mxjob_api::{ConditionType, RestartScope, Role};

use super::draft::Draft;
use super::observe::{Observed, Replica, ReplicaState, Verdict};
use super::restart::RestartUpdate;
use super::{limits, message};
use crate::event::EventKind;
use crate::memory::WHOLE_JOB;

/// Continues: missing objects are created, and the job is running when every replica of every role
/// is.
pub(super) fn proceed(draft: &mut Draft<'_>, observed: &Observed<'_>, restarts: RestartUpdate<'_>) {
    activate(draft);
    remember(draft, restarts);
    // Failures that the status has counted already, but whose pods still exist: their deletion
    // failed.
    remove_failed(draft, observed);
    create_missing(draft, observed);
    let is_up = |replica: &Replica<'_>| {
        matches!(replica.state, ReplicaState::Running | ReplicaState::Succeeded)
    };
    if observed.replicas.iter().all(is_up)
        && observed.in_state(ReplicaState::Running).next().is_some()
    {
        let message = message::running(draft.job);
        draft.transition(ConditionType::Running, true, EventKind::Normal, "MXJobRunning", message);
    }
}

/// Replaces the failed replicas, or all of them.
pub(super) fn restart(draft: &mut Draft<'_>, observed: &Observed<'_>, restarts: RestartUpdate<'_>) {
    activate(draft);
    let events: Vec<_> = message::exits(draft.job, &restarts.culprits).collect();
    draft.plan.events.extend(events);
    let message = message::restarting(draft.job, &restarts.culprits);
    draft.transition(
        ConditionType::Restarting,
        true,
        EventKind::Warning,
        "MXJobRestarting",
        message,
    );
    remember(draft, restarts);
    remove_failed(draft, observed);
    create_missing(draft, observed);
}

/// Changes nothing while the last processes of a succeeded job end by themselves.
pub(super) fn settle(draft: &mut Draft<'_>, until: Timestamp) {
    activate(draft);
    draft.wake(Some(until));
}

/// Stops everything until the job is resumed.
pub(super) fn suspend(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    let message = message::suspended(draft.job);
    let was_suspended = draft.status.is_true(&ConditionType::Suspended);
    draft.transition(ConditionType::Suspended, true, EventKind::Normal, "MXJobSuspended", message);
    if !was_suspended
        && draft.job.restart_scope == RestartScope::Job
        && draft.status.start_time.is_some()
    {
        // The rendezvous ends as a whole, so the next one needs all of its members, and new ones.
        draft.memory.completed.clear();
        draft.memory.restarts.attempt = draft.memory.restarts.attempt.saturating_add(1);
    }
    for replica in &observed.replicas {
        draft.delete_pod(replica.removable_pod());
        draft.delete_service(replica.removable_service());
    }
}

/// Holds nothing while there is no capacity for the job. A resumed job waits as resumed, and its
/// start time is not set until it starts.
pub(super) fn wait(draft: &mut Draft<'_>) {
    if resume(draft) {
        draft.status.start_time = None;
    }
}

/// Sets the start time of an active job, and ends its suspension.
fn activate(draft: &mut Draft<'_>) {
    resume(draft);
    if draft.status.start_time.is_none() {
        draft.status.start_time = Some(draft.now);
    }
    let deadline = draft.job.active_deadline_seconds;
    let deadline = deadline.and_then(|seconds| limits::after(draft.status.start_time?, seconds));
    draft.wake(deadline);
}

/// Ends the suspension of a job and sets a new start time. Returns whether it was suspended.
pub(super) fn resume(draft: &mut Draft<'_>) -> bool {
    if !draft.status.is_true(&ConditionType::Suspended) {
        return false;
    }
    let message = message::resumed(draft.job);
    draft.transition(ConditionType::Suspended, false, EventKind::Normal, "MXJobResumed", message);
    draft.status.start_time = Some(draft.now);
    true
}

/// Stores the new restarts in the status.
fn remember(draft: &mut Draft<'_>, restarts: RestartUpdate<'_>) {
    count(draft, restarts.added);
    draft.memory = restarts.memory;
}

/// Adds to the restart counts in the status.
pub(super) fn count(draft: &mut Draft<'_>, restarts: BTreeMap<Role, u32>) {
    for (role, added) in restarts {
        let restarts = &mut draft.status.replicas.entry(role).or_default().restarts;
        *restarts = restarts.saturating_add(added);
    }
}

/// Deletes pods that are to be replaced. After a restart of the whole job every pod is outdated.
fn remove_failed(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    let attempt = draft.memory.restarts.attempt;
    for replica in &observed.replicas {
        let is_outdated = replica.pod.is_some_and(|pod| pod.attempt != attempt);
        if is_outdated || replica.state == ReplicaState::Failed(Verdict::Replaceable) {
            draft.delete_pod(replica.removable_pod());
        }
    }
}

/// Creates missing pods, once their delay is over and, in a restart of the whole job, all
/// predecessors are gone.
fn create_missing(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    let is_new_attempt = draft.memory.restarts.attempt != observed.memory.restarts.attempt;
    // A new process must not look up a name whose service is about to disappear.
    let is_service_leaving =
        |replica: &Replica<'_>| replica.service.is_some_and(|service| service.terminating);
    // A rendezvous starts when all of its predecessor is gone; a process that starts too early
    // would meet the wrong peers.
    let together = draft.job.restart_scope == RestartScope::Job;
    let is_blocked = is_new_attempt
        || observed.is_draining()
        || (together && observed.in_state(ReplicaState::Terminating).next().is_some())
        || observed.replicas.iter().any(is_service_leaving);
    for replica in &observed.replicas {
        if replica.state == ReplicaState::Succeeded {
            continue;
        }
        if replica.service.is_none() {
            draft.create_service(replica);
        }
        if replica.state != ReplicaState::Missing || is_blocked {
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
