//! Numbers by value.

use std::cmp::Ordering;

use serde_json::Number;

/// Whether two numbers are the same, whatever their form.
pub(super) fn equal(a: &Number, b: &Number) -> bool {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a.total_cmp(&b) == Ordering::Equal)
        }
        _ => false,
    }
}

/// The number as an integer, if it is one. Floats beyond 2^127 are equal only to floats.
fn integer(number: &Number) -> Option<i128> {
    if let Some(number) = number.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Some(number.into());
    }
    let float = number.as_f64()?;
    const LIMIT: f64 = 1.7e38;
    if float.fract() != 0.0 || float.abs() > LIMIT {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "integral and within the range, so exact")]
    Some(float as i128)
}
