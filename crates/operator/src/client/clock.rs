//! A clock that nobody can set: time since some moment of this process. It goes on while the process is stopped, and while the
//! machine sleeps.
//!
//! That is Linux's boot time clock. The monotonic one, which timers and [`std::time::Instant`] go by, stands still while the
//! machine sleeps, so that a leader on a laptop that was closed would go on believing to lead. What no clock can tell is that a
//! hypervisor has paused the machine, unless it says so itself.

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
    // All kernels that we run on have it; a sandbox that imitates one may not.
    let time = clock_gettime_dynamic(DynamicClockId::Boottime)
        .unwrap_or_else(|_| clock_gettime(ClockId::Monotonic));
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_time_since_boot_which_counts_sleep() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            Duration::from_secs_f64(text.split_whitespace().next().unwrap().parse().unwrap())
        };
        let (before, shown, after) = (uptime(), since_boot(), uptime());
        // The file has hundredths.
        let hundredth = Duration::from_millis(10);
        assert!(before <= shown + hundredth && shown <= after + hundredth, "{before:?} {shown:?}");
        let first = now();
        assert!(now() >= first);
    }
}
