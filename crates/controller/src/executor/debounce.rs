//! Delays minor status writes, and remembers which failures were logged.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::object::Key;

/// How long a status write waits that only counts more or fewer running pods: the pods of a job
/// start at about the same time, and each would be a write.
const MINOR_STATUS_DELAY: Duration = Duration::from_millis(500);

/// Per job: the delayed write and the last failure.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    jobs: Mutex<HashMap<Key, JobDelays>>,
}

#[derive(Debug, Default)]
struct JobDelays {
    /// When the delayed write is due.
    due: Option<Instant>,
    /// The last failure.
    failure: Option<String>,
}

impl Debounce {
    /// How long to defer a minor write; `None` if it has waited long enough.
    pub(super) fn defer(&self, key: &Key, now: Instant) -> Option<Duration> {
        let mut jobs = self.jobs();
        let job = jobs.entry(key.clone()).or_default();
        let due = *job.due.get_or_insert(now + MINOR_STATUS_DELAY);
        if due > now {
            return Some(due - now);
        }
        job.due = None;
        None
    }

    /// Another write is made now, and the deferred one with it.
    pub(super) fn reset(&self, key: &Key) {
        if let Some(job) = self.jobs().get_mut(key) {
            job.due = None;
        }
    }

    /// Stores a failure. Returns whether it differs from the last one.
    pub(super) fn failed(&self, key: &Key, failure: &str) -> bool {
        let mut jobs = self.jobs();
        let job = jobs.entry(key.clone()).or_default();
        let is_new = job.failure.as_deref() != Some(failure);
        if is_new {
            job.failure = Some(failure.to_owned());
        }
        is_new
    }

    /// Clears the failure.
    pub(super) fn succeeded(&self, key: &Key) {
        let mut jobs = self.jobs();
        if let Some(job) = jobs.get_mut(key) {
            job.failure = None;
            if job.due.is_none() {
                jobs.remove(key);
            }
        }
    }

    /// The job is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.jobs().remove(key);
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Key, JobDelays>> {
        self.jobs.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { namespace: "n".to_owned(), name: "digits".to_owned() }
    }

    #[test]
    fn a_minor_write_is_deferred_once_and_not_forever() {
        let (debounce, now) = (Debounce::default(), Instant::now());
        assert_eq!(debounce.defer(&key(), now), Some(MINOR_STATUS_DELAY));
        assert_eq!(
            debounce.defer(&key(), now + MINOR_STATUS_DELAY / 2),
            Some(MINOR_STATUS_DELAY / 2)
        );
        assert_eq!(debounce.defer(&key(), now + MINOR_STATUS_DELAY), None);
        assert_eq!(
            debounce.defer(&key(), now + MINOR_STATUS_DELAY),
            Some(MINOR_STATUS_DELAY),
            "it was written"
        );
        debounce.reset(&key());
        assert_eq!(debounce.defer(&key(), now + MINOR_STATUS_DELAY * 2), Some(MINOR_STATUS_DELAY));
    }

    #[test]
    fn a_failure_is_new_until_it_repeats_or_ends() {
        let debounce = Debounce::default();
        let failed = |failure| debounce.failed(&key(), failure);
        assert_eq!([failed("a"), failed("a"), failed("b"), failed("a")], [true, false, true, true]);
        debounce.succeeded(&key());
        assert!(failed("a"));
        debounce.forget(&key());
        assert!(debounce.jobs().is_empty());
    }
}
