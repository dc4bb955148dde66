//! The work queue: which jobs to reconcile, now or later.
//!
//! A key is in work at most once. If it is added while it is in work, it is queued again
//! afterwards; if it is added several times while it waits, it is reconciled once. So the queue
//! holds at most one entry for each job and needs no other bound.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use mxjob_machinery::backoff::Backoff;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::object::Key;

/// The wait after the first failure of a reconcile; it doubles with each further one. A conflict is
/// resolved by the next watch event, so the first retry comes soon.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest wait: a server that is back is noticed within half a minute.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The queue; producers and workers share it.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    state: Mutex<QueueState>,
    /// Notified when there may be a new key or timer.
    changed: Notify,
}

/// The state of the queue, without waiting.
#[derive(Debug, Default)]
struct QueueState {
    ready: VecDeque<Key>,
    waiting: HashSet<Key>,
    in_work: HashSet<Key>,
    /// In work, and to be queued again.
    again: HashSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    timer_of: HashMap<Key, Instant>,
    /// For keys whose last reconcile failed.
    backoffs: HashMap<Key, Backoff>,
}

/// The result of a reconcile.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything is done; reconcile again after that time, if any.
    Done(Option<Duration>),
    /// Something failed; retry.
    Failed,
}

impl WorkQueue {
    /// Adds a key to reconcile now.
    pub(super) fn add(&self, key: Key) {
        self.state().add(key);
        self.changed.notify_one();
    }

    /// Waits for a key and takes it into work. Safe to cancel: a key that was not returned was not
    /// taken.
    pub(super) async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            let wait = {
                let mut state = self.state();
                if let Some(key) = state.take(Instant::now()) {
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.next_timer()
            };
            match wait {
                Some(time) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(time) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Returns a key after work. Its timer is replaced.
    pub(super) fn done(&self, key: Key, outcome: &Outcome) {
        self.state().done(key, outcome, Instant::now());
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }
}

// === impl QueueState ===

impl QueueState {
    fn add(&mut self, key: Key) {
        if self.in_work.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn take(&mut self, now: Instant) -> Option<Key> {
        while self.timers.first().is_some_and(|(time, _)| *time <= now) {
            if let Some((_, key)) = self.timers.pop_first() {
                self.timer_of.remove(&key);
                self.add(key);
            }
        }
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.in_work.insert(key.clone());
        Some(key)
    }

    fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(time, _)| *time)
    }

    fn done(&mut self, key: Key, outcome: &Outcome, now: Instant) {
        self.in_work.remove(&key);
        if let Some(time) = self.timer_of.remove(&key) {
            self.timers.remove(&(time, key.clone()));
        }
        let wait = match outcome {
            Outcome::Done(wait) => {
                self.backoffs.remove(&key);
                *wait
            }
            Outcome::Failed => {
                let new = || Backoff::new(FIRST_RETRY, LONGEST_RETRY);
                Some(self.backoffs.entry(key.clone()).or_insert_with(new).next_delay())
            }
        };
        if let Some(time) = wait.and_then(|wait| now.checked_add(wait)) {
            self.timers.insert((time, key.clone()));
            self.timer_of.insert(key.clone(), time);
        }
        if self.again.remove(&key) {
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "n".to_owned(), name: name.to_owned() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_waiting_key_is_taken_once_and_in_order() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        for name in ["a", "b", "a", "a"] {
            state.add(key(name));
        }
        assert_eq!(state.take(now), Some(key("a")));
        assert_eq!(state.take(now), Some(key("b")));
        assert_eq!(state.take(now), None);
    }

    #[test]
    fn a_key_in_work_is_queued_again_only_afterwards() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add(key("a"));
        state.take(now);
        state.add(key("a"));
        assert_eq!(state.take(now), None);
        state.done(key("a"), &Outcome::Done(None), now);
        assert_eq!(state.take(now), Some(key("a")));
        state.done(key("a"), &Outcome::Done(None), now);
        assert_eq!(state.take(now), None);
    }

    #[test]
    fn the_last_timer_of_a_key_counts() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        for wait in [Some(5 * SECOND), Some(3 * SECOND), None, Some(4 * SECOND)] {
            state.add(key("a"));
            state.take(now);
            state.done(key("a"), &Outcome::Done(wait), now);
        }
        assert_eq!(state.next_timer(), Some(now + 4 * SECOND));
        assert_eq!(state.take(now + 3 * SECOND), None);
        assert_eq!(state.take(now + 4 * SECOND), Some(key("a")));
        assert_eq!(state.next_timer(), None);
    }

    #[test]
    fn failures_back_off_and_success_resets_the_backoff() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        let mut waits = Vec::new();
        for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Done(None), Outcome::Failed] {
            state.done(key("a"), &outcome, now);
            waits.push(state.next_timer().map(|time| time - now));
        }
        assert_eq!(waits, [Some(FIRST_RETRY), Some(FIRST_RETRY * 2), None, Some(FIRST_RETRY)]);
        for _ in 0..100 {
            state.done(key("b"), &Outcome::Failed, now);
        }
        assert_eq!(state.timer_of[&key("b")] - now, LONGEST_RETRY);
    }

    #[tokio::test]
    async fn several_workers_share_the_keys() {
        let queue = WorkQueue::default();
        for name in ["a", "b", "c"] {
            queue.add(key(name));
        }
        let (one, two, three) = tokio::join!(queue.next(), queue.next(), queue.next());
        let taken: HashSet<Key> = [one, two, three].into();
        assert_eq!(taken.len(), 3);
    }

    #[tokio::test]
    async fn a_waiting_worker_wakes_for_a_new_key_and_for_a_timer() {
        let queue = WorkQueue::default();
        let (taken, ()) = tokio::join!(queue.next(), async { queue.add(key("a")) });
        let (again, ()) = tokio::join!(queue.next(), async {
            queue.done(taken.clone(), &Outcome::Done(Some(Duration::from_millis(1))));
        });
        assert_eq!((taken, again), (key("a"), key("a")));
    }
}
