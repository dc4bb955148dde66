//! Times: `seconds` and `nanos` since 1970, and nothing for Go's zero time.

use jiff::Timestamp;

use crate::Error;
use crate::wire::{Reader, put_number};

/// Go's zero time, the beginning of the year 1, in seconds.
const ZERO: i64 = -62_135_596_800;
const NANOS: i128 = 1_000_000_000;

/// How precise a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Seconds,
    Micros,
}

/// The time in JSON; `None` for the zero time.
pub(crate) fn read(bytes: &[u8], precision: Precision) -> Result<Option<String>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader(bytes);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => seconds = value.number()?.cast_signed(),
            2 => nanos = int32(value.number()?),
            _ => {}
        }
    }
    let nanos = match precision {
        Precision::Seconds => 0,
        Precision::Micros => i128::from(nanos / 1_000 * 1_000),
    };
    let time = Timestamp::from_nanosecond(i128::from(seconds) * NANOS + nanos);
    let time = time.map_err(|_| Error::Time)?;
    if time.as_second() == ZERO {
        return Ok(None);
    }
    // Before the year 0 there is no text of a time.
    if time.as_second() < ZERO {
        return Err(Error::Time);
    }
    Ok(Some(match precision {
        Precision::Seconds => time.to_string(),
        Precision::Micros => time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
    }))
}

/// Appends the fields of a time; nothing for a zero time, and for a text that is no time.
pub(crate) fn write(out: &mut Vec<u8>, text: &str, precision: Precision) {
    let Ok(time) = text.parse::<Timestamp>() else { return };
    let nanoseconds = time.as_nanosecond();
    let seconds = i64::try_from(nanoseconds.div_euclid(NANOS)).unwrap_or(ZERO);
    if seconds == ZERO {
        return;
    }
    let nanos = match precision {
        Precision::Seconds => 0,
        Precision::Micros => nanoseconds.rem_euclid(NANOS) / 1_000 * 1_000,
    };
    put_number(out, 1, seconds.cast_unsigned());
    put_number(out, 2, u64::try_from(nanos).unwrap_or_default());
}

/// The lower 32 bits, as Go reads a number into 32 bits.
#[allow(clippy::cast_possible_truncation)] // that is what it is for
pub(crate) fn int32(number: u64) -> i32 {
    number as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_precise_as_in_json() {
        use Precision::{Micros, Seconds};
        for (precision, text, expected) in [
            (Seconds, "2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            (Seconds, "2026-01-02T05:04:05.9+02:00", Some("2026-01-02T03:04:05Z")),
            (Micros, "2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05.000000Z")),
            (Micros, "2026-01-02T03:04:05.123456789Z", Some("2026-01-02T03:04:05.123456Z")),
            (Micros, "1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59.500000Z")),
            (Seconds, "1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00Z")),
            (Seconds, "0001-01-01T00:00:00Z", None),
            (Micros, "yesterday", None),
        ] {
            let mut bytes = Vec::new();
            write(&mut bytes, text, precision);
            assert_eq!(read(&bytes, precision).unwrap().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_out_of_range_is_an_error() {
        for seconds in [i64::MAX, i64::MIN, 253_402_300_800, ZERO - 1] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, 1, seconds.cast_unsigned());
            assert_eq!(read(&bytes, Precision::Seconds), Err(Error::Time), "{seconds}");
        }
    }
}
