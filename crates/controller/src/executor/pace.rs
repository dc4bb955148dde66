//! What is put off for a moment, and what has been said of failures.

use super::object::Key;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a status waits that only counts more or fewer running pods: those of a job start about together, and each would be a write.
const PATIENCE: Duration = Duration::from_millis(500);

/// The pace of the work on each job.
#[derive(Debug, Default)]
pub(super) struct Pace {
    jobs: Mutex<HashMap<Key, Job>>,
}

#[derive(Debug, Default)]
struct Job {
    /// When what is put off is to be done.
    due: Option<Instant>,
    /// What failed last.
    failure: Option<String>,
}

impl Pace {
    /// How long to put a minor write off; `None` if it has waited for long enough.
    pub(super) fn put_off(&self, key: &Key, now: Instant) -> Option<Duration> {
        let mut jobs = self.jobs();
        let job = jobs.entry(key.clone()).or_default();
        let due = *job.due.get_or_insert(now + PATIENCE);
        if due > now {
            return Some(due - now);
        }
        job.due = None;
        None
    }

    /// Something is done that is not to be put off, and what was put off with it.
    pub(super) fn acts(&self, key: &Key) {
        if let Some(job) = self.jobs().get_mut(key) {
            job.due = None;
        }
    }

    /// Notes a failure; says whether it is another one than the last.
    pub(super) fn failed(&self, key: &Key, failure: &str) -> bool {
        let mut jobs = self.jobs();
        let job = jobs.entry(key.clone()).or_default();
        let is_news = job.failure.as_deref() != Some(failure);
        if is_news {
            job.failure = Some(failure.to_owned());
        }
        is_news
    }

    /// Notes that nothing failed.
    pub(super) fn succeeded(&self, key: &Key) {
        let mut jobs = self.jobs();
        if let Some(job) = jobs.get_mut(key) {
            job.failure = None;
            if job.due.is_none() {
                jobs.remove(key);
            }
        }
    }

    /// The job is no more.
    pub(super) fn forget(&self, key: &Key) {
        self.jobs().remove(key);
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Key, Job>> {
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
    fn a_minor_write_is_put_off_once_and_not_for_ever() {
        let (pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.put_off(&key(), now), Some(PATIENCE));
        assert_eq!(pace.put_off(&key(), now + PATIENCE / 2), Some(PATIENCE / 2));
        assert_eq!(pace.put_off(&key(), now + PATIENCE), None);
        assert_eq!(pace.put_off(&key(), now + PATIENCE), Some(PATIENCE), "it was done");
        pace.acts(&key());
        assert_eq!(pace.put_off(&key(), now + PATIENCE * 2), Some(PATIENCE));
    }

    #[test]
    fn a_failure_is_news_until_it_is_another_one_or_over() {
        let pace = Pace::default();
        let failed = |failure| pace.failed(&key(), failure);
        assert_eq!([failed("a"), failed("a"), failed("b"), failed("a")], [true, false, true, true]);
        pace.succeeded(&key());
        assert!(failed("a"));
        pace.forget(&key());
        assert!(pace.jobs().is_empty());
    }
}
