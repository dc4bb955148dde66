//! The work queue: what to look at, and when to retry what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mxjob_machinery::backoff::Backoff;
use tokio::time::Instant;

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// What the API serves.
    Discovery,
    /// An object, by uid.
    Object(String),
    /// A terminating namespace, by name.
    Namespace(String),
    /// The quotas of a namespace, by its name.
    Quotas(String),
    /// The pods of a node that does not exist, by its name.
    Orphans(String),
}

/// The queue. Each task is in it once.
#[derive(Debug, Default)]
pub(super) struct Todo {
    now: BTreeSet<Task>,
    later: BTreeMap<Task, (Instant, Backoff)>,
}

// === impl Todo ===

impl Todo {
    pub(super) fn soon(&mut self, task: Task) {
        self.now.insert(task);
    }

    /// Adds a task that is due after a delay, unless it is due earlier.
    pub(super) fn after(&mut self, delay: Duration, task: Task) {
        let new = || (Instant::now() + delay, Backoff::new(FIRST_RETRY, LAST_RETRY));
        self.later.entry(task).or_insert_with(new);
    }

    /// Retries a task later; the delay doubles with each failure.
    pub(super) fn again(&mut self, task: Task) {
        let now = Instant::now();
        let new = || (now, Backoff::new(FIRST_RETRY, LAST_RETRY));
        let (at, backoff) = self.later.entry(task).or_insert_with(new);
        *at = now + backoff.next_delay();
    }

    /// Whether a task has failed and will be retried.
    pub(super) fn is_waiting(&self, task: &Task) -> bool {
        self.later.contains_key(task)
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.later.values().map(|(at, _)| *at).min()
    }

    /// The next task that is due.
    pub(super) fn take(&mut self) -> Option<Task> {
        if let Some(task) = self.now.pop_first() {
            return Some(task);
        }
        let now = Instant::now();
        let due =
            self.later.iter().find(|(_, (at, _))| *at <= now).map(|(task, _)| task.clone())?;
        // It stays in the map, so that a further failure doubles the delay.
        if let Some((at, _)) = self.later.get_mut(&due) {
            *at = now + LAST_RETRY;
        }
        Some(due)
    }

    pub(super) fn done(&mut self, task: &Task) {
        self.later.remove(task);
    }
}
