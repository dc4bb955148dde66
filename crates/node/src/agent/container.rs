//! What a container is doing, and when it runs again. Pure, save for the clock values that come in.

use std::{sync::Arc, time::Duration};

use mxjob_machinery::backoff::exponential;
use tokio::time::Instant;

use crate::{runtime::Running, state::ExitRecord};

/// First wait before a container is run again; it doubles with every failure. The kubelet begins with 10 s; on a machine
/// that somebody sits in front of that only looks like a hang.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait, as in Kubernetes.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// A container that ran so long begins with the first wait again.
const CALM: Duration = Duration::from_secs(600);

/// One container of a pod.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) name: String,
    pub(super) init: bool,
    /// Which attempt this is, counted from 0; also the number of restarts.
    pub(super) attempt: u32,
    pub(super) state: State,
    /// The attempt before.
    pub(super) last: Option<ExitRecord>,
    /// Failures in a row, for the back-off.
    failures: u32,
}

/// What it is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Not started so far, for that reason.
    Waiting { reason: &'static str, message: Option<String>, retry_at: Option<Instant> },
    /// Its shim lives.
    Running(Arc<Running>),
    /// Ended, and to be run again.
    Backoff { until: Instant, exit: ExitRecord },
    /// Ended for good.
    Ended(ExitRecord),
}

/// When a container is run again.
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

    /// For init containers `Always` means "until it succeeds".
    fn restarts(self, init: bool, exit: &ExitRecord) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => !exit.succeeded(),
            Self::Always => !(init && exit.succeeded()),
        }
    }
}

impl Tracked {
    pub(super) fn new(name: String, init: bool) -> Self {
        let state = State::Waiting { reason: "ContainerCreating", message: None, retry_at: None };
        Self { name, init, attempt: 0, state, last: None, failures: 0 }
    }

    /// Takes note of an end and decides what comes next.
    pub(super) fn ended(&mut self, exit: ExitRecord, policy: RestartPolicy, now: Instant) {
        if !policy.restarts(self.init, &exit) {
            self.state = State::Ended(exit);
            return;
        }
        if ran_for(&exit) >= CALM {
            self.failures = 0;
        }
        let wait = exponential(FIRST_BACKOFF, LONGEST_BACKOFF, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Backoff { until: now + wait, exit };
    }

    /// Whether it may be started now; makes a new attempt of one that waited for its turn.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        match &self.state {
            State::Waiting { retry_at, .. } => retry_at.is_none_or(|at| at <= now),
            State::Backoff { until, exit } if *until <= now => {
                self.last = Some(exit.clone());
                self.attempt += 1;
                self.state =
                    State::Waiting { reason: "ContainerCreating", message: None, retry_at: None };
                true
            }
            State::Backoff { .. } | State::Running(_) | State::Ended(_) => false,
        }
    }

    /// When [`Self::is_due`] may become true by time alone.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { retry_at, .. } => *retry_at,
            State::Backoff { until, .. } => Some(*until),
            State::Running(_) | State::Ended(_) => None,
        }
    }

    /// Whether it waits, and has said so with this message.
    pub(super) fn waits_with(&self, text: &str) -> bool {
        matches!(&self.state, State::Waiting { message: Some(message), .. } if message == text)
    }

    /// Whether it ended for good, and well.
    pub(super) fn succeeded(&self) -> bool {
        matches!(&self.state, State::Ended(exit) if exit.succeeded())
    }

    /// As if `failures` attempts had failed before, after a restart of the agent.
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
    fn policies_restart_what_they_should() {
        use RestartPolicy::{Always, Never, OnFailure};
        for (policy, init, code, expect) in [
            (Never, false, 1, false),
            (Never, true, 1, false),
            (OnFailure, false, 0, false),
            (OnFailure, false, 1, true),
            (Always, false, 0, true),
            (Always, true, 0, false),
            (Always, true, 1, true),
        ] {
            assert_eq!(policy.restarts(init, &exit(code, 0)), expect, "{policy:?} {init} {code}");
        }
        assert!(OnFailure.restarts(false, &ExitRecord::lost(None, Timestamp::UNIX_EPOCH)));
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_start_again_after_calm() {
        let mut container = Tracked::new("c".to_owned(), false);
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
