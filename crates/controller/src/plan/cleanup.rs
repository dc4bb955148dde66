//! The end of a job: which objects stay, and for how long.
//!
//! `cleanPodPolicy` says which pods are deleted: `All`, those that have not finished (`Running`),
//! or `None`. Two rules are our own:
//!
//! * Services follow the policy themselves, even if their pod is already gone: under `Running` the
//!   service of a finished pod stays with it, every other one is deleted.
//! * Under `None` a **failed** job still stops the pods that have not finished (the contract's dead
//!   rendezvous). The processes of a rendezvous that lost a member or ran out of time wait forever,
//!   and the only way to stop a pod is to delete it. Finished pods stay with their logs, and a job
//!   that succeeded keeps everything. A pod whose node would restart it in place is stopped instead
//!   of deleted, under `Running` too: it is the one that failed.

use mxjob_api::{CleanPodPolicy, ConditionType, JobStatus};
use mxjob_machinery::field;

use super::draft::Draft;
use super::message::{self, Failure};
use super::observe::{Observed, Replica};
use super::{limits, refusal, replicas};
use crate::event::EventKind;
use crate::view::Phase;

/// Fails the job.
pub(super) fn fail(draft: &mut Draft<'_>, observed: &Observed<'_>, failure: &Failure<'_>) {
    let events: Vec<_> = message::exits(draft.job, failure.replicas()).collect();
    draft.plan.events.extend(events);
    replicas::resume(draft);
    let message = failure.message(draft.job);
    draft.transition(ConditionType::Failed, true, EventKind::Warning, "MXJobFailed", message);
    end(draft, observed);
}

/// Fails a job that is invalid.
pub(super) fn refuse(draft: &mut Draft<'_>, observed: &Observed<'_>, violation: &field::Error) {
    replicas::resume(draft);
    let message = refusal::message(&draft.job.name, &violation.to_string());
    draft.transition(ConditionType::Failed, true, EventKind::Warning, refusal::REASON, message);
    end(draft, observed);
}

/// Completes the job.
pub(super) fn succeed(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    // Its last replicas may have succeeded while it was suspended.
    replicas::resume(draft);
    let message = message::succeeded(draft.job);
    draft.transition(ConditionType::Succeeded, true, EventKind::Normal, "MXJobSucceeded", message);
    end(draft, observed);
}

fn end(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    draft.status.completion_time = Some(draft.now);
    // Nothing is created again, so nothing waits and nothing can be counted twice.
    draft.memory.restarts.delays.clear();
    draft.memory.restarts.counted.clear();
    draft.memory.restarts.replaced.clear();
    clean(draft, observed);
    let time = expiry(draft);
    draft.wake(time);
}

/// Handles a finished job.
pub(super) fn finished(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    match expiry(draft) {
        // Its pods and services are deleted with it.
        Some(time) if time <= draft.now => draft.plan.delete_job = true,
        time => {
            draft.wake(time);
            clean(draft, observed);
        }
    }
}

/// When the job is to be deleted.
fn expiry(draft: &Draft<'_>) -> Option<jiff::Timestamp> {
    let seconds = draft.job.ttl_seconds_after_finished?;
    limits::after(completion(&draft.status)?, seconds.into())
}

/// When the job ended. A status that another controller completed may lack the time; its condition
/// has one.
fn completion(status: &JobStatus) -> Option<jiff::Timestamp> {
    status.completion_time.or_else(|| {
        let terminal = status.conditions.iter().filter(|condition| condition.kind.is_terminal());
        terminal.filter_map(|condition| condition.last_transition_time).max()
    })
}

fn clean(draft: &mut Draft<'_>, observed: &Observed<'_>) {
    let has_failed = draft.status.is_true(&ConditionType::Failed);
    for replica in &observed.replicas {
        let is_kept = has_finished(replica) || has_failed && has_crashed(replica);
        let (pod, service) = match draft.job.clean_pod_policy {
            CleanPodPolicy::All => (true, true),
            CleanPodPolicy::Running => (!is_kept, !is_kept),
            CleanPodPolicy::None => (has_failed && !is_kept, false),
        };
        if is_kept && !pod {
            draft.stop_pod(replica);
        }
        if pod {
            draft.delete_pod(replica.removable_pod());
        }
        if service {
            draft.delete_service(replica.removable_service());
        }
    }
}

/// Whether the replica has a pod whose node would start it again after an error, or that was
/// stopped for that. It explains the failure of the job, so it is stopped, and stays with its logs.
fn has_crashed(replica: &Replica<'_>) -> bool {
    replica.pod.is_some_and(|pod| !pod.terminating && (pod.crash.is_some() || pod.stopping))
}

/// Whether the replica has a pod that ended and is not being deleted.
fn has_finished(replica: &Replica<'_>) -> bool {
    replica.pod.is_some_and(|pod| {
        !pod.terminating && matches!(pod.phase, Phase::Succeeded | Phase::Failed)
    })
}
