//! Counts the requests of one connection, for its idle timeout and for stalled responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::Limits;

/// The requests of one connection so far.
#[derive(Default)]
pub(super) struct Activity {
    requests: AtomicU64,
    /// Requests whose response is not complete yet.
    busy: AtomicUsize,
    /// Those of them whose response has data that the peer has not taken.
    blocked: AtomicUsize,
    /// Those of them whose response is long-running.
    long_running: AtomicUsize,
    /// Changes with every new request and whenever a response continues.
    progress: AtomicU64,
}

/// A request in progress, until it is dropped.
pub(super) struct Busy {
    activity: Arc<Activity>,
    blocked: bool,
    long_running: bool,
}

// === impl Activity ===

impl Activity {
    /// Counts a new request, which is in progress as long as the result lives.
    pub(super) fn enter(activity: &Arc<Self>) -> Busy {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.progress.fetch_add(1, Ordering::Relaxed);
        activity.busy.fetch_add(1, Ordering::Relaxed);
        Busy { activity: Arc::clone(activity), blocked: false, long_running: false }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// How long [`Self::progress`] may stay unchanged. `None` unless all requests in progress wait
    /// for the peer to take data.
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
        self.activity.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
