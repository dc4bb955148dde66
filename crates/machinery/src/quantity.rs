//! Resource quantities (`k8s.io/apimachinery/pkg/api/resource`): `1500m`, `2Gi`, `1e3`.
//!
//! A quantity is exact down to a billionth. As upstream, finer fractions are rounded away from
//! zero and magnitudes end at 2^63-1; no input, however long, costs more than its length.
//!
//! ```
//! use mxjob_machinery::quantity::Quantity;
//!
//! let limit = Quantity::parse("1.5Gi")?;
//! assert!(Quantity::parse("1500M")? < limit);
//! assert_eq!(limit.to_string(), "1536Mi");
//! # Ok::<(), mxjob_machinery::quantity::ParseError>(())
//! ```

mod parse;

use std::{cmp::Ordering, fmt, str::FromStr};

use serde_json::Value;

/// How many parts of the quantity's unit are counted.
const NANOS: i128 = 1_000_000_000;
/// Upstream's largest quantity.
const MAX_NANOS: i128 = (i64::MAX as i128) * NANOS;

/// Why a text is no quantity; the texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text does not have the form of a quantity.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// There are no digits.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is none.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// A fixed-point number with the form it was written in.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The family of suffixes a quantity is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `1e3`
    DecimalExponent,
    /// `Ki`, `Mi`, …
    BinarySi,
    /// `m`, none, `k`, `M`, …
    DecimalSi,
}

// === impl Quantity ===

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Parses a quantity.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text).map(|(nanos, format)| Self { nanos, format })
    }

    /// A quantity in JSON: text, or a number.
    pub fn from_value(value: &Value) -> Result<Self, ParseError> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(ParseError::Format),
        }
    }

    /// A whole number.
    pub fn from_integer(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANOS, format: Format::DecimalSi }
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below nothing.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// The whole number at or beyond it, away from zero.
    pub fn value(&self) -> i64 {
        self.scaled(NANOS)
    }

    /// The same in thousandths.
    pub fn milli_value(&self) -> i64 {
        self.scaled(NANOS / 1000)
    }

    /// As a floating-point number, for ratios.
    #[allow(clippy::cast_precision_loss)] // what upstream computes with, too
    pub fn to_f64(&self) -> f64 {
        match self.milli_value() {
            i64::MAX => self.value() as f64,
            milli => milli as f64 / 1000.0,
        }
    }

    /// Whether it is a whole number, when rounded to thousandths as upstream does.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0 || self.milli_value() % 1000 == 0
    }

    /// The sum, in the form of the first; ends at the largest quantity.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = self.nanos.saturating_add(other.nanos).clamp(-MAX_NANOS, MAX_NANOS);
        Self { nanos: sum, format: self.format }
    }

    fn scaled(&self, unit: i128) -> i64 {
        let whole = self.nanos / unit;
        let away = if self.nanos % unit == 0 { 0 } else { self.nanos.signum() };
        let limit = if self.nanos < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(whole + away).unwrap_or(limit)
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

/// By amount; the form does not count.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::hash::Hash for Quantity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

/// The canonical form: no fraction, the largest suffix that loses nothing.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let binary = self.format == Format::BinarySi
            && self.nanos % NANOS == 0
            && (self.nanos / NANOS).abs() >= 1024;
        if binary {
            let mut amount = self.nanos / NANOS;
            let mut power = 0;
            while amount % 1024 == 0 && power + 1 < parse::BINARY.len() {
                amount /= 1024;
                power += 1;
            }
            let suffix = parse::BINARY.get(power).copied().unwrap_or_default();
            return write!(f, "{amount}{suffix}");
        }
        let (mut amount, mut exponent) = (self.nanos, -9_i32);
        while amount % 1000 == 0 && exponent < 18 {
            amount /= 1000;
            exponent += 3;
        }
        match self.format {
            Format::DecimalExponent if exponent == 0 => write!(f, "{amount}"),
            Format::DecimalExponent => write!(f, "{amount}e{exponent}"),
            Format::BinarySi | Format::DecimalSi => {
                let suffix = parse::DECIMAL.iter().find(|(_, power)| *power == exponent);
                write!(f, "{amount}{}", suffix.map_or("", |(suffix, _)| suffix))
            }
        }
    }
}

#[cfg(test)]
mod tests;
