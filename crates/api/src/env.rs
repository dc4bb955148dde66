//! The environment of a replica: the addresses of the others, and its own identity.
//!
//! Values are literal and appended last, so they take precedence over a user's variable of the same
//! name.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::job::Job;
use crate::names;
use crate::role::Role;

/// `MX_CONFIG`, in the field order that its readers expect.
#[derive(Serialize)]
struct Config<'a> {
    cluster: BTreeMap<&'static str, Vec<Address>>,
    labels: BTreeMap<&'static str, &'a str>,
    task: Task,
}

#[derive(Serialize)]
struct Address {
    url: String,
    port: u16,
}

#[derive(Serialize)]
struct Task {
    r#type: &'static str,
    index: u32,
}

/// `MX_CONFIG`: compact JSON with the address of every replica, the tuner keys, and which replica
/// this one is.
///
/// Byte for byte as the Go operators wrote it: a role with 0 replicas has an empty list, keys are
/// sorted, and `<`, `>`, `&` are escaped.
pub fn mx_config(job: &Job, role: Role, index: u32) -> String {
    let cluster = job
        .replicas
        .iter()
        .map(|replica| {
            let addresses = (0..replica.count).map(|index| Address {
                url: names::service_name(&job.name, replica.role, index),
                port: replica.port,
            });
            (replica.role.lower(), addresses.collect())
        })
        .collect();
    let labels = job
        .replicas
        .iter()
        .map(|replica| (replica.role.lower(), replica.label.as_deref().unwrap_or("")))
        .collect();
    let config = Config { cluster, labels, task: Task { r#type: role.lower(), index } };
    // Strings, numbers and string-keyed maps always serialize.
    go_escaped(&serde_json::to_string(&config).unwrap_or_default())
}

/// The longest possible `MX_CONFIG`: Linux limits one variable, with name and terminator, to 128
/// KiB.
pub const CONFIG_LIMIT: u64 = 128 * 1024 - "MX_CONFIG=".len() as u64 - 1;

/// The properties of one role that determine the size of `MX_CONFIG`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigRole<'a> {
    pub(crate) role: Role,
    pub(crate) count: u32,
    pub(crate) port: u16,
    pub(crate) label: &'a str,
}

/// The size of a job's longest `MX_CONFIG`, computed without building it: a spec may have up to 2³¹
/// replicas.
pub(crate) fn config_size(job: &str, roles: &[ConfigRole<'_>]) -> u64 {
    let cluster = roles.iter().map(|entry| (entry.role.lower(), Vec::new())).collect();
    let labels = roles.iter().map(|entry| (entry.role.lower(), entry.label)).collect();
    let longest_task = roles
        .iter()
        .filter(|entry| entry.count > 0)
        .map(|entry| Task { r#type: entry.role.lower(), index: entry.count - 1 })
        .max_by_key(|task| task.r#type.len() + task.index.to_string().len());
    let Some(task) = longest_task else { return 0 };
    let frame =
        go_escaped(&serde_json::to_string(&Config { cluster, labels, task }).unwrap_or_default());
    let addresses = roles.iter().filter(|entry| entry.count > 0).map(|entry| {
        let address = Address { url: names::service_name(job, entry.role, 0), port: entry.port };
        let without_index = serde_json::to_string(&address).unwrap_or_default().len() as u64 - 1;
        let count = u64::from(entry.count);
        count * without_index + digits_below(count) + (count - 1) // commas between them
    });
    frame.len() as u64 + addresses.sum::<u64>()
}

/// The total number of digits of all numbers below `count`.
fn digits_below(count: u64) -> u64 {
    let (mut digits, mut from) = (count, 10);
    while from < count {
        digits += count - from;
        from *= 10;
    }
    digits
}

/// All variables of one replica, in order.
pub fn for_replica(job: &Job, role: Role, index: u32) -> Vec<(String, String)> {
    let scheduler = job.replica(Role::Scheduler).filter(|replica| replica.count > 0);
    let root_port = scheduler.map_or(0, |replica| replica.port);
    let root_uri =
        scheduler.map(|_| names::service_name(&job.name, Role::Scheduler, 0)).unwrap_or_default();
    let mut variables = vec![
        ("MX_CONFIG".to_owned(), mx_config(job, role, index)),
        ("DMLC_PS_ROOT_PORT".to_owned(), root_port.to_string()),
        ("DMLC_PS_ROOT_URI".to_owned(), root_uri),
        ("DMLC_NUM_SERVER".to_owned(), job.count(Role::Server).to_string()),
        ("DMLC_NUM_WORKER".to_owned(), job.count(Role::Worker).to_string()),
        ("DMLC_ROLE".to_owned(), role.lower().to_owned()),
        ("DMLC_USE_KUBERNETES".to_owned(), "1".to_owned()),
    ];
    if role == Role::Worker {
        // BytePS requires it.
        variables.push(("DMLC_WORKER_ID".to_owned(), index.to_string()));
    }
    variables
}

/// JSON text with Go's escapes; the escaped characters occur only inside strings.
fn go_escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn digits_below_equals_the_sum_over_all_numbers() {
        let mut digits = 0;
        for count in 0..2_000_u64 {
            assert_eq!(digits_below(count), digits, "{count}");
            digits += count.to_string().len() as u64;
        }
    }

    proptest! {
        #[test]
        fn config_size_equals_the_longest_config(
            name in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?", counts in [0_u32..3, 0_u32..30, 0_u32..1200], port: u16, label in "\\PC{0,5}[<>&]?",
        ) {
            let roles = [Role::Scheduler, Role::Server, Role::Worker];
            let template = json!({ "spec": { "containers": [
                { "name": "mxnet", "ports": [{ "name": "mxjob-port", "containerPort": port }] },
            ] } });
            let specs: serde_json::Map<_, _> = roles
                .iter()
                .zip(counts)
                .map(|(role, count)| {
                    (role.to_string(), json!({ "replicas": count, "template": template, "label": label }))
                })
                .collect();
            let job =
                Job::from_value(&json!({ "metadata": { "name": name }, "spec": { "mxReplicaSpecs": specs } })).unwrap();
            let entries: Vec<_> =
                roles.iter().zip(counts).map(|(role, count)| ConfigRole { role: *role, count, port, label: &label }).collect();
            let last = roles.iter().zip(counts).filter(|(_, count)| *count > 0);
            let longest = last.map(|(role, count)| mx_config(&job, *role, count - 1).len()).max().unwrap_or(0);
            prop_assert_eq!(config_size(&name, &entries), longest as u64);
        }
    }
}
