//! Values on the command line and in the configuration file: durations, resources, output formats.

use std::time::Duration;

use clap::ValueEnum;
use mxjob_machinery::names;
use mxjob_machinery::quantity::Quantity;
use mxjob_node::Identity;

/// The longest duration, 100 years. Beyond it, arithmetic with points in time fails.
const MAX_SECONDS: u64 = 3_155_760_000;

/// Machine-readable output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Reads `90`, `90s`, `15m`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(['s', 'm', 'h']).len());
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    let seconds = number.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    match seconds {
        Some(seconds) if unit > 0 && seconds <= MAX_SECONDS => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a duration, for example 90, 90s, 15m or 2h".to_owned()),
    }
}

/// Reads a duration of at least one second.
pub(crate) fn time_to_live(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be at least one second".to_owned()),
        time => Ok(time),
    }
}

/// Reads the size at which a container's log gets a new file, as a quantity: `10Mi`.
pub(crate) fn log_size(text: &str) -> Result<u64, String> {
    let bytes = Quantity::parse(text).ok().map(|quantity| quantity.value());
    match bytes.and_then(|bytes| u64::try_from(bytes).ok()) {
        Some(bytes) if bytes >= 1024 => Ok(bytes),
        _ => Err("expected a size of at least 1Ki, for example 10Mi".to_owned()),
    }
}

/// Reads the number of files of a container's log.
pub(crate) fn log_files(text: &str) -> Result<u32, String> {
    let files = text.parse().ok().filter(|files| *files >= 2);
    files.ok_or_else(|| "expected a number of files, at least 2".to_owned())
}

/// Reads a user of this machine: `alice`, `1000` or `1000:1000`. The group of a user without one is
/// that of the user database.
pub(crate) fn run_as(text: &str) -> Result<Identity, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let group = match group.map(str::parse) {
        None => None,
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => return Err("expected a number after the colon".to_owned()),
    };
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, primary, ..] = fields.as_slice() else { return None };
        (*name == user || *id == user).then(|| Some((id.parse().ok()?, primary.parse().ok()?)))?
    });
    match (known, user.parse(), group) {
        (Some((user, primary)), _, group) => Ok(Identity { user, group: group.unwrap_or(primary) }),
        (None, Ok(user), Some(group)) => Ok(Identity { user, group }),
        (None, Ok(_), None) => Err(format!("there is no user {text}; add a group: {text}:GROUP")),
        (None, Err(_), _) => Err(format!("there is no user {user:?}")),
    }
}

/// Reads `NAMESPACE/NAME=HOST:PORT`.
pub(crate) fn webhook_service(text: &str) -> Result<((String, String), String), String> {
    let parts = || {
        let (service, address) = text.split_once('=')?;
        let (namespace, name) = service.split_once('/')?;
        let (host, port) = address.rsplit_once(':')?;
        let complete = !namespace.is_empty() && !name.is_empty() && !host.is_empty();
        (complete && port.parse::<u16>().is_ok())
            .then(|| ((namespace.to_owned(), name.to_owned()), address.to_owned()))
    };
    parts().ok_or_else(|| {
        "expected NAMESPACE/NAME=HOST:PORT, for example mxjob-system/mxjob-webhook=127.0.0.1:9443"
            .to_owned()
    })
}

/// Reads `NAME=AMOUNT`.
pub(crate) fn extended_resource(text: &str) -> Result<(String, i64), String> {
    let (name, amount) =
        text.split_once('=').ok_or("expected NAME=AMOUNT, for example example.com/fpga=2")?;
    let amount =
        amount.parse().map_err(|_| format!("the amount {amount:?} is not a whole number"))?;
    resource_amount(name, amount)
}

/// Checks an extended resource. Its name must be qualified, as Kubernetes requires.
pub(crate) fn resource_amount(name: &str, amount: i64) -> Result<(String, i64), String> {
    if !name.contains('/') {
        return Err(format!("{name:?} is not a qualified name, for example example.com/fpga"));
    }
    if let Some(error) = names::qualified_name(name).first() {
        return Err(format!("{name:?} is not a valid resource name: {error}"));
    }
    if amount < 0 {
        return Err(format!("the amount of {name} must not be negative"));
    }
    Ok((name.to_owned(), amount))
}

/// Reads a limit of processes.
pub(crate) fn pod_pids_limit(text: &str) -> Result<i64, String> {
    pids_limit(text.parse().map_err(|_| format!("{text:?} is not a whole number"))?)
}

/// Checks a limit of processes; -1 stands for no limit, as in Kubernetes.
pub(crate) fn pids_limit(limit: i64) -> Result<i64, String> {
    if limit == -1 || limit >= 1 {
        return Ok(limit);
    }
    Err("must be at least 1, or -1 for any number".to_owned())
}

/// Reads the name of a namespace.
pub(crate) fn dns_label(text: &str) -> Result<String, String> {
    checked(text, names::dns1123_label(text).first())
}

/// Reads the name of an object.
pub(crate) fn dns_subdomain(text: &str) -> Result<String, String> {
    checked(text, names::dns1123_subdomain(text).first())
}

/// Reads a label as `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("expected KEY=VALUE, for example kubernetes.io/arch=arm64")?;
    checked(key, names::qualified_name(key).first())?;
    checked(value, names::label_value(value).first())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn checked(text: &str, error: Option<&impl ToString>) -> Result<String, String> {
    error.map_or_else(|| Ok(text.to_owned()), |error| Err(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_numbers() {
        assert_eq!(run_as("root"), Ok(Identity { user: 0, group: 0 }));
        assert_eq!(run_as("0:7"), Ok(Identity { user: 0, group: 7 }));
        assert_eq!(run_as("4294967:5"), Ok(Identity { user: 4_294_967, group: 5 }));
        for invalid in ["", "no-such-user", "4294967", "root:wheel", "0:-1"] {
            assert!(run_as(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn limits_of_logs_are_checked() {
        for (text, expected) in
            [("10Mi", Some(10 << 20)), ("1k", None), ("2k", Some(2000)), ("", None), ("-5Mi", None)]
        {
            assert_eq!(log_size(text).ok(), expected, "{text}");
        }
        for (text, expected) in [("2", Some(2)), ("1", None), ("", None), ("1.5", None)] {
            assert_eq!(log_files(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn durations_have_an_optional_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_secs), "{text}")
        };
        check("90", Some(90));
        check("90s", Some(90));
        check("15m", Some(900));
        check("2h", Some(7200));
        check("0", Some(0));
        for bad in ["", "s", "1d", "1mm", "-1", "1.5", "99999999999999999999", "999999999h"] {
            check(bad, None);
        }
    }

    #[test]
    fn labels_are_checked() {
        assert_eq!(label("a/b=c"), Ok(("a/b".to_owned(), "c".to_owned())));
        for wrong in ["arch", "=a", "a/b/c=d", "a=b c"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
    }
}
