//! The hook after the start of a container, and its probes: the task beside a running attempt. It
//! reports to the worker of the pod, which decides.

mod count;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use self::count::Count;
use super::action::{Action, Answer, Target};
use crate::{clock, state::AttemptDir};

/// The probes that run at the same time on a node. Others wait for their turn.
pub(super) const MAX_CONCURRENT: usize = 64;

/// The reports that wait for the worker of a pod. A probe whose report does not fit waits.
pub(super) const MAX_REPORTS: usize = 64;

/// How long a hook after the start may take. It has no limit in Kubernetes, where it can be ended
/// by deleting the pod; so it can here, and this limit only bounds the arithmetic.
const HOOK_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The kinds of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

/// What happened to a running attempt.
#[derive(Debug)]
pub(super) enum Report {
    /// The hook after the start ended. An error is the reason of its failure.
    PostStart(Result<(), String>),
    /// The hook before the end ended.
    PreStop(Result<(), String>),
    /// A probe failed once. Only to be told.
    Unhealthy(Kind, String),
    /// A probe succeeded, and has something to tell.
    Warning(Kind, String),
    /// The thresholds of a probe are reached.
    Result(Kind, bool),
}

/// A report with the container and its attempt.
pub(super) type Addressed = (usize, u32, Report);

/// Sends the reports of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    pub(super) queue: mpsc::Sender<Addressed>,
    pub(super) index: usize,
    pub(super) attempt: u32,
}

/// What is done beside a running attempt.
#[derive(Debug)]
pub(super) struct Watch {
    /// The hook after the start, unless it is done.
    pub(super) post_start: Option<Result<Action, String>>,
    /// The startup probe, unless it has succeeded.
    pub(super) startup: Option<Settings>,
    pub(super) liveness: Option<Settings>,
    pub(super) readiness: Option<Settings>,
    pub(super) target: Target,
    pub(super) dir: AttemptDir,
    /// When the program was started.
    pub(super) started_at: Timestamp,
    /// Whether an earlier agent reported the container as ready.
    pub(super) is_ready: bool,
}

/// The settings of one probe.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    action: Result<Action, String>,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u32,
    failures: u32,
}

// === impl Kind ===

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

// === impl Reporter ===

impl Reporter {
    pub(super) async fn send(&self, report: Report) {
        // Fails only if the worker has ended.
        let _ = self.queue.send((self.index, self.attempt, report)).await;
    }
}

// === impl Settings ===

impl Settings {
    pub(super) fn of(probe: Option<&Probe>, container: &Container) -> Option<Self> {
        let probe = probe?;
        // The API server writes the defaults, but an object may be older than them.
        let number = |given: Option<i32>, default: u32, least: u32| {
            given.and_then(|given| u32::try_from(given).ok()).unwrap_or(default).max(least)
        };
        let seconds = |number: u32| Duration::from_secs(number.into());
        Some(Self {
            action: Action::of_probe(probe, container),
            delay: seconds(number(probe.initial_delay_seconds, 0, 0)),
            period: seconds(number(probe.period_seconds, 10, 1)),
            timeout: seconds(number(probe.timeout_seconds, 1, 1)),
            successes: number(probe.success_threshold, 1, 1),
            failures: number(probe.failure_threshold, 3, 1),
        })
    }
}

// === impl Watch ===

impl Watch {
    /// Starts the task. It ends with the result.
    pub(super) fn start(self, reporter: Reporter, turns: Arc<Semaphore>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.run(reporter, turns));
        tasks
    }

    async fn run(self, reporter: Reporter, turns: Arc<Semaphore>) {
        if let Some(hook) = &self.post_start {
            let result = run_hook(hook, &self.target).await;
            let failed = result.is_err();
            if !failed && let Err(error) = self.dir.mark_post_started() {
                // The hook runs again if the agent restarts.
                tracing::warn!(%error, "cannot record that a hook has run");
            }
            reporter.send(Report::PostStart(result)).await;
            if failed {
                return;
            }
        }
        if let Some(startup) = &self.startup {
            let has_started = self.probe(Kind::Startup, startup, &reporter, &turns).await;
            if !has_started {
                return;
            }
        }
        let probe = async |kind, settings: &Option<Settings>| {
            if let Some(settings) = settings {
                self.probe(kind, settings, &reporter, &turns).await;
            }
        };
        tokio::join!(
            probe(Kind::Liveness, &self.liveness),
            probe(Kind::Readiness, &self.readiness)
        );
    }

    /// Probes until the result decides about the container: the success of a startup probe, the
    /// failure of a startup or liveness probe.
    async fn probe(
        &self,
        kind: Kind,
        settings: &Settings,
        reporter: &Reporter,
        turns: &Semaphore,
    ) -> bool {
        let delay = SignedDuration::try_from(settings.delay).unwrap_or(SignedDuration::MAX);
        let left = delay - clock::now().duration_since(self.started_at);
        sleep(Duration::try_from(left).unwrap_or_default()).await;
        let first = match kind {
            Kind::Startup => None,
            Kind::Liveness => Some(true),
            Kind::Readiness => Some(self.is_ready),
        };
        let mut count = Count::new(settings.successes, settings.failures, first);
        let mut ticks = interval(settings.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = self.probe_once(settings, turns).await;
            let succeeded = !matches!(answer, Answer::Failure(_));
            match answer {
                Answer::Success => {}
                Answer::Warning(text) => reporter.send(Report::Warning(kind, text)).await,
                Answer::Failure(text) => reporter.send(Report::Unhealthy(kind, text)).await,
            }
            let Some(result) = count.observe(succeeded) else { continue };
            reporter.send(Report::Result(kind, result)).await;
            match (kind, result) {
                (Kind::Startup, result) => return result,
                (Kind::Liveness, false) => return false,
                (Kind::Liveness | Kind::Readiness, _) => {}
            }
        }
    }

    async fn probe_once(&self, settings: &Settings, turns: &Semaphore) -> Answer {
        let _turn = turns.acquire().await;
        match &settings.action {
            Ok(action) => action.run(&self.target, settings.timeout).await,
            Err(why) => Answer::Failure(why.clone()),
        }
    }
}

/// Runs a hook to its end.
pub(super) async fn run_hook(hook: &Result<Action, String>, target: &Target) -> Result<(), String> {
    let action = hook.as_ref().map_err(Clone::clone)?;
    match action.run_hook(target, HOOK_LIMIT).await {
        Answer::Success | Answer::Warning(_) => Ok(()),
        Answer::Failure(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_have_defaults_and_lower_limits() {
        let container = Container::default();
        let of = |probe| {
            let probe: Probe = serde_json::from_value(probe).unwrap();
            let found = Settings::of(Some(&probe), &container).unwrap();
            let seconds = [found.delay, found.period, found.timeout].map(|time| time.as_secs());
            (seconds, found.successes, found.failures)
        };
        assert_eq!(of(json!({})), ([0, 10, 1], 1, 3));
        let all = json!({
            "initialDelaySeconds": 5, "periodSeconds": 2, "timeoutSeconds": 3,
            "successThreshold": 4, "failureThreshold": 6,
        });
        assert_eq!(of(all), ([5, 2, 3], 4, 6));
        let odd = json!({
            "initialDelaySeconds": -5, "periodSeconds": 0, "timeoutSeconds": 0,
            "successThreshold": 0, "failureThreshold": 0,
        });
        assert_eq!(of(odd), ([0, 1, 1], 1, 1));
        assert!(Settings::of(None, &container).is_none());
    }
}
