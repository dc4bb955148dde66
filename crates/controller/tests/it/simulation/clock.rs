//! Virtual time: milliseconds since the start of a life. The paused clock of tokio moves it from
//! one timer to the next.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

thread_local! {
    /// When the life on this thread started. The controller takes its clock as a plain function.
    static BEGIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Starts a new life.
pub(crate) fn begin() -> Instant {
    let now = Instant::now();
    BEGIN.set(Some(now));
    now
}

/// Milliseconds since the start.
pub(crate) fn now() -> u64 {
    u64::try_from(BEGIN.get().unwrap().elapsed().as_millis()).unwrap()
}

/// The time for tokio.
pub(crate) fn instant(ms: u64) -> Instant {
    BEGIN.get().unwrap() + Duration::from_millis(ms)
}

/// The time on the calendar.
pub(crate) fn date(ms: u64) -> Timestamp {
    let start: Timestamp = "2026-11-24T08:00:00Z".parse().unwrap();
    start + SignedDuration::from_millis(i64::try_from(ms).unwrap())
}

/// The current time: the clock of the controller and of the server.
pub(crate) fn calendar() -> Timestamp {
    date(now())
}

/// The time as in objects.
pub(crate) fn text(ms: u64) -> String {
    date(ms / 1000 * 1000).to_string()
}
