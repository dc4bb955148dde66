//! The rules for names, label keys and label values, with upstream's messages
//! (`k8s.io/apimachinery/pkg/util/validation`). Each returns the complaints; none means valid.

mod identifiers;

pub use identifiers::{Namespace, ObjectName, Uid};

/// Longest DNS-1123 subdomain.
pub const SUBDOMAIN_MAX: usize = 253;
/// Longest DNS label, 1123 or 1035.
pub const LABEL_MAX: usize = 63;

const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1123_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_RULE: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const CONFIG_KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENVIRONMENT_RULE: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const HEADER_RULE: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const SEARCH_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Names of most objects: dot-separated labels.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut complaints = too_long(text, SUBDOMAIN_MAX);
    if !text.split('.').all(is_1123_label) {
        complaints.push(SUBDOMAIN_RULE.to_owned());
    }
    complaints
}

/// Namespace names, host names.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut complaints = too_long(text, LABEL_MAX);
    if !is_1123_label(text) {
        // Upstream says so when a subdomain was given where only a label will do.
        complaints.push(if dns1123_subdomain(text).is_empty() {
            "must not contain dots".to_owned()
        } else {
            LABEL_1123_RULE.to_owned()
        });
    }
    complaints
}

/// Service names.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut complaints = too_long(text, LABEL_MAX);
    if !(is_1123_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())) {
        complaints.push(LABEL_1035_RULE.to_owned());
    }
    complaints
}

/// Keys of labels and annotations, finalizers: an optional subdomain, a slash, a name.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".to_owned());
            } else {
                complaints.extend(
                    dns1123_subdomain(prefix).into_iter().map(|rule| format!("prefix part {rule}")),
                );
            }
            *name
        }
        _ => return vec![QUALIFIED_RULE.to_owned()],
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        complaints.push(format!("name part must be no more than {LABEL_MAX} characters"));
    }
    if !is_name_part(name) {
        complaints.push(format!("name part {NAME_PART_RULE}"));
    }
    complaints
}

/// Values of labels: empty, or like the name part of a key.
pub fn label_value(text: &str) -> Vec<String> {
    let mut complaints = too_long(text, LABEL_MAX);
    if !text.is_empty() && !is_name_part(text) {
        complaints.push(LABEL_VALUE_RULE.to_owned());
    }
    complaints
}

/// Keys of a `ConfigMap` or `Secret`, which become names of files.
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut complaints = too_long(text, SUBDOMAIN_MAX);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !framed(text, allowed, allowed) {
        complaints.push(CONFIG_KEY_RULE.to_owned());
    }
    match text {
        "." => complaints.push("must not be '.'".to_owned()),
        ".." => complaints.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => complaints.push("must not start with '..'".to_owned()),
        _ => {}
    }
    complaints
}

/// Names of ports.
pub fn port_name(text: &str) -> Vec<String> {
    const MAX: usize = 15;
    let mut complaints = too_long(text, MAX);
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let hyphen_ends = text.starts_with('-') || text.ends_with('-');
    let rules = [
        (
            framed(text, is_plain, is_plain),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (!text.contains("--"), "must not contain consecutive hyphens"),
        (!hyphen_ends, "must not begin or end with a hyphen"),
    ];
    complaints.extend(rules.iter().filter(|(holds, _)| !holds).map(|(_, rule)| (*rule).to_owned()));
    complaints
}

/// Names of environment variables: anything that can be printed, except `=`.
pub fn environment_variable(text: &str) -> Vec<String> {
    if text.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=') {
        return Vec::new();
    }
    vec![ENVIRONMENT_RULE.to_owned()]
}

/// Names of HTTP headers.
pub fn http_header(text: &str) -> Vec<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if framed(text, allowed, allowed) { Vec::new() } else { vec![HEADER_RULE.to_owned()] }
}

/// Search domains of DNS: subdomains that may contain underscores.
pub fn search_domain(text: &str) -> Vec<String> {
    let mut complaints = too_long(text, SUBDOMAIN_MAX);
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        framed(label, alphanumeric, |b| alphanumeric(b) || b"-_".contains(&b))
    };
    if !text.split('.').all(is_label) {
        complaints.push(SEARCH_RULE.to_owned());
    }
    complaints
}

fn too_long(text: &str, limit: usize) -> Vec<String> {
    if text.len() > limit {
        vec![format!("must be no more than {limit} characters")]
    } else {
        Vec::new()
    }
}

fn is_1123_label(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    framed(text, alphanumeric, |b| alphanumeric(b) || b == b'-')
}

fn is_name_part(text: &str) -> bool {
    framed(
        text,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b),
    )
}

/// Not empty, `edge` bytes at both ends, `inner` bytes throughout.
fn framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    match (text.as_bytes().first(), text.as_bytes().last()) {
        (Some(&first), Some(&last)) => edge(first) && edge(last) && text.bytes().all(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Vec<String>, valid: &[&str], invalid: &[(&str, &[&str])]) {
        for text in valid {
            assert_eq!(rule(text), Vec::<String>::new(), "{text:?}");
        }
        for (text, starts) in invalid {
            let complaints = rule(text);
            assert_eq!(complaints.len(), starts.len(), "{text:?}: {complaints:?}");
            for (complaint, start) in complaints.iter().zip(*starts) {
                assert!(complaint.starts_with(start), "{text:?}: {complaint}");
            }
        }
    }

    #[test]
    fn subdomains() {
        let (long, longest) = ("a".repeat(254), "a".repeat(253));
        check(
            dns1123_subdomain,
            &["a", "a.b", "0", "1-2.c", &longest],
            &[
                ("", &["a lowercase RFC 1123 subdomain"]),
                ("A", &["a lowercase RFC 1123 subdomain"]),
                ("a..b", &["a lowercase RFC 1123 subdomain"]),
                ("-a", &["a lowercase RFC 1123 subdomain"]),
                ("a-.b", &["a lowercase RFC 1123 subdomain"]),
                ("é", &["a lowercase RFC 1123 subdomain"]),
                ("a/b", &["a lowercase RFC 1123 subdomain"]),
                (&long, &["must be no more than 253 characters"]),
            ],
        );
    }

    #[test]
    fn labels_of_both_sorts() {
        let long = "a".repeat(64);
        check(
            dns1123_label,
            &["a", "0a", "a-b"],
            &[
                ("a.b", &["must not contain dots"]),
                ("a_b", &["a lowercase RFC 1123 label"]),
                (&long, &["must be no more than 63"]),
            ],
        );
        check(
            dns1035_label,
            &["a", "a-0"],
            &[
                ("0a", &["a DNS-1035 label"]),
                ("a.b", &["a DNS-1035 label"]),
                ("", &["a DNS-1035 label"]),
            ],
        );
    }

    #[test]
    fn keys_of_config_maps() {
        let long = "a".repeat(254);
        check(
            config_map_key,
            &["a", ".hidden", "A_b.c-d", "a..b", "-"],
            &[
                ("", &["a valid config key"]),
                ("a/b", &["a valid config key"]),
                ("a\0", &["a valid config key"]),
                (".", &["must not be '.'"]),
                ("..", &["must not be '..'"]),
                ("..data", &["must not start with '..'"]),
                ("../a", &["a valid config key", "must not start with '..'"]),
                (&long, &["must be no more than 253 characters"]),
            ],
        );
    }

    #[test]
    fn qualified_names_and_label_values() {
        let long = "a".repeat(64);
        check(
            qualified_name,
            &["a", "A_b.C-d", "example.com/Name", "1/2"],
            &[
                ("", &["name part must be non-empty", "name part must consist"]),
                ("a/", &["name part must be non-empty", "name part must consist"]),
                ("/a", &["prefix part must be non-empty"]),
                ("A/a", &["prefix part a lowercase RFC 1123 subdomain"]),
                ("a/b/c", &["a qualified name must consist"]),
                ("bad key", &["name part must consist"]),
                (&long, &["name part must be no more than 63 characters"]),
            ],
        );
        check(
            label_value,
            &["", "a", "A.b_c-9"],
            &[
                ("bad value!", &["a valid label must be"]),
                ("-a", &["a valid label"]),
                (&long, &["must be no more than 63"]),
            ],
        );
    }
}
