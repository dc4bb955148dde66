//! The workers: they reconcile one job after another.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::cache::Lookup;
use super::context::Context;
use super::effects;
use super::error::ReconcileError;
use super::events::JobRef;
use super::object::Key;
use super::status;
use super::stored_job::UnreadableJob;
use super::sync_gate::SyncStatus;
use super::work_queue::{Outcome, WorkQueue};
use crate::event::{Event, EventKind};
use crate::plan::Plan;
use crate::pod_group::member::Kind;
use crate::pod_group::{self, GroupAction};

/// The longest wait of a timer: clocks are set, machines sleep, and timers do not follow the
/// calendar.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Reconciles one job after another until it is stopped.
pub(super) async fn work(
    context: Arc<Context>,
    queue: Arc<WorkQueue>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let key = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            key = queue.next() => key,
        };
        let blocked = match context.sync_gate.status() {
            SyncStatus::Synced => None,
            SyncStatus::Blocked(why) => Some(why),
            SyncStatus::NotSynced => {
                // All jobs are queued when everything has been listed.
                queue.done(key, &Outcome::Done(None));
                continue;
            }
        };
        let begun = std::time::Instant::now();
        let outcome = reconcile(&context, &key, blocked.as_deref()).await;
        context.metrics.reconciled(begun.elapsed());
        queue.done(key, &outcome);
    }
}

async fn reconcile(context: &Context, key: &Key, blocked: Option<&str>) -> Outcome {
    let now = (context.now)();
    let (document, mut snapshot, group) = match context.cache.lookup(key, blocked) {
        Lookup::Nothing => {
            context.debounce.forget(key);
            return Outcome::Done(None);
        }
        Lookup::Invalid(invalid) => {
            let outcome = status::refuse(context, key, &invalid, now).await;
            return conclude(context, key, outcome, None);
        }
        Lookup::Unreadable(unreadable) => {
            context.debounce.forget(key);
            report(context, key, &unreadable, now);
            return Outcome::Done(None);
        }
        Lookup::Job(document, snapshot, group) => (document, snapshot, group),
    };
    let mut group_action = GroupAction::Keep;
    let mut is_gang = false;
    if let (Some(scheduler), None) = (&context.scheduler, blocked) {
        let has_unmarked_pods = pod_group::has_unmarked_pods(Kind::of(scheduler), &snapshot.pods);
        is_gang = !has_unmarked_pods;
        let group_context = pod_group::GroupContext {
            job: &document.job,
            annotations: &document.annotations,
            memory: &document.memory,
            has_pods: snapshot.pods.iter().any(|pod| !pod.terminating),
            has_unmarked_pods,
        };
        (group_action, snapshot.scheduling) =
            pod_group::decide(Kind::of(scheduler), group_context, group.as_deref());
    }
    let job = &document.job;
    if matches!(group_action, GroupAction::Remove(_)) && !job.suspend && !job.status.is_finished() {
        // The group from before a suspension. Nothing else happens until it is gone: the status
        // distinguishes it from the group of a resumed job.
        let nothing = Plan::default();
        let outcome =
            effects::carry_out(context, &document, &nothing, &group_action, is_gang, now).await;
        return conclude(context, key, outcome, Some(Duration::ZERO));
    }
    let plan = crate::plan::plan(&snapshot, now);
    if plan.status.as_ref().is_some_and(|next| next.status.is_finished())
        && !matches!(group_action, GroupAction::Remove(_))
    {
        // The job ends with this plan; its group is removed by the next one.
        group_action = GroupAction::Keep;
    }
    let wake = plan.wake_at.map(|at| sleep(now, at));
    if plan.create_pods.is_empty()
        && plan.create_services.is_empty()
        && group_action == GroupAction::Keep
        && blocked.is_none()
        && !snapshot.problems.is_empty()
    {
        // The objects that could not be created are not needed any more; the next plan says so.
        context.cache.set_problems(key, Vec::new());
        return Outcome::Done(Some(Duration::ZERO));
    }
    if plan.is_empty() && group_action == GroupAction::Keep {
        return Outcome::Done(wake);
    }
    if group_action == GroupAction::Keep && plan.is_minor(&document.job, &document.memory) {
        if let Some(rest) = context.debounce.defer(key, Instant::now()) {
            return Outcome::Done(Some(wake.map_or(rest, |wake| wake.min(rest))));
        }
    } else {
        context.debounce.reset(key);
    }
    let outcome = effects::carry_out(context, &document, &plan, &group_action, is_gang, now).await;
    conclude(context, key, outcome, wake)
}

/// Reports a job that cannot be read. The event of one version is always the same, so there is one.
fn report(context: &Context, key: &Key, job: &UnreadableJob, now: Timestamp) {
    let message = format!(
        "the MXJob cannot be read and is ignored: {}; correct the field or delete the job",
        job.why
    );
    warn!(namespace = key.namespace, job = key.name, "{message}");
    let event =
        Event { kind: EventKind::Warning, reason: mxjob_client::UNREADABLE.to_owned(), message };
    let subject = JobRef { namespace: &key.namespace, name: &key.name, uid: &job.uid };
    context.recorder.record(subject, &event, &job.resource_version, now);
}

/// Logs an error. The reconcile is retried.
fn conclude(
    context: &Context,
    key: &Key,
    outcome: Result<(), ReconcileError>,
    wake: Option<Duration>,
) -> Outcome {
    match outcome {
        Ok(()) => {
            context.debounce.succeeded(key);
            Outcome::Done(wake)
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let (namespace, job) = (&key.namespace, &key.name);
            if error.is_expected() {
                debug!(namespace, job, %error, "will replan");
            } else if context.debounce.failed(key, &format!("{error}: {cause:?}")) {
                warn!(namespace, job, %error, cause, "reconcile failed; will retry");
            } else {
                debug!(namespace, job, %error, cause, "reconcile failed; will retry");
            }
            Outcome::Failed
        }
    }
}

/// How long to sleep until a time. One millisecond is added: timers are coarse, and waking too
/// early costs another wake-up.
pub(super) fn sleep(now: Timestamp, until: Timestamp) -> Duration {
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
    wait.saturating_add(Duration::from_millis(1)).min(MAX_SLEEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_reach_the_time_and_are_bounded() {
        let now: Timestamp = "2026-11-24T08:00:00Z".parse().unwrap();
        for (until, wait) in [
            ("2026-11-24T08:00:01.5Z", Duration::from_millis(1501)),
            ("2026-11-24T07:00:00Z", Duration::from_millis(1)),
            ("9999-01-01T00:00:00Z", MAX_SLEEP),
        ] {
            assert_eq!(sleep(now, until.parse().unwrap()), wait, "{until}");
        }
    }
}
