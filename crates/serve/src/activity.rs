//! Counts the requests of one connection, for its idle timeout and for stalled responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Limits;

/// The requests of one connection so far.
pub(super) struct Activity {
    requests: AtomicU64,
    /// Requests whose response is not complete yet.
    busy: AtomicUsize,
    /// Those of them that wait for the peer: it has not taken data of their response, or of others
    /// of this connection before them.
    blocked: AtomicUsize,
    /// Those of them whose response is long-running.
    long_running: AtomicUsize,
    /// Changes with every new request and whenever a response continues.
    progress: AtomicU64,
    times: Mutex<Times>,
}

struct Times {
    /// Since when no request is in progress, while none is.
    idle_since: Instant,
    /// The value of `progress` when it was last looked at, and since when it is known.
    seen: u64,
    seen_since: Instant,
}

/// A request in progress, until it is dropped.
pub(super) struct Busy {
    activity: Arc<Activity>,
    blocked: bool,
    long_running: bool,
}

/// A request that waits for the peer before it has a response, until it is dropped.
pub(super) struct Waiting<'a>(&'a Activity);

// === impl Activity ===

impl Default for Activity {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            requests: AtomicU64::default(),
            busy: AtomicUsize::default(),
            blocked: AtomicUsize::default(),
            long_running: AtomicUsize::default(),
            progress: AtomicU64::default(),
            times: Mutex::new(Times { idle_since: now, seen: 0, seen_since: now }),
        }
    }
}

impl Activity {
    /// Counts a new request, which is in progress as long as the result lives.
    pub(super) fn enter(activity: &Arc<Self>) -> Busy {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.progress.fetch_add(1, Ordering::Relaxed);
        activity.busy.fetch_add(1, Ordering::Relaxed);
        Busy { activity: Arc::clone(activity), blocked: false, long_running: false }
    }

    /// Counts a request in progress as one that waits for the peer.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.blocked.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Notes the end of a request.
    fn leave(&self, now: Instant) {
        let mut times = self.times.lock();
        if self.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            times.idle_since = now;
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Since when no request is in progress; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let since = self.times.lock().idle_since;
        (!self.is_busy()).then_some(since)
    }

    /// How long the responses have made no progress, as far as calls of this function can tell.
    pub(super) fn without_progress(&self, now: Instant) -> Duration {
        let progress = self.progress.load(Ordering::Relaxed);
        let mut times = self.times.lock();
        if times.seen != progress {
            (times.seen, times.seen_since) = (progress, now);
        }
        now.duration_since(times.seen_since)
    }

    /// How long there may be no progress. `None` unless all requests in progress wait for the peer
    /// to take data.
    pub(super) fn stall_limit(&self, limits: &Limits) -> Option<Duration> {
        let busy = self.busy.load(Ordering::Relaxed);
        if busy == 0 || self.blocked.load(Ordering::Relaxed) < busy {
            None
        } else if self.long_running.load(Ordering::Relaxed) > 0 {
            Some(limits.stalled_long_running)
        } else {
            Some(limits.stalled)
        }
    }
}

// === impl Busy ===

impl Busy {
    /// Notes that the response is long-running.
    pub(super) fn set_long_running(&mut self) {
        if !self.long_running {
            self.long_running = true;
            self.activity.long_running.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that the response continues, and whether it now has data for the peer.
    pub(super) fn advance(&mut self, blocked: bool) {
        self.activity.progress.fetch_add(1, Ordering::Relaxed);
        if blocked && !self.blocked {
            self.activity.blocked.fetch_add(1, Ordering::Relaxed);
        } else if !blocked && self.blocked {
            self.activity.blocked.fetch_sub(1, Ordering::Relaxed);
        }
        self.blocked = blocked;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.advance(false);
        if self.long_running {
            self.activity.long_running.fetch_sub(1, Ordering::Relaxed);
        }
        self.activity.leave(Instant::now());
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}
