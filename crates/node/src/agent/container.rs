//! The state of a container, and when it is restarted. Pure: times are parameters.

use std::{sync::Arc, time::Duration};

use mxjob_machinery::backoff::exponential;
use tokio::{task::JoinSet, time::Instant};

use crate::{runtime::Running, state::ExitRecord};

/// First delay before a container is restarted. It doubles with every failure. The kubelet starts
/// with 10 s, which looks like a hang on a machine with one user.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// Longest delay, as in Kubernetes.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// After a run of this length the delay starts from the first one again.
const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An init container that runs to its end.
    Init,
    /// An init container that is restarted always, and runs beside the others.
    Sidecar,
    /// A container of the pod's own list.
    Main,
}

/// One container of a pod.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) name: String,
    pub(super) role: Role,
    /// Number of the attempt, counted from 0; also the number of restarts.
    pub(super) attempt: u32,
    pub(super) state: ContainerState,
    /// The end of the attempt before.
    pub(super) last: Option<ExitRecord>,
    /// Consecutive failures, for the back-off.
    failures: u32,
}

/// The state of a container.
#[derive(Debug)]
pub(super) enum ContainerState {
    /// Not started yet, for this reason.
    Waiting { reason: &'static str, message: Option<String>, retry_at: Option<Instant> },
    /// Its shim runs.
    Running(Live),
    /// Ended, and to be restarted.
    Backoff { until: Instant, exit: ExitRecord },
    /// Ended, and not to be restarted.
    Ended(ExitRecord),
}

/// A running attempt.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) running: Arc<Running>,
    /// Its hook after the start is done, if it has one.
    pub(super) is_hooked: bool,
    /// Its startup probe has succeeded, if it has one.
    pub(super) has_passed: bool,
    /// Its readiness probe succeeds, if it has one.
    pub(super) is_answering: bool,
    /// Its end, once it was requested.
    pub(super) stop: Option<Stop>,
    /// Its hook after the start and its probes, which end when this is dropped.
    pub(super) watch: JoinSet<()>,
}

/// The end of a running attempt.
#[derive(Debug)]
pub(super) struct Stop {
    /// When it is killed.
    pub(super) by: Instant,
    /// Whether it gets no time at all.
    pub(super) is_immediate: bool,
    pub(super) stage: StopStage,
}

/// How far the end is.
#[derive(Debug)]
pub(super) enum StopStage {
    /// The hook before the end runs, until this is dropped.
    Hook { _task: JoinSet<()> },
    /// It is not yet its turn to end.
    Turn,
    /// Its shim was requested to end it.
    Requested,
}

/// When a container is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// The policy of a pod; `Always` is Kubernetes' default.
    pub(super) fn of(name: Option<&str>) -> Self {
        match name {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// For init containers `Always` means "until it succeeds". Sidecars are restarted always.
    pub(super) fn restarts(self, role: Role, exit: &ExitRecord) -> bool {
        match (self, role) {
            (_, Role::Sidecar) => true,
            (Self::Never, _) => false,
            (Self::OnFailure, _) => !exit.succeeded(),
            (Self::Always, _) => !(role == Role::Init && exit.succeeded()),
        }
    }
}

impl Live {
    /// Whether it has started: its hook is done and its startup probe has succeeded.
    pub(super) const fn has_started(&self) -> bool {
        self.is_hooked && self.has_passed
    }

    /// Whether it is ready to serve.
    pub(super) const fn is_ready(&self) -> bool {
        self.has_started() && self.is_answering
    }
}

impl Tracked {
    pub(super) fn new(name: String, role: Role) -> Self {
        let state =
            ContainerState::Waiting { reason: "ContainerCreating", message: None, retry_at: None };
        Self { name, role, attempt: 0, state, last: None, failures: 0 }
    }

    /// Records an end, and decides whether and when to restart.
    pub(super) fn ended(&mut self, exit: ExitRecord, policy: RestartPolicy, now: Instant) {
        if !policy.restarts(self.role, &exit) {
            self.state = ContainerState::Ended(exit);
            return;
        }
        if ran_for(&exit) >= BACKOFF_RESET {
            self.failures = 0;
        }
        let wait = exponential(INITIAL_BACKOFF, MAX_BACKOFF, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.state = ContainerState::Backoff { until: now + wait, exit };
    }

    /// Whether it may be started now. Begins a new attempt after a back-off.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        match &self.state {
            ContainerState::Waiting { retry_at, .. } => retry_at.is_none_or(|at| at <= now),
            ContainerState::Backoff { until, exit } if *until <= now => {
                self.last = Some(exit.clone());
                self.attempt += 1;
                self.state = ContainerState::Waiting {
                    reason: "ContainerCreating",
                    message: None,
                    retry_at: None,
                };
                true
            }
            ContainerState::Backoff { .. }
            | ContainerState::Running(_)
            | ContainerState::Ended(_) => false,
        }
    }

    /// When [`Self::is_due`] becomes true without another change.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match &self.state {
            ContainerState::Waiting { retry_at, .. } => *retry_at,
            ContainerState::Backoff { until, .. } => Some(*until),
            ContainerState::Running(_) | ContainerState::Ended(_) => None,
        }
    }

    /// Whether it waits with this message.
    pub(super) fn waits_with(&self, text: &str) -> bool {
        matches!(&self.state, ContainerState::Waiting { message: Some(message), .. } if message == text)
    }

    /// Whether it ended with code 0 and is not restarted.
    pub(super) fn succeeded(&self) -> bool {
        matches!(&self.state, ContainerState::Ended(exit) if exit.succeeded())
    }

    /// Whether an attempt was started, or has ended without a start.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.state, ContainerState::Waiting { .. }) || self.attempt > 0
    }

    /// The running attempt.
    pub(super) const fn live(&self) -> Option<&Live> {
        match &self.state {
            ContainerState::Running(live) => Some(live),
            _ => None,
        }
    }

    /// The running attempt.
    pub(super) const fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            ContainerState::Running(live) => Some(live),
            _ => None,
        }
    }

    pub(super) const fn is_running(&self) -> bool {
        self.live().is_some()
    }

    pub(super) fn has_started(&self) -> bool {
        self.live().is_some_and(Live::has_started)
    }

    /// Ends a container in back-off, because nothing of its pod is restarted any more.
    pub(super) fn give_up(&mut self) {
        if let ContainerState::Backoff { exit, .. } = &self.state {
            self.state = ContainerState::Ended(exit.clone());
        }
    }

    /// Sets the number of consecutive failures, after a restart of the agent.
    pub(super) const fn assume_failures(&mut self, failures: u32) {
        self.failures = failures;
    }
}

fn ran_for(exit: &ExitRecord) -> Duration {
    exit.started_at
        .and_then(|started| Duration::try_from(exit.finished_at.duration_since(started)).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::state::ExitReason;

    fn exit(code: i32, seconds: i64) -> ExitRecord {
        let started = Timestamp::UNIX_EPOCH;
        ExitRecord {
            started_at: Some(started),
            finished_at: started + SignedDuration::from_secs(seconds),
            ..ExitRecord::not_started(code, ExitReason::Error, String::new(), started)
        }
    }

    #[test]
    fn restart_policies_decide_by_exit_code() {
        use RestartPolicy::{Always, Never, OnFailure};
        for (policy, role, code, expect) in [
            (Never, Role::Main, 1, false),
            (Never, Role::Init, 1, false),
            (Never, Role::Sidecar, 0, true),
            (OnFailure, Role::Main, 0, false),
            (OnFailure, Role::Main, 1, true),
            (OnFailure, Role::Sidecar, 0, true),
            (Always, Role::Main, 0, true),
            (Always, Role::Init, 0, false),
            (Always, Role::Init, 1, true),
        ] {
            assert_eq!(policy.restarts(role, &exit(code, 0)), expect, "{policy:?} {role:?} {code}");
        }
        assert!(OnFailure.restarts(Role::Main, &ExitRecord::lost(None, Timestamp::UNIX_EPOCH)));
    }

    #[test]
    fn delays_double_up_to_five_minutes_and_reset_after_a_long_run() {
        let mut container = Tracked::new("c".to_owned(), Role::Main);
        let mut waits = Vec::new();
        for seconds in [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 600, 0] {
            let now = Instant::now();
            container.ended(exit(1, seconds), RestartPolicy::Always, now);
            assert!(!container.is_due(now));
            let due = container.due_at().unwrap();
            waits.push((due - now).as_secs());
            assert!(container.is_due(due));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 1, 2]);
        assert_eq!(container.attempt, 12);
    }
}
