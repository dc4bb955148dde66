//! From text to billionths.

use super::{Format, MAX_NANOS, ParseError};

/// Suffixes by powers of 1024.
pub(super) const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Suffixes and their powers of ten.
pub(super) const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

pub(super) fn parse(text: &str) -> Result<(i128, Format), ParseError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        None => return Err(ParseError::Format),
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        Some(_) => (false, text),
    };
    let (whole, rest) = digits(unsigned);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    check_form(suffix)?;
    let (format, powers_of_1024, exponent) = interpret(suffix)?;
    if whole.is_empty() && fraction.is_empty() {
        return Err(ParseError::Numeric);
    }
    let mut number: Vec<u8> =
        whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0').collect();
    multiply(&mut number, 1_u128 << (10 * powers_of_1024));
    let places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let nanos = scale(&number, exponent.saturating_sub(places).saturating_add(9));
    Ok((if negative { -nanos } else { nanos }, format))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Letters of suffixes, then a sign, then digits, as the regular expression has it.
fn check_form(suffix: &str) -> Result<(), ParseError> {
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let signless = letters.strip_prefix(['+', '-']).unwrap_or(letters);
    if signless.bytes().all(|b| b.is_ascii_digit()) { Ok(()) } else { Err(ParseError::Format) }
}

/// The family of a suffix, its power of 1024 and its power of ten.
fn interpret(suffix: &str) -> Result<(Format, usize, i64), ParseError> {
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Ok((Format::DecimalSi, 0, i64::from(*power)));
    }
    if let Some(power) = BINARY.iter().position(|known| *known == suffix) {
        return Ok((Format::BinarySi, power, 0));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
    let exponent: i64 = exponent.parse().map_err(|_| ParseError::Suffix)?;
    Ok((Format::DecimalExponent, 0, exponent))
}

/// Multiplies decimal digits, most significant first.
fn multiply(number: &mut Vec<u8>, factor: u128) {
    if factor == 1 {
        return;
    }
    let mut carry = 0_u128;
    for digit in number.iter_mut().rev() {
        let product = u128::from(*digit) * factor + carry;
        *digit = last_digit(product);
        carry = product / 10;
    }
    let mut front = Vec::new();
    while carry > 0 {
        front.push(last_digit(carry));
        carry /= 10;
    }
    front.reverse();
    number.splice(0..0, front);
}

fn last_digit(number: u128) -> u8 {
    u8::try_from(number % 10).unwrap_or_default()
}

/// The digits times ten to the exponent, fractions rounded up, at most the largest quantity.
fn scale(number: &[u8], exponent: i64) -> i128 {
    let significant = number.iter().skip_while(|digit| **digit == 0).copied().collect::<Vec<u8>>();
    if significant.is_empty() {
        return 0;
    }
    let length = i64::try_from(significant.len()).unwrap_or(i64::MAX);
    let whole_digits = length.saturating_add(exponent);
    // Beyond that many digits it is larger than the largest; before the point there is only a
    // fraction.
    if whole_digits > 28 {
        return MAX_NANOS;
    }
    let Ok(whole_digits) = usize::try_from(whole_digits) else { return 1 };
    let mut nanos = 0_i128;
    for at in 0..whole_digits {
        nanos = nanos * 10 + i128::from(significant.get(at).copied().unwrap_or_default());
    }
    let rest = significant.get(whole_digits..).unwrap_or_default();
    if rest.iter().any(|digit| *digit != 0) {
        nanos += 1;
    }
    nanos.min(MAX_NANOS)
}
