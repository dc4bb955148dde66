//! A monotonic clock that also runs while the process is stopped and while the machine sleeps.
//!
//! It is Linux's boot time clock. The monotonic clock, which timers and [`std::time::Instant`] use,
//! stops while the machine sleeps, so a leader on a closed laptop would still believe that it
//! leads. No clock shows that a hypervisor has paused the machine, unless the hypervisor reports
//! it.

use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, DynamicClockId, clock_gettime, clock_gettime_dynamic};

/// Time since the first call in this process.
pub(crate) fn now() -> Duration {
    static START: OnceLock<Duration> = OnceLock::new();
    let now = since_boot();
    now.saturating_sub(*START.get_or_init(|| now))
}

fn since_boot() -> Duration {
    // Every supported kernel has this clock; a sandbox that emulates one may not.
    let time = clock_gettime_dynamic(DynamicClockId::Boottime)
        .unwrap_or_else(|_| clock_gettime(ClockId::Monotonic));
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_boot_time_clock_which_counts_sleep() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            Duration::from_secs_f64(text.split_whitespace().next().unwrap().parse().unwrap())
        };
        let (before, shown, after) = (uptime(), since_boot(), uptime());
        // The file has hundredths of a second.
        let hundredth = Duration::from_millis(10);
        assert!(before <= shown + hundredth && shown <= after + hundredth, "{before:?} {shown:?}");
        let first = now();
        assert!(now() >= first);
    }
}
