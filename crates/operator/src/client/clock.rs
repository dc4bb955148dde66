//! A clock that nobody can set: time since some moment of this process. It goes on while the process is stopped.
//!
//! It stands still while the whole machine sleeps, as Linux's monotonic clock does. A leader on a laptop that was closed may
//! thus believe for one more retry period that it leads; the renewal that is then due is refused, since the lease has changed.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time since the first call in this process.
pub(crate) fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
