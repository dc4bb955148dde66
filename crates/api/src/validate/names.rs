//! What is derived from the job's name and size: the names of its pods, and `MX_CONFIG`.

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::names;
use serde_json::Value;

use super::replicas::Replicas;
use crate::env::{self, ConfigRole};
use crate::names::pod_name;

/// Adds the errors. Nothing can be derived from an invalid name.
pub(super) fn check(job: &Value, replicas: &[Replicas<'_>], errors: &mut Errors) {
    let name = job.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if !names::dns1123_subdomain(name).is_empty() {
        return;
    }
    let roles: Vec<_> = replicas
        .iter()
        .filter_map(|entry| {
            let count = u32::try_from(entry.count).ok()?;
            Some(ConfigRole { role: entry.role?, count, port: entry.port, label: entry.label })
        })
        .collect();
    check_pod_name(name, &roles, errors);
    check_config(name, &roles, errors);
}

/// Pods and services have the same name, and that of a service is a DNS label.
fn check_pod_name(job: &str, roles: &[ConfigRole<'_>], errors: &mut Errors) {
    let names = roles.iter().filter(|entry| entry.count > 0);
    let Some(longest) =
        names.map(|entry| pod_name(job, entry.role, entry.count - 1)).max_by_key(String::len)
    else {
        return;
    };
    let violations = names::dns1035_label(&longest);
    if !violations.is_empty() {
        let detail =
            format!("its longest pod name, {longest:?}, is not valid: {}", violations.join(", "));
        errors.push(Error::invalid(&Path::new("metadata").child("name"), job, detail));
    }
}

/// No process can be started with a longer variable.
fn check_config(job: &str, roles: &[ConfigRole<'_>], errors: &mut Errors) {
    let size = env::config_size(job, roles);
    if size > env::CONFIG_LIMIT {
        let replicas: u64 = roles.iter().map(|entry| u64::from(entry.count)).sum();
        let detail = format!(
            "the MX_CONFIG variable of {replicas} replicas would have {size} bytes, and no process can be started with more than {}",
            env::CONFIG_LIMIT
        );
        let path = Path::new("spec").child("mxReplicaSpecs");
        errors.push(Error { detail, ..Error::too_long(&path, 0) });
    }
}
