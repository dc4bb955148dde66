//! A limit on requests a second: a bucket that fills at a rate, and from which each request takes.
//!
//! Requests that find it empty take on credit and wait until what they took has flowed in, in the order of their coming. What
//! waits is bounded by what the controller has in flight.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock;

/// Requests a second, and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub qps: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

/// The bucket. Kept as the moment at which it will be full.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    full_at: Mutex<Duration>,
}

// === impl Bucket ===

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, full_at: Mutex::new(Duration::ZERO) }
    }

    /// Waits for a request's turn. A turn that is not waited for is lost.
    pub(crate) async fn turn(&self) {
        let wait = self.take(clock::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes one, and says how long to wait for it.
    fn take(&self, now: Duration) -> Duration {
        let one = Duration::from_secs(1) / self.rate.qps.get();
        // No code that can panic runs under this lock.
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at = (*full_at).max(now) + one;
        full_at.saturating_sub(now + one * self.rate.burst.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let rate = |number| NonZeroU32::new(number).unwrap();
        let bucket = Bucket::new(Rate { qps: rate(10), burst: rate(3) });
        let ms = Duration::from_millis;
        let waits = |now, number| -> Vec<_> {
            (0..number).map(|_| bucket.take(ms(now)).as_millis()).collect()
        };
        assert_eq!(waits(0, 6), [0, 0, 0, 100, 200, 300]);
        assert_eq!(waits(300, 2), [100, 200], "credit is paid back first");
        assert_eq!(waits(2_000, 4), [0, 0, 0, 100], "a pause fills it, but not beyond the burst");
    }
}
