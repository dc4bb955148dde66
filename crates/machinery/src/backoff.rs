//! Delays between retries. Pure: the caller waits, and the caller brings the random number.
//!
//! ```
//! use mxjob_machinery::backoff::Backoff;
//! use std::time::Duration;
//!
//! let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3));
//! assert_eq!(backoff.next_delay(), Duration::from_secs(1));
//! assert_eq!(backoff.next_delay(), Duration::from_secs(2));
//! assert_eq!(backoff.next_delay(), Duration::from_secs(3));
//! backoff.reset();
//! assert_eq!(backoff.next_delay(), Duration::from_secs(1));
//! ```

use std::time::Duration;

/// The shortest range over which [`with_jitter`] spreads clients, in milliseconds.
const MIN_JITTER: Duration = Duration::from_millis(50);

/// Delays that double from `base` up to `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    /// Delays given out since the last reset.
    attempt: u32,
}

impl Backoff {
    /// Begins with `base`; no delay is longer than `max`.
    #[must_use]
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, attempt: 0 }
    }

    /// The delay before the next retry, twice as long as the one before.
    pub fn next_delay(&mut self) -> Duration {
        let delay = exponential(self.base, self.max, self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// Begins again with the base delay, after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// `base` doubled `doublings` times, at most `max`. For callers that count failures themselves,
/// such as those that store the count.
#[must_use]
pub fn exponential(base: Duration, max: Duration, doublings: u32) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(doublings)).min(max)
}

/// Lengthens a delay by up to a quarter and 50 ms, in proportion to `random`, so that clients that
/// were refused at the same time do not all retry at the same time.
#[must_use]
pub fn with_jitter(delay: Duration, random: u8) -> Duration {
    delay + (delay / 4 + MIN_JITTER).mul_f64(f64::from(random) / f64::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_never_overflow() {
        let (base, max) = (Duration::from_millis(50), Duration::from_secs(30));
        for (doublings, millis) in [
            (0, 50),
            (1, 100),
            (2, 200),
            (9, 25_600),
            (10, 30_000),
            (33, 30_000),
            (u32::MAX, 30_000),
        ] {
            let delay = exponential(base, max, doublings);
            assert_eq!(delay, Duration::from_millis(millis), "{doublings}");
        }
        assert_eq!(exponential(Duration::from_secs(u64::MAX), Duration::MAX, 9), Duration::MAX);
        assert_eq!(exponential(max, base, 0), base, "the maximum also bounds the first delay");
    }

    #[test]
    fn a_backoff_counts_its_own_attempts() {
        let mut backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));
        let mut seconds = |count: usize| -> Vec<u64> {
            (0..count).map(|_| backoff.next_delay().as_secs()).collect()
        };
        assert_eq!(seconds(6), [5, 10, 20, 40, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next_delay(), Duration::from_secs(5));
    }

    #[test]
    fn jitter_only_lengthens_and_is_bounded() {
        let delay = Duration::from_secs(1);
        assert_eq!(with_jitter(delay, 0), delay);
        assert_eq!(with_jitter(delay, u8::MAX), Duration::from_millis(1_300));
        assert_eq!(with_jitter(Duration::ZERO, u8::MAX), MIN_JITTER);
        assert!(with_jitter(delay, 100) < with_jitter(delay, 101));
    }
}
