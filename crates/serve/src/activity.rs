//! Counts the requests of one connection, for its idle timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The requests of one connection so far.
#[derive(Default)]
pub(super) struct Activity {
    requests: AtomicU64,
    /// Requests whose response is not complete yet.
    busy: AtomicUsize,
}

/// A request in progress, until it is dropped.
pub(super) struct Busy(Arc<Activity>);

// === impl Activity ===

impl Activity {
    /// Counts a new request, which is in progress as long as the result lives.
    pub(super) fn enter(activity: &Arc<Self>) -> Busy {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(activity))
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }
}

// === impl Busy ===

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
