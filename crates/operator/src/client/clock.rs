//! A clock that nobody can set: time since some moment of this process. It goes on while the process is stopped.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time since the first call in this process.
pub(crate) fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
