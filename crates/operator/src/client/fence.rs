//! Keeps a process that no longer leads from writing.
//!
//! Leading is a matter of time: whoever led and then stood still (a stopped process, a paused machine) wakes up believing
//! that nothing has happened. So each write asks, at the moment it is sent, whether the lease has been proved recently enough
//! for no other to have taken it. One fence stands for one term of leading; closed once, it never opens again, so that what is
//! left over from a term cannot write in a later one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock;

/// The right to write, for as long as it was proved; a cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Fence(Arc<AtomicU64>);

/// A write that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("not sent, since this operator no longer leads")]
pub(crate) struct Fenced;

/// Nanoseconds of [`clock`]: the last moment for a write.
const CLOSED: u64 = 0;
const OPEN: u64 = u64::MAX;

// === impl Fence ===

impl Fence {
    /// A fence that is no hindrance, for an operator that needs no lease.
    pub(crate) fn open() -> Self {
        Self(Arc::new(AtomicU64::new(OPEN)))
    }

    /// A fence that is open until then.
    pub(crate) fn until(until: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(nanoseconds(until))))
    }

    /// Keeps it open until then, unless it is closed.
    pub(crate) fn extend(&self, until: Duration) {
        let later = |now| (now != CLOSED).then(|| nanoseconds(until).max(now));
        // The only other writer closes it, which is then the last word.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }

    /// Closes it for ever.
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
        assert_eq!(fence.left(seconds(15)).unwrap(), seconds(5), "no proof is taken back");
        fence.close();
        fence.extend(seconds(30));
        assert!(fence.left(seconds(1)).is_err());
        assert_eq!(Fence::open().left(seconds(1_000_000)).unwrap(), Duration::MAX);
    }
}
