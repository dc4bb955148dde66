//! The endpoints of a running operator: `/healthz`, `/livez`, `/readyz`, and on another port
//! `/metrics`.
//!
//! The process is live while its election makes progress; a stuck one should be restarted. It is
//! ready when its webhook has a certificate and the API server has answered. Whether it leads does
//! not matter, and neither does a missing right or definition, since taking the webhook out of
//! service would make that worse; such problems are listed on the page.

mod pages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::client::clock;

pub(crate) use pages::{Pages, serve};

/// The state of the operator; a cheap handle that its parts write and the probes read.
#[derive(Debug, Clone)]
pub(crate) struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whether the API server has answered.
    reached: AtomicBool,
    /// Whether the operator is stopping.
    stopping: AtomicBool,
    /// When the election last made progress, in nanoseconds of [`clock`].
    election_progress: AtomicU64,
    /// After this time without progress the election counts as stuck; `None` without an election.
    election_timeout: Option<Duration>,
    /// Whether the webhook has a certificate; `None` without a webhook.
    webhook: Option<watch::Receiver<bool>>,
    /// The problems of the operator's own parts, by name.
    problems: Mutex<BTreeMap<String, String>>,
    /// The controller's problems.
    controller: mxjob_controller::Health,
}

// === impl Health ===

impl Health {
    /// `election_timeout` is how long the election may take without progress; `None` without an
    /// election.
    pub(crate) fn new(
        election_timeout: Option<Duration>,
        webhook: Option<watch::Receiver<bool>>,
        controller: mxjob_controller::Health,
    ) -> Self {
        Self(Arc::new(Inner {
            reached: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            election_progress: AtomicU64::new(0),
            election_timeout,
            webhook,
            problems: Mutex::default(),
            controller,
        }))
    }

    /// Notes that the API server has answered.
    pub(crate) fn api_server_reached(&self) {
        self.0.reached.store(true, Ordering::Relaxed);
    }

    /// Notes that the operator is stopping.
    pub(crate) fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Notes that the election made progress.
    pub(crate) fn election_progressed(&self) {
        let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
        self.0.election_progress.store(now, Ordering::Relaxed);
    }

    /// Sets or clears the problem of this name. Returns whether that changed anything.
    pub(crate) fn set_problem(&self, name: &str, problem: Option<&str>) -> bool {
        let mut problems = self.own_problems();
        match problem {
            Some(problem) => {
                let before = problems.insert(name.to_owned(), problem.to_owned());
                before.as_deref() != Some(problem)
            }
            None => problems.remove(name).is_some(),
        }
    }

    /// Why the process should be restarted, if it should.
    fn liveness_problem(&self) -> Option<String> {
        let progress = Duration::from_nanos(self.0.election_progress.load(Ordering::Relaxed));
        let silent = clock::now().saturating_sub(progress);
        (self.0.election_timeout.is_some_and(|election_timeout| silent > election_timeout)).then(
            || format!("the leader election has made no progress for {} seconds", silent.as_secs()),
        )
    }

    /// Why this replica should receive no requests.
    fn readiness_problems(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.0.stopping.load(Ordering::Relaxed) {
            why.push("the operator is stopping".to_owned());
        }
        if !self.0.reached.load(Ordering::Relaxed) {
            why.push("the API server has not answered yet".to_owned());
        }
        if self.0.webhook.as_ref().is_some_and(|ready| !*ready.borrow()) {
            why.push("the webhook has no certificate yet".to_owned());
        }
        why
    }

    /// Everything that keeps the operator from its work.
    pub(crate) fn problems(&self) -> Vec<String> {
        let own: Vec<String> = self.own_problems().values().cloned().collect();
        own.into_iter().chain(self.0.controller.obstacles()).collect()
    }

    fn own_problems(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.problems.lock()
    }
}

#[cfg(test)]
mod tests;
