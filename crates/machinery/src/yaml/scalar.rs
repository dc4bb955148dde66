//! How a scalar is written: which strings would be read as something else, which characters need
//! quotes, how numbers look. The rules are those of `goyaml.v2` and libyaml.

use serde_json::Number;

/// How a string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// What the characters of a string allow.
#[derive(Default)]
struct Analysis {
    special: bool,
    line_breaks: bool,
    indicators: bool,
    edge_space: bool,
    trailing_space: bool,
    break_space: bool,
    space_break: bool,
}

/// The style for a string; a key has to fit on its line.
pub(super) fn style(text: &str, key: bool) -> Style {
    let found = analyze(text);
    let literal_fits = !found.trailing_space && !found.space_break && !found.special;
    if text.contains('\n') {
        return if literal_fits && !key { Style::Literal } else { Style::DoubleQuoted };
    }
    if is_not_text(text) {
        return Style::DoubleQuoted;
    }
    let plain_fits = !(found.edge_space
        || found.break_space
        || found.space_break
        || found.special
        || found.line_breaks
        || found.indicators);
    if plain_fits {
        Style::Plain
    } else if found.break_space || found.space_break || found.special || (key && found.line_breaks)
    {
        Style::DoubleQuoted
    } else {
        Style::SingleQuoted
    }
}

fn analyze(text: &str) -> Analysis {
    let mut found = Analysis::default();
    if text.starts_with("---") || text.starts_with("...") {
        found.indicators = true;
    }
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let is_blank = |c: Option<&char>| c.is_none_or(|c| matches!(c, ' ' | '\t') || is_break(*c));
    let mut previous: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let followed = is_blank(chars.peek());
        match (previous, c) {
            (
                None,
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`',
            ) => found.indicators = true,
            (None, '?' | '-') if followed => found.indicators = true,
            (_, ':') if followed => found.indicators = true,
            (Some(before), '#') if is_blank(Some(&before)) => found.indicators = true,
            _ => {}
        }
        if is_break(c) {
            found.line_breaks = true;
            found.space_break |= previous == Some(' ');
            found.edge_space |= previous.is_none() || chars.peek().is_none();
        } else if !is_printable(c) {
            found.special = true;
        }
        if c == ' ' {
            found.edge_space |= previous.is_none() || chars.peek().is_none();
            found.trailing_space |= chars.peek().is_none();
            found.break_space |= previous.is_some_and(is_break);
        }
        previous = Some(c);
    }
    found
}

/// libyaml's notion: no tab, no control characters, no byte order mark.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{1_0000}'..)
        && c != '\u{feff}'
}

/// Whether a plain string would be read as null, a boolean, a number or a time.
fn is_not_text(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE",
        "on", "On", "ON", "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off",
        "OFF", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
        "-.Inf", "-.INF", "<<",
    ];
    if WORDS.contains(&text) {
        return true;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    is_integer(text) || is_float(text) || is_base_60(text) || is_time(text)
}

fn is_integer(text: &str) -> bool {
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let all =
        |digits: &str, radix: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => all(digits.get(2..).unwrap_or_default(), 16),
        [b'0', b'o' | b'O', ..] => all(digits.get(2..).unwrap_or_default(), 8),
        [b'0', b'b' | b'B', ..] => all(digits.get(2..).unwrap_or_default(), 2),
        _ => all(digits, 10),
    }
}

fn is_float(text: &str) -> bool {
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
        }
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// `1:30` was ninety once.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let starts = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit())
            && part.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    };
    let Some(first) = parts.next() else { return false };
    let rest: Vec<&str> = parts.collect();
    let sixtieth = |part: &str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [tens, digit] => matches!(tens, b'0'..=b'5') && digit.is_ascii_digit(),
        _ => false,
    };
    match rest.split_last() {
        Some((last, inner)) => {
            let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
            starts(first)
                && inner.iter().all(|part| sixtieth(part))
                && sixtieth(last)
                && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        }
        None => false,
    }
}

/// A date, or a date and time.
fn is_time(text: &str) -> bool {
    let number = |part: &str, most: usize, limit: u32| {
        (1..=most).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse().is_ok_and(|number: u32| number <= limit)
    };
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    if year.len() != 4 || !number(year, 4, 9999) || !number(month, 2, 12) || !number(day, 2, 31) {
        return false;
    }
    if time.is_empty() {
        return true;
    }
    let clock = time.get(1..).unwrap_or_default();
    let clock = match (time.starts_with(' '), clock.find(['Z', '+', '-'])) {
        (true, None) => clock,
        (false, Some(zone)) => clock.get(..zone).unwrap_or_default(),
        _ => return false,
    };
    let whole = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let parts: Vec<&str> = whole.split(':').collect();
    matches!(parts.as_slice(), [hour, minute, second]
        if number(hour, 2, 23) && number(minute, 2, 59) && number(second, 2, 59))
}

/// A character inside double quotes.
pub(super) fn escape(c: char) -> String {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        c if is_printable(c) => return c.to_string(),
        c => {
            let code = u32::from(c);
            return match code {
                0..0x100 => format!("\\x{code:02X}"),
                0x100..0x1_0000 => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    short.to_owned()
}

/// A number as Go writes it: integers as they are, floats in the shortest form (`%g`).
pub(super) fn number(number: &Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    let Some(float) = number.as_f64() else { return number.to_string() };
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // The bounds of `strconv` for the shortest form.
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{float}")
}
