//! Tables of field rules: the checks that upstream's validation functions share, each with
//! upstream's message.
//!
//! Objects have passed their schema when they get here, so a value has the type that its rule
//! expects, or is absent. As in Go, an absent value, null and an empty string are the same.

use std::net::IpAddr;

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::list;
use mxjob_machinery::{json, names};
use serde_json::Value;

/// What a field must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// Set. The detail may be empty.
    Required(&'static str),
    /// One of these words, if it is set.
    OneOf(&'static [&'static str]),
    /// One of these words; upstream has one error for a missing word and one for a wrong one.
    RequiredOneOf(&'static [&'static str]),
    /// A name, if it is set.
    Name(fn(&str) -> Vec<String>),
    /// A number of at least 0, if it is set.
    NotNegative,
    /// A number of at least 1, if it is set.
    Positive,
    /// A port. An absent one is 0, which is none.
    Port,
}

/// Fields with their rules. A field is a dotted path.
pub(super) type Table = &'static [(&'static str, Rule)];

/// The protocols of ports.
pub(super) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const PORT: &str = "must be between 1 and 65535, inclusive";
/// What is said of a share of more than all pods.
pub(super) const ABOVE_ALL: &str = "must not be greater than 100%";
const IMMUTABLE: &str = "field is immutable";

/// The errors of an object whose own path is `path`.
pub(super) fn check(object: &Value, path: &Path, table: Table) -> Errors {
    let errors = table.iter().map(|(name, rule)| {
        let value = at(object, name);
        rule.errors(value, &path.child(name))
    });
    errors.collect()
}

/// The errors of all items of the list at a pointer, which is empty where there is none.
pub(super) fn check_items(
    object: &Value,
    pointer: &str,
    path: &Path,
    mut check: impl FnMut(usize, &Value, &Path, &mut Errors),
) -> Errors {
    let mut errors = Errors::new();
    for (index, item) in list(object, pointer).iter().enumerate() {
        // What is wrong with a very long list is known after its first thousand errors.
        if errors.is_full() {
            break;
        }
        check(index, item, &path.index(index), &mut errors);
    }
    errors
}

/// The errors of fields that may not change (upstream's `ValidateImmutableField`).
pub(super) fn immutable(old: &Value, new: &Value, fields: &[&str]) -> Errors {
    let changed = fields.iter().filter(|name| !same(at(old, name), at(new, name)));
    changed
        .map(|name| {
            let shown = at(new, name).cloned().unwrap_or_default();
            Error::invalid(&Path::new(*name), &shown, IMMUTABLE)
        })
        .collect()
}

/// The value at a dotted path.
pub(super) fn at<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    name.split('.').try_fold(object, |value, step| value.get(step))
}

/// Whether two fields are equal: absent is null.
pub(super) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    json::equal(a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null))
}

/// Whether a field counts as set.
pub(super) fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|value| !value.is_null() && value != "")
}

/// One error for each complaint about a name.
pub(super) fn name_errors(value: &str, path: &Path, rule: fn(&str) -> Vec<String>) -> Errors {
    rule(value).into_iter().map(|complaint| Error::invalid(path, value, complaint)).collect()
}

/// Upstream's `ValidatePortNumOrName`.
pub(super) fn port_or_name(value: Option<&Value>, path: &Path) -> Errors {
    match value {
        Some(Value::String(name)) => name_errors(name, path, names::port_name),
        other => Rule::Port.errors(other, path),
    }
}

/// Upstream's `ValidatePositiveIntOrPercent` and `IsNotMoreThan100Percent`.
pub(super) fn share(value: Option<&Value>, path: &Path) -> Errors {
    match value {
        Some(Value::String(share)) => match percent(share) {
            None => Error::invalid(
                path,
                share,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            )
            .into(),
            Some(share) if share > 100 => {
                Error::invalid(path, value.unwrap_or(&Value::Null), ABOVE_ALL).into()
            }
            Some(_) => Errors::new(),
        },
        other => Rule::NotNegative.errors(other, path),
    }
}

/// The number of a percentage; one that is too large for a number is the largest.
pub(super) fn percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%').filter(|digits| !digits.is_empty())?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Upstream's `IsValidIP`, and `ValidateNonSpecialIP` without its rule about loopback addresses:
/// the pods of one machine have such addresses.
pub(super) fn address(value: &str, path: &Path) -> Errors {
    let special = match value.parse::<IpAddr>() {
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned(),
        Ok(ip) if ip.is_unspecified() => format!("may not be unspecified ({value})"),
        Ok(ip) if is_link_local(ip) => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
        }
        Ok(ip) if is_link_local_multicast(ip) => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()
        }
        Ok(_) => return Errors::new(),
    };
    Error::invalid(path, value, special).into()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Upstream's `IsValidCIDR`.
pub(super) fn cidr(value: &str, path: &Path) -> Errors {
    let is_valid = value.split_once('/').is_some_and(|(ip, length)| {
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = digits.then(|| length.parse::<u8>().ok()).flatten();
        match (ip.parse::<IpAddr>(), length) {
            (Ok(IpAddr::V4(_)), Some(length)) => length <= 32,
            (Ok(IpAddr::V6(_)), Some(length)) => length <= 128,
            _ => false,
        }
    });
    if is_valid {
        return Errors::new();
    }
    let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    Error::invalid(path, value, detail).into()
}

// === impl Rule ===

impl Rule {
    /// The errors of one value.
    pub(super) fn errors(self, value: Option<&Value>, path: &Path) -> Errors {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        let number = value.and_then(Value::as_i64);
        let shown = || value.cloned().unwrap_or_default();
        let error = match self {
            Self::Required(detail) if !is_set(value) => Error::required(path, detail),
            Self::RequiredOneOf(_) if text.is_empty() => Error::required(path, ""),
            Self::OneOf(words) if !text.is_empty() && !words.contains(&text) => {
                Error::not_supported(path, text, words)
            }
            Self::RequiredOneOf(words) if !words.contains(&text) => {
                Error::not_supported(path, text, words)
            }
            Self::Name(rule) if !text.is_empty() => return name_errors(text, path, rule),
            Self::NotNegative if number.is_some_and(|number| number < 0) => {
                Error::invalid(path, &shown(), NOT_NEGATIVE)
            }
            Self::Positive if number.is_some_and(|number| number < 1) => {
                Error::invalid(path, &shown(), "must be greater than 0")
            }
            Self::Port if !(1..=65535).contains(&number.unwrap_or(0)) => {
                Error::invalid(path, number.unwrap_or(0), PORT)
            }
            _ => return Errors::new(),
        };
        error.into()
    }
}
