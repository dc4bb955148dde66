//! What can be asked of a running operator: `/healthz`, `/livez`, `/readyz`, and on another port `/metrics`.
//!
//! Live is a process whose election goes round: one that is stuck is better started anew. Ready is one whose webhook can answer
//! and that has heard of its API server; whether it leads does not matter, and what it lacks to do its work (a right, a
//! definition) does not either, since taking the webhook out of service would make that worse. It is said in the page.

mod pages;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::client::clock;
pub(crate) use pages::{Pages, serve};

/// How the operator is; a cheap handle that its parts write and the probes read.
#[derive(Debug, Clone)]
pub(crate) struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whether the API server has answered.
    reached: AtomicBool,
    /// Whether the operator is about to end.
    stopping: AtomicBool,
    /// When the election went round last, in nanoseconds of the process's clock.
    turned: AtomicU64,
    /// After what time without a turn it counts as stuck; `None` without an election.
    patience: Option<Duration>,
    /// Whether the webhook can answer; `None` without one.
    webhook: Option<watch::Receiver<bool>>,
    /// By what they are in the way of.
    obstacles: Mutex<BTreeMap<String, String>>,
    /// What is in the controller's way.
    standing: mxjob_controller::Standing,
}

// === impl Health ===

impl Health {
    /// Of an operator whose election goes round within `patience`, if it takes part in one.
    pub(crate) fn new(
        patience: Option<Duration>,
        webhook: Option<watch::Receiver<bool>>,
        standing: mxjob_controller::Standing,
    ) -> Self {
        Self(Arc::new(Inner {
            reached: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            turned: AtomicU64::new(0),
            patience,
            webhook,
            obstacles: Mutex::default(),
            standing,
        }))
    }

    /// The API server has answered.
    pub(crate) fn reached(&self) {
        self.0.reached.store(true, Ordering::Relaxed);
    }

    /// The operator is about to end.
    pub(crate) fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// The election has gone round.
    pub(crate) fn turned(&self) {
        let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
        self.0.turned.store(now, Ordering::Relaxed);
    }

    /// Notes what is in the way of something, or that nothing is any more; says whether that is news.
    pub(crate) fn set_obstacle(&self, what: &str, obstacle: Option<&str>) -> bool {
        let mut obstacles = self.obstacles();
        match obstacle {
            Some(obstacle) => {
                let before = obstacles.insert(what.to_owned(), obstacle.to_owned());
                before.as_deref() != Some(obstacle)
            }
            None => obstacles.remove(what).is_some(),
        }
    }

    /// Why the process should be started anew.
    fn dead(&self) -> Option<String> {
        let turned = Duration::from_nanos(self.0.turned.load(Ordering::Relaxed));
        let silent = clock::now().saturating_sub(turned);
        (self.0.patience.is_some_and(|patience| silent > patience))
            .then(|| format!("the leader election has been stuck for {} seconds", silent.as_secs()))
    }

    /// Why nothing should be sent here yet, or any more.
    fn unready(&self) -> Vec<String> {
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

    /// What is in the way of the work.
    pub(crate) fn hindrances(&self) -> Vec<String> {
        let own: Vec<String> = self.obstacles().values().cloned().collect();
        own.into_iter().chain(self.0.standing.obstacles()).collect()
    }

    fn obstacles(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // No code that can panic runs under this lock.
        self.0.obstacles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
