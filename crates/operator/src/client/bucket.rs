//! A limit on requests per second: a token bucket.
//!
//! A request that finds the bucket empty takes its token on credit and waits until it has been
//! refilled, in the order of arrival. The number of waiting requests is bounded by what the
//! controller has in flight.

use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;

use super::clock;

/// A rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second on average.
    pub qps: NonZeroU32,
    /// Requests that may be sent immediately after a pause.
    pub burst: NonZeroU32,
}

/// The bucket, stored as the time at which it will be full.
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

    /// Takes a token and waits until it is available. A caller that stops waiting has used up its
    /// token.
    pub(crate) async fn acquire(&self) {
        let wait = self.take(clock::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes a token, and returns how long to wait for it.
    fn take(&self, now: Duration) -> Duration {
        let one = Duration::from_secs(1) / self.rate.qps.get();
        let mut full_at = self.full_at.lock();
        *full_at = (*full_at).max(now) + one;
        full_at.saturating_sub(now + one * self.rate.burst.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_sent_immediately_and_the_rest_at_the_rate() {
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
