//! The workers: one look at one job after another.

use super::cache::Look;
use super::document::Unreadable;
use super::effects::{self, Context};
use super::events::Subject;
use super::gate::Sight;
use super::object::Key;
use super::queue::{Outcome, Queue};
use super::status;
use crate::plan::{Event, EventKind, Plan};
use crate::pod_group::{self, Kind, Step};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

/// The longest sleep of a job with a timer: clocks are set, machines sleep, and timers count other seconds than calendars.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Works on one job after another until it is told to stop.
pub(super) async fn work(
    context: Arc<Context>,
    queue: Arc<Queue>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let key = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            key = queue.next() => key,
        };
        let blind = match context.gate.sight() {
            Sight::Clear => None,
            Sight::Blind(why) => Some(why),
            Sight::NotYet => {
                // All are looked at when everything has been seen.
                queue.done(key, &Outcome::Done(None));
                continue;
            }
        };
        let begun = std::time::Instant::now();
        let outcome = reconcile(&context, &key, blind.as_deref()).await;
        context.metrics.reconciled(begun.elapsed());
        queue.done(key, &outcome);
    }
}

async fn reconcile(context: &Context, key: &Key, blind: Option<&str>) -> Outcome {
    let now = (context.now)();
    let (document, mut snapshot, group) = match context.cache.look(key, blind) {
        Look::Nothing => {
            context.pace.forget(key);
            return Outcome::Done(None);
        }
        Look::Refused(refused) => {
            let outcome = status::refuse(context, key, &refused, now).await;
            return conclude(context, key, outcome, None);
        }
        Look::Unreadable(unreadable) => {
            context.pace.forget(key);
            report(context, key, &unreadable, now);
            return Outcome::Done(None);
        }
        Look::Job(document, snapshot, group) => (document, snapshot, group),
    };
    let mut step = Step::Keep;
    let mut marks = false;
    if let (Some(scheduler), None) = (&context.scheduler, blind) {
        let has_outsiders = pod_group::has_outsiders(Kind::of(scheduler), &snapshot.pods);
        marks = !has_outsiders;
        let subject = pod_group::Subject {
            job: &document.job,
            annotations: &document.annotations,
            memory: &document.memory,
            has_pods: snapshot.pods.iter().any(|pod| !pod.leaving),
            has_outsiders,
        };
        (step, snapshot.admission) =
            pod_group::decide(Kind::of(scheduler), subject, group.as_deref());
    }
    let job = &document.job;
    if matches!(step, Step::Remove(_)) && !job.suspend && !job.status.is_finished() {
        // The group of before a suspension. Nothing else before it is gone: the status tells it from that of a resumed job.
        let nothing = Plan::default();
        let outcome = effects::carry_out(context, &document, &nothing, &step, marks, now).await;
        return conclude(context, key, outcome, Some(Duration::ZERO));
    }
    let plan = crate::plan::plan(&snapshot, now);
    if plan.status.as_ref().is_some_and(|next| next.status.is_finished())
        && !matches!(step, Step::Remove(_))
    {
        // The job ends with this plan, and a group that it has goes with the next one.
        step = Step::Keep;
    }
    let wake = plan.wake_at.map(|at| sleep(now, at));
    if plan.create_pods.is_empty()
        && plan.create_services.is_empty()
        && step == Step::Keep
        && blind.is_none()
        && !snapshot.problems.is_empty()
    {
        // Whatever could not be made is not needed any more; the next plan says so.
        context.cache.set_problems(key, Vec::new());
        return Outcome::Done(Some(Duration::ZERO));
    }
    if plan.is_empty() && step == Step::Keep {
        return Outcome::Done(wake);
    }
    if step == Step::Keep && plan.is_minor(&document.job, &document.memory) {
        if let Some(rest) = context.pace.put_off(key, Instant::now()) {
            return Outcome::Done(Some(wake.map_or(rest, |wake| wake.min(rest))));
        }
    } else {
        context.pace.acts(key);
    }
    let outcome = effects::carry_out(context, &document, &plan, &step, marks, now).await;
    conclude(context, key, outcome, wake)
}

/// Reports a job that cannot be read. The event of one version is the same each time, so there is one.
fn report(context: &Context, key: &Key, job: &Unreadable, now: Timestamp) {
    let message = format!(
        "the MXJob cannot be read and is left alone: {}; correct the field or delete the job",
        job.why
    );
    warn!(namespace = key.namespace, job = key.name, "{message}");
    let event =
        Event { kind: EventKind::Warning, reason: mxjob_client::UNREADABLE.to_owned(), message };
    let subject = Subject { namespace: &key.namespace, name: &key.name, uid: &job.uid };
    context.recorder.tell(subject, &event, &job.resource_version, now);
}

/// Tells of what failed. It is tried again.
fn conclude(
    context: &Context,
    key: &Key,
    outcome: Result<(), effects::Error>,
    wake: Option<Duration>,
) -> Outcome {
    match outcome {
        Ok(()) => {
            context.pace.succeeded(key);
            Outcome::Done(wake)
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let (namespace, job) = (&key.namespace, &key.name);
            if error.is_expected() {
                debug!(namespace, job, %error, "to be planned again");
            } else if context.pace.failed(key, &format!("{error}: {cause:?}")) {
                warn!(namespace, job, %error, cause, "to be tried again");
            } else {
                debug!(namespace, job, %error, cause, "to be tried again");
            }
            Outcome::Failed
        }
    }
}

/// How long to sleep until a time. A millisecond more than it looks: timers are coarse, and too early is once too often.
pub(super) fn sleep(now: Timestamp, until: Timestamp) -> Duration {
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
    wait.saturating_add(Duration::from_millis(1)).min(LONGEST_SLEEP)
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
            ("9999-01-01T00:00:00Z", LONGEST_SLEEP),
        ] {
            assert_eq!(sleep(now, until.parse().unwrap()), wait, "{until}");
        }
    }
}
