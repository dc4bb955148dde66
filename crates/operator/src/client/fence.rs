//! Stops the writes of a process that no longer leads.
//!
//! A leader that was stopped or paused does not know that time has passed. So each write checks, at
//! the moment it is sent, that the lease was renewed recently enough for no other operator to have
//! taken it. A fence belongs to one term; once closed it never opens again, so nothing left over
//! from one term can write in a later one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock;

/// The permission to write until a point in time; a cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Fence(Arc<AtomicU64>);

/// A write that was not sent, because the fence is closed.
#[derive(Debug, thiserror::Error)]
#[error("not sent, because this operator no longer leads")]
pub(crate) struct Fenced;

/// The last moment for a write, in nanoseconds of [`clock`]; two values are special.
const CLOSED: u64 = 0;
const OPEN: u64 = u64::MAX;

// === impl Fence ===

impl Fence {
    /// A fence that is always open, for an operator without an election.
    pub(crate) fn open() -> Self {
        Self(Arc::new(AtomicU64::new(OPEN)))
    }

    /// A fence that is open until this time.
    pub(crate) fn until(until: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(nanoseconds(until))))
    }

    /// Keeps the fence open until this time, unless it is closed.
    pub(crate) fn extend(&self, until: Duration) {
        let later = |now| (now != CLOSED).then(|| nanoseconds(until).max(now));
        // The only other writer closes the fence, and a closed fence stays closed.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }

    /// Closes the fence for ever.
    pub(crate) fn close(&self) {
        self.0.store(CLOSED, Ordering::SeqCst);
    }

    /// How long a write that is sent now may take.
    pub(crate) fn check(&self) -> Result<Duration, Fenced> {
        self.left(clock::now())
    }

    fn left(&self, now: Duration) -> Result<Duration, Fenced> {
        match self.0.load(Ordering::SeqCst) {
            OPEN => Ok(Duration::MAX),
            until => match Duration::from_nanos(until).checked_sub(now) {
                Some(left) if !left.is_zero() => Ok(left),
                _ => Err(Fenced),
            },
        }
    }

    /// Whether both are the same fence.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(OPEN).clamp(CLOSED + 1, OPEN - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_open_until_its_time_and_never_again_once_closed() {
        let seconds = Duration::from_secs;
        let fence = Fence::until(seconds(15));
        assert_eq!(fence.left(seconds(5)).unwrap(), seconds(10));
        assert!(fence.left(seconds(15)).is_err() && fence.left(seconds(99)).is_err());
        fence.extend(seconds(20));
        assert_eq!(fence.left(seconds(15)).unwrap(), seconds(5));
        fence.extend(seconds(1));
        assert_eq!(fence.left(seconds(15)).unwrap(), seconds(5), "the time never goes back");
        fence.close();
        fence.extend(seconds(30));
        assert!(fence.left(seconds(1)).is_err());
        assert_eq!(Fence::open().left(seconds(1_000_000)).unwrap(), Duration::MAX);
    }
}
