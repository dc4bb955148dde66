//! The rules of pods and of templates of pods, with upstream's messages and field paths
//! (`k8s.io/kubernetes/pkg/apis/core/validation`, release 1.34 with its default feature gates).
//!
//! Names of containers and volumes become names of folders on a node, so they are DNS labels and
//! unique: containers of all three lists together, volumes among themselves. A null counts as what
//! Go's decoder makes of it, the empty value. Values of a wrong type are passed over: a schema
//! reports them. The rules are for objects that have their defaults, which [`defaults`] fills in.
//!
//! Most rules are rows of tables: the field, what it must be, and the upstream function that says
//! so. Rules about several fields are functions that the tables name.

mod annotations;
mod claims;
mod containers;
pub mod defaults;
mod env;
mod handlers;
mod projected;
mod resources;
mod scheduling;
mod security;
mod sources;
mod status;
mod update;
mod view;
mod volumes;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::field::{Error, Errors, Path};
use crate::names;
use view::{Context, Rule, Table, View, of};

pub use status::validate_status_update;
pub use update::validate_update;
pub use volumes::HOST_PATH_TYPES;

/// The lists of containers in the order in which their names are claimed. A collision is reported
/// on the later one.
const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

const PORT_RULE: &str = "must be between 1 and 65535, inclusive";

/// `ValidatePodSpec`.
const SPEC: &[Table] = &[
    of("ValidatePodSpec", &[("terminationGracePeriodSeconds", NOT_NEGATIVE)]),
    of("ValidateVolumes", &[("volumes", Rule::Check(volumes::check))]),
    of("validatePodResourceClaims", &[("resourceClaims", Rule::If(claims::check_resource_claims))]),
    of("validateContainers", &[("containers", Rule::Check(containers::check))]),
    of("validateInitContainers", &[("initContainers", Rule::If(containers::check_init))]),
    of(
        "validateEphemeralContainers",
        &[("ephemeralContainers", Rule::If(containers::check_ephemeral))],
    ),
    of("validatePodResources", &[("resources", Rule::If(resources::check_pod))]),
    of("validatePodHostNetworkDeps", &[("", Rule::Check(containers::check_host_network))]),
    of(
        "validateRestartPolicy",
        &[("restartPolicy", Rule::OneOf(&["Always", "OnFailure", "Never"]))],
    ),
    of(
        "validateDNSPolicy",
        &[(
            "dnsPolicy",
            Rule::OneOf(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
        )],
    ),
    of("ValidateLabels", &[("nodeSelector", Rule::If(scheduling::check_labels))]),
    of(
        "validatePodSpecSecurityContext",
        &[
            ("shareProcessNamespace", Rule::If(check_shared_processes)),
            ("securityContext", Rule::Fields(security::POD_SECURITY)),
        ],
    ),
    of("validateAffinity", &[("affinity", Rule::Fields(scheduling::AFFINITY))]),
    of("validatePodDNSConfig", &[("", Rule::Check(check_dns))]),
    of("validateReadinessGates", &[("readinessGates", Rule::Each(scheduling::READINESS_GATES))]),
    of("validateSchedulingGates", &[("schedulingGates", Rule::If(scheduling::check_gates))]),
    of(
        "validateTopologySpreadConstraints",
        &[("topologySpreadConstraints", Rule::If(scheduling::check_spreading))],
    ),
    of("validateWindowsHostProcessPod", &[("", Rule::Check(security::check_host_process))]),
    of("validateHostUsers", &[("", Rule::Check(security::check_host_users))]),
    of("validatePodHostName", &[("", Rule::Check(check_hostname_override))]),
    of(
        "ValidateServiceAccountName",
        &[("serviceAccountName", Rule::May(names::dns1123_subdomain))],
    ),
    of("ValidateNodeName", &[("nodeName", Rule::May(names::dns1123_subdomain))]),
    of(
        "ValidatePodSpec",
        &[
            (
                "activeDeadlineSeconds",
                Rule::Range(1, i32::MAX as i64, "must be between 1 and 2147483647, inclusive"),
            ),
            ("hostname", Rule::May(names::dns1123_label)),
            ("subdomain", Rule::May(names::dns1123_label)),
        ],
    ),
    of("ValidateTolerations", &[("tolerations", Rule::If(scheduling::check_tolerations))]),
    of("ValidateHostAliases", &[("hostAliases", Rule::Each(HOST_ALIAS))]),
    of("ValidatePriorityClassName", &[("priorityClassName", Rule::May(names::dns1123_subdomain))]),
    of("ValidateRuntimeClassName", &[("runtimeClassName", Rule::If(check_subdomain))]),
    of(
        "ValidatePreemptionPolicy",
        &[("preemptionPolicy", Rule::OneOf(&["PreemptLowerPriority", "Never"]))],
    ),
    of("validateOverhead", &[("overhead", Rule::If(resources::check_overhead))]),
    of("validateOS", &[("", Rule::Check(security::check_os))]),
];

/// Upstream documents this rule and accepts a negative number, which its node reads as 1. Ours has
/// no such reading.
const NOT_NEGATIVE: Rule = Rule::Range(0, i64::MAX, "must be greater than or equal to 0");

const HOST_ALIAS: &[Table] = &[of(
    "ValidateHostAliases",
    &[
        ("ip", Rule::Text(ip_address)),
        (
            "hostnames",
            Rule::If(|names, context| {
                names.items().for_each(|name| name.check_text(names::dns1123_subdomain, context));
            }),
        ),
    ],
)];

/// Reports every violation in the spec of a template, as a pod made of it would have them. `path`
/// is the path of the spec.
///
/// ```
/// use mxjob_machinery::{field::Path, pod_spec};
/// use serde_json::json;
///
/// let spec = json!({ "containers": [{ "name": "../x", "image": "i" }] });
/// let errors = pod_spec::validate(&spec, &Path::new("spec"));
/// assert!(errors.to_string().starts_with("spec.containers[0].name: Invalid value: \"../x\""));
/// ```
#[must_use]
pub fn validate(spec: &Value, path: &Path) -> Errors {
    let mut spec = spec.clone();
    defaults::fill_template_spec(&mut spec);
    let mut errors = Errors::new();
    check_spec(&spec, "", false, path, &mut errors);
    errors
}

/// `ValidatePodTemplateSpec`. `metadata` is the path of the errors of labels and annotations.
#[must_use]
pub fn validate_template(template: &Value, path: &Path, metadata: &Path) -> Errors {
    let none = Value::Null;
    let mut spec = template.get("spec").cloned().unwrap_or_default();
    defaults::fill_template_spec(&mut spec);
    let mut errors = Errors::new();
    let meta = template.get("metadata").unwrap_or(&none);
    with_context(&spec, "", false, &mut errors, |context| {
        let meta = View::new(meta, metadata);
        scheduling::check_labels(&meta.get("labels"), context);
        annotations::check_keys(&meta.get("annotations"), context);
        annotations::check(&meta.get("annotations"), context);
    });
    let path = path.child("spec");
    check_spec(&spec, "", false, &path, &mut errors);
    with_context(&spec, "", false, &mut errors, |context| {
        annotations::check_profiles(meta, &View::new(&spec, &path), context);
    });
    if spec.get("ephemeralContainers").is_some_and(|list| !is_missing(list)) {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(Error::forbidden(&path.child("ephemeralContainers"), detail));
    }
    errors
}

/// `ValidatePodCreate` without the rules of metadata, for a pod that has its defaults.
#[must_use]
pub fn validate_create(pod: &Value) -> Errors {
    let none = Value::Null;
    let (spec, meta) = (pod.get("spec").unwrap_or(&none), pod.get("metadata").unwrap_or(&none));
    let mut errors = validate_pod(pod);
    let path = Path::new("spec");
    let is_set = |field: &str| spec.get(field).is_some_and(|value| !is_missing(value));
    if is_set("ephemeralContainers") {
        let path = path.child("ephemeralContainers");
        errors.push(Error::forbidden(&path, "cannot be set on create"));
    }
    if is_set("nodeName") && is_set("schedulingGates") {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(Error::forbidden(&path.child("nodeName"), detail));
    }
    with_context(spec, "", true, &mut errors, |context| {
        annotations::check_profiles(meta, &View::new(spec, &path), context);
    });
    errors
}

/// `validatePodMetadataAndSpec` without the rules of all metadata.
fn validate_pod(pod: &Value) -> Errors {
    let none = Value::Null;
    let (spec, meta) = (pod.get("spec").unwrap_or(&none), pod.get("metadata").unwrap_or(&none));
    let mut errors = Errors::new();
    let path = Path::new("metadata");
    with_context(spec, "", true, &mut errors, |context| {
        annotations::check(&View::new(meta, &path).get("annotations"), context);
    });
    let name = meta.get("name").and_then(Value::as_str).unwrap_or_default();
    check_spec(spec, name, true, &Path::new("spec"), &mut errors);
    errors
}

fn check_spec(spec: &Value, name: &str, is_pod: bool, path: &Path, errors: &mut Errors) {
    with_context(spec, name, is_pod, errors, |context| {
        View::new(context.spec, path).check(SPEC, context);
    });
}

fn with_context<'v>(
    spec: &'v Value,
    name: &'v str,
    is_pod: bool,
    errors: &'v mut Errors,
    run: impl FnOnce(&mut Context<'v>),
) {
    let (volumes, claims) = (HashMap::new(), BTreeSet::new());
    run(&mut Context { errors, spec, name, is_pod, volumes, claims });
}

/// Reports only what is wrong with the names of containers and volumes: what a node must know
/// before it touches a file.
#[must_use]
pub fn validate_names(spec: &Value, path: &Path) -> Errors {
    let mut errors = Errors::new();
    with_context(spec, "", true, &mut errors, |context| {
        let spec = View::new(spec, path);
        let mut check = |list: &'static [&'static str]| {
            let mut taken = HashSet::new();
            for list in list {
                for item in spec.get(list).objects() {
                    let name = item.get("name");
                    name.check_must(names::dns1123_label, context);
                    if !name.is_empty() && !taken.insert(name.str()) {
                        name.duplicate(name.str(), context);
                    }
                }
            }
        };
        check(&["volumes"]);
        check(&CONTAINER_LISTS);
    });
    errors
}

/// Reports keys of a `ConfigMap` or `Secret` that cannot become names of files. `path` is the path
/// of the map.
#[must_use]
pub fn validate_keys(data: &Value, path: &Path) -> Errors {
    let keys = data.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.flat_map(|key| {
        let rules = names::config_map_key(key).into_iter();
        rules.map(move |rule| Error::invalid(&path.key(key), key.as_str(), rule))
    })
    .collect()
}

/// Says why a path does not stay below the folder that it is relative to.
///
/// # Errors
/// With upstream's wording.
pub fn descending(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("must be a relative path");
    }
    no_back_steps(path)
}

/// Whether a path has no step upwards.
///
/// # Errors
///
/// With upstream's wording.
pub fn no_back_steps(path: &str) -> Result<(), &'static str> {
    if path.split('/').any(|part| part == "..") {
        return Err("must not contain '..'");
    }
    Ok(())
}

/// Whether Kubernetes treats a field with this value as one that is missing.
pub(crate) fn is_missing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

// === Rules of the spec itself ===

fn check_subdomain(name: &View<'_, '_>, context: &mut Context<'_>) {
    name.check_text(names::dns1123_subdomain, context);
}

/// The path is that of upstream's security context.
fn check_shared_processes(shared: &View<'_, '_>, context: &mut Context<'_>) {
    if shared.value == &Value::Bool(true) && context.spec.get("hostPID") == Some(&Value::Bool(true))
    {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        shared.invalid(detail, context);
    }
}

fn check_hostname_override<'v>(spec: &View<'v, '_>, context: &mut Context<'v>) {
    const LONGEST: usize = 64;
    let Some(name) = spec.given("hostnameOverride") else { return };
    for (flag, detail) in [
        ("setHostnameAsFQDN", "may not be specified when setHostnameAsFQDN is true"),
        ("hostNetwork", "may not be specified when hostNetwork is true"),
    ] {
        if spec.flag(flag) == Some(true) {
            name.forbidden(detail, context);
        }
    }
    if name.str().len() > LONGEST {
        name.too_long(LONGEST, context);
    }
    name.check_text(names::dns1123_subdomain, context);
}

fn check_dns<'v>(spec: &View<'v, '_>, context: &mut Context<'v>) {
    const SERVERS: usize = 3;
    const SEARCHES: usize = 32;
    const SEARCH_CHARS: usize = 2048;
    let config = spec.get("dnsConfig");
    let (servers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.text("dnsPolicy") == "None" {
        if config.value.is_null() {
            return config.required("must provide `dnsConfig` when `dnsPolicy` is None", context);
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return servers.required(detail, context);
        }
    }
    if servers.items().count() > SERVERS {
        servers.invalid(format!("must not have more than {SERVERS} nameservers"), context);
    }
    servers.items().for_each(|server| server.check_text(ip_address, context));
    if searches.items().count() > SEARCHES {
        searches.invalid(format!("must not have more than {SEARCHES} search paths"), context);
    }
    let chars: usize = searches.items().map(|search| search.str().len() + 1).sum();
    if chars.saturating_sub(1) > SEARCH_CHARS {
        let detail = format!(
            "must not have more than {SEARCH_CHARS} characters (including spaces) in the search list"
        );
        searches.invalid(detail, context);
    }
    for search in searches.items().filter(|search| search.str() != ".") {
        let domain = search.str().strip_suffix('.').unwrap_or_else(|| search.str());
        for complaint in names::search_domain(domain) {
            search.invalid_as(domain, complaint, context);
        }
    }
    for option in config.get("options").objects().filter(|it| it.text("name").is_empty()) {
        option.required("must not be empty", context);
    }
}

/// An address as Go's lenient parser takes it: parts of IPv4 may have leading zeros.
fn ip_address(text: &str) -> Vec<String> {
    let is_v4 = || {
        let part = |part: &str| {
            let digits = part.trim_start_matches('0');
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u8>().is_ok())
        };
        text.split('.').count() == 4 && text.split('.').all(part)
    };
    if is_v4() || text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

#[cfg(test)]
mod tests;
