//! Formats of strings, as far as validators of custom resources check them. A format that is not
//! known is not checked.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::names;

/// The name of the format in messages, where the text does not have it.
pub(super) fn mismatch<'a>(format: &'a str, text: &str) -> Option<&'a str> {
    let (name, fits) = match format {
        "date-time" | "datetime" => ("datetime", is_moment(text)),
        "date" => ("date", text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10),
        "byte" => ("byte", is_base64(text)),
        "ipv4" => (format, text.parse::<Ipv4Addr>().is_ok()),
        "ipv6" => (format, text.parse::<Ipv6Addr>().is_ok()),
        "cidr" => (format, is_network(text)),
        "uuid" => (format, is_uuid(text)),
        "hostname" => (format, names::dns1123_subdomain(&text.to_ascii_lowercase()).is_empty()),
        "email" => {
            (format, text.split_once('@').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()))
        }
        "uri" => (format, text.contains(':') || text.starts_with('/')),
        "duration" => (format, is_duration(text)),
        "k8s-short-name" => (format, names::dns1123_label(text).is_empty()),
        "k8s-long-name" => (format, names::dns1123_subdomain(text).is_empty()),
        _ => return None,
    };
    (!fits).then_some(name)
}

fn is_moment(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

fn is_base64(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - bare.len() <= 2
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(_), _) => 32,
        (_, Ok(_)) => 128,
        _ => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn is_uuid(text: &str) -> bool {
    let bare: String = text.chars().filter(|c| *c != '-').collect();
    bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Go's durations: `1h30m`, `1.5s`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if unit.len() == rest.len() {
            return false;
        }
        let Some(after) = ["ns", "us", "µs", "ms", "s", "m", "h"].into_iter().find_map(|name| {
            unit.strip_prefix(name).filter(|after| !after.starts_with(char::is_alphabetic))
        }) else {
            return false;
        };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_does_not_have_its_format_gets_its_name() {
        for (format, good, bad) in [
            ("date-time", "2026-11-24T08:00:00Z", "yesterday"),
            ("date", "2026-11-24", "24.11.2026"),
            ("byte", "aGk=", "a b="),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "::1", "1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("hostname", "a.example.com", "a_b"),
            ("email", "a@b", "a"),
            ("uri", "https://example.com", "example"),
            ("duration", "1h30m1.5s", "1 hour"),
            ("duration", "100ms", "5"),
        ] {
            assert_eq!(mismatch(format, good), None, "{format} {good}");
            let name = if format == "date-time" { "datetime" } else { format };
            assert_eq!(mismatch(format, bad), Some(name), "{format} {bad}");
        }
        assert_eq!(mismatch("colour", "anything"), None);
    }
}
