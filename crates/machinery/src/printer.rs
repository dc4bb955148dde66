//! What tables of objects need: JSON paths of printer columns, and durations for people.

mod jsonpath;

pub use jsonpath::{JsonPath, ParseError};

/// A duration in seconds as `kubectl` shows an age: `0s`, `119s`, `2m`, `5m30s`, `3h`, `2d5h`.
/// More than a second before its time it is `<invalid>`; clocks may differ by less.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let (large, unit, small, small_unit) = match seconds {
        ..-1 => return "<invalid>".to_owned(),
        -1 => return "0s".to_owned(),
        0..120 => return format!("{seconds}s"),
        120..600 => (seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => (seconds / MINUTE, "m", 0, ""),
        10_800..28_800 => (seconds / HOUR, "h", seconds / MINUTE % 60, "m"),
        28_800..172_800 => (seconds / HOUR, "h", 0, ""),
        172_800..691_200 => (seconds / DAY, "d", seconds / HOUR % 24, "h"),
        691_200..63_072_000 => (seconds / DAY, "d", 0, ""),
        63_072_000..252_288_000 => (seconds / YEAR, "y", seconds / DAY % 365, "d"),
        _ => (seconds / YEAR, "y", 0, ""),
    };
    if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
}

#[cfg(test)]
mod tests;
