//! The time and the randomness of a server under a test's control.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use mxjob_apiserver::environment::Environment;
use parking_lot::Mutex;

/// A clock that stands still between requests, and counted uids.
pub(crate) struct Simulated {
    /// Read before each request: the runtime of the server has another clock.
    clock: fn() -> Timestamp,
    now: Mutex<Timestamp>,
    count: AtomicU64,
}

impl Simulated {
    pub(crate) fn new(clock: fn() -> Timestamp) -> Self {
        Self { clock, now: Mutex::new(clock()), count: AtomicU64::new(0) }
    }

    pub(crate) fn update(&self) {
        *self.now.lock() = (self.clock)();
    }

    /// Counts uids from the beginning.
    pub(crate) fn reset(&self) {
        self.count.store(0, Ordering::Relaxed);
    }

    fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

impl Environment for Simulated {
    fn now(&self) -> Timestamp {
        *self.now.lock()
    }

    fn uid(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.next())
    }

    fn name_suffix(&self) -> String {
        format!("{:05}", self.next() % 100_000)
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").field("now", &self.now).finish_non_exhaustive()
    }
}
