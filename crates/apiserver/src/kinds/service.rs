//! Services: columns, defaults and rules (upstream's `pkg/apis/core/validation`, `ValidateService`
//! and what it calls). No address is allocated: a machine has no network of services.

use std::collections::HashSet;

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::metadata::{NameRule, validate_labels};
use mxjob_machinery::names;
use serde_json::{Value, json};

use super::rules::{self, PROTOCOLS, Rule, Table};
use super::{default_to, or_none};
use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::strategy::Strategy;

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    computed("Type", 0, |service, _| text(service, "/spec/type").into()),
    computed("Cluster-IP", 0, |service, _| or_none(text(service, "/spec/clusterIP"))),
    computed("External-IP", 0, |service, _| {
        let name = text(service, "/spec/externalName");
        or_none(if is_external(service) { name } else { "" })
    }),
    computed("Port(s)", 0, |service, _| {
        let ports = list(service, "/spec/ports").iter().map(|port| {
            let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
            format!("{number}/{}", text(port, "/protocol"))
        });
        or_none(&ports.collect::<Vec<_>>().join(","))
    }),
    AGE,
    computed("Selector", 1, |service, _| {
        let pairs =
            service.pointer("/spec/selector").and_then(Value::as_object).into_iter().flatten();
        let pairs =
            pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        or_none(&pairs.collect::<Vec<_>>().join(","))
    }),
];

/// The rules that look at one field of the spec.
const SPEC: Table = &[
    ("sessionAffinity", Rule::RequiredOneOf(&["ClientIP", "None"])),
    ("type", Rule::RequiredOneOf(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"])),
    ("ipFamilyPolicy", Rule::OneOf(&["PreferDualStack", "RequireDualStack", "SingleStack"])),
    ("internalTrafficPolicy", Rule::OneOf(&["Cluster", "Local"])),
    ("trafficDistribution", Rule::OneOf(&["PreferClose"])),
    ("loadBalancerClass", Rule::Name(names::qualified_name)),
];
/// The rules of one port.
const PORT: Table = &[
    ("port", Rule::Port),
    ("protocol", Rule::RequiredOneOf(PROTOCOLS)),
    ("appProtocol", Rule::Name(names::qualified_name)),
];
/// Upstream's longest time of an affinity, in seconds: a day.
const MAX_AFFINITY_SECONDS: i64 = 86_400;
/// Upstream's default, in seconds.
const AFFINITY_SECONDS: i64 = 10_800;
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";

fn spec() -> Path {
    Path::new("spec")
}

fn kind(service: &Value) -> &str {
    text(service, "/spec/type")
}

fn is_external(service: &Value) -> bool {
    kind(service) == "ExternalName"
}

fn is_headless(service: &Value) -> bool {
    text(service, "/spec/clusterIP") == "None" && list(service, "/spec/clusterIPs").len() <= 1
}

/// Whether something outside of the cluster may reach it.
fn is_exposed(service: &Value) -> bool {
    matches!(kind(service), "LoadBalancer" | "NodePort")
        || kind(service) == "ClusterIP" && !list(service, "/spec/externalIPs").is_empty()
}

fn needs_health_check(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(service, "/spec/externalTrafficPolicy") == "Local"
}

/// The rules of a service.
#[derive(Debug)]
pub(super) struct Service;

impl Service {
    /// Upstream's `SetDefaults_Service`, and the fields that its allocators derive.
    fn defaults(object: &mut Value) {
        if let Some(spec) = object.get_mut("spec") {
            default_to(spec, "type", "ClusterIP");
        }
        let exposed = is_exposed(object);
        let Some(spec) = object.get_mut("spec") else { return };
        default_to(spec, "sessionAffinity", "None");
        if text(spec, "/sessionAffinity") == "ClientIP" {
            let config = json!({ "clientIP": { "timeoutSeconds": AFFINITY_SECONDS } });
            default_to(spec, "sessionAffinityConfig", config);
        }
        if exposed {
            default_to(spec, "externalTrafficPolicy", "Cluster");
        }
        if text(spec, "/type") == "LoadBalancer" {
            default_to(spec, "allocateLoadBalancerNodePorts", true);
        }
        if text(spec, "/type") != "ExternalName" {
            default_to(spec, "internalTrafficPolicy", "Cluster");
            default_to(spec, "ipFamilyPolicy", "SingleStack");
            default_to(spec, "ipFamilies", json!(["IPv4"]));
            let address = text(spec, "/clusterIP").to_owned();
            if !address.is_empty() {
                default_to(spec, "clusterIPs", json!([address]));
            }
        }
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            default_to(port, "protocol", "TCP");
            let number = port.get("port").cloned().unwrap_or_default();
            if let Some(target) = port.get_mut("targetPort")
                && (*target == 0 || *target == "")
            {
                *target = Value::Null;
            }
            default_to(port, "targetPort", number);
        }
    }
}

impl Strategy for Service {
    fn name_rule(&self) -> NameRule {
        names::dns1035_label
    }

    fn prepare_create(&self, object: &mut Value) {
        Self::defaults(object);
        default_to(object, "status", json!({"loadBalancer": {}}));
    }

    fn prepare_update(&self, old: &Value, new: &mut Value) {
        // Addresses that an update leaves out stay.
        if !is_external(old) && !is_external(new) && text(new, "/spec/clusterIP").is_empty() {
            for field in ["clusterIP", "clusterIPs"] {
                let kept = old.get("spec").and_then(|spec| spec.get(field)).cloned();
                if let (Some(kept), Some(spec)) = (kept, new.get_mut("spec")) {
                    default_to(spec, field, kept);
                }
            }
        }
        Self::defaults(new);
    }

    /// Upstream's `ValidateService`.
    fn validate(&self, service: &Value) -> Errors {
        let mut errors = type_errors(service);
        let ports = list(service, "/spec/ports");
        let mut names = HashSet::new();
        errors.append(rules::check_items(
            service,
            "/spec/ports",
            &spec().child("ports"),
            |_, port, path, errors| {
                errors.append(port_errors(port, ports.len() > 1, &mut names, path));
            },
        ));
        if let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) {
            errors.append(validate_labels(selector, &spec().child("selector")));
        }
        errors.append(rules::check(&service["spec"], &spec(), SPEC));
        errors.append(affinity_errors(service));
        errors.append(address_errors(service));
        errors.append(duplicate_ports(service));
        errors.append(traffic_errors(service));
        errors
    }

    /// Upstream's `ValidateServiceUpdate`.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        let mut errors = address_changes(old, new);
        if needs_health_check(old) && needs_health_check(new) {
            let port = |service: &Value| service.pointer("/spec/healthCheckNodePort").cloned();
            if port(old) != port(new) {
                let path = spec().child("healthCheckNodePort");
                errors.push(Error::forbidden(&path, "field is immutable"));
            }
        }
        let class = |service: &Value| service.pointer("/spec/loadBalancerClass").cloned();
        if kind(old) == "LoadBalancer" && kind(new) == "LoadBalancer" && class(old) != class(new) {
            let shown = class(new).unwrap_or_default();
            let path = spec().child("loadBalancerClass");
            errors.push(Error::invalid(&path, &shown, "may not change once set"));
        }
        errors
    }

    fn exposes_ports(&self) -> bool {
        true
    }

    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "spec.clusterIP" | "spec.type")
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        match field {
            "spec.clusterIP" => Some(text(object, "/spec/clusterIP").to_owned()),
            "spec.type" => Some(text(object, "/spec/type").to_owned()),
            _ => None,
        }
    }
}

/// What a type asks for and rules out.
fn type_errors(service: &Value) -> Errors {
    let mut errors = Errors::new();
    if list(service, "/spec/ports").is_empty() && !is_headless(service) && !is_external(service) {
        errors.push(Error::required(&spec().child("ports"), ""));
    }
    match kind(service) {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(service) => {
            let path = spec().child("clusterIPs").index(0);
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(Error::invalid(&path, "None", detail));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let value = &service["spec"][field];
                if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
                    let detail = "may not be set for ExternalName services";
                    errors.push(Error::forbidden(&spec().child(field), detail));
                }
            }
            let name = text(service, "/spec/externalName");
            let path = spec().child("externalName");
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.push(Error::required(&path, "")),
                name => errors.append(rules::name_errors(name, &path, names::dns1123_subdomain)),
            }
        }
        _ => {}
    }
    errors
}

/// Upstream's `validateServicePort`.
fn port_errors<'a>(
    port: &'a Value,
    needs_name: bool,
    names: &mut HashSet<String>,
    path: &Path,
) -> Errors {
    let mut errors = Errors::new();
    let name: &'a str = text(port, "/name");
    if !name.is_empty() {
        let path = path.child("name");
        errors.append(rules::name_errors(name, &path, names::dns1123_label));
        if !names.insert(name.to_owned()) {
            errors.push(Error::duplicate(&path, name));
        }
    } else if needs_name {
        errors.push(Error::required(&path.child("name"), ""));
    }
    errors.append(rules::check(port, path, PORT));
    errors.append(rules::port_or_name(port.get("targetPort"), &path.child("targetPort")));
    errors
}

/// Upstream's `validateClientIPAffinityConfig`.
fn affinity_errors(service: &Value) -> Errors {
    let path = spec().child("sessionAffinityConfig");
    let config = service.pointer("/spec/sessionAffinityConfig").filter(|it| !it.is_null());
    match (text(service, "/spec/sessionAffinity"), config) {
        ("None", Some(_)) => {
            Error::forbidden(&path, "must not be set when session affinity is None").into()
        }
        ("ClientIP", config) => {
            let path = path.child("clientIP").child("timeoutSeconds");
            match config.and_then(|config| config.pointer("/clientIP/timeoutSeconds")) {
                None | Some(Value::Null) => {
                    let detail = "when session affinity type is ClientIP";
                    Error::required(&path, detail).into()
                }
                Some(seconds)
                    if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds.as_i64().unwrap_or(0)) =>
                {
                    let detail = format!(
                        "must be greater than 0 and less than or equal to {MAX_AFFINITY_SECONDS}"
                    );
                    Error::invalid(&path, seconds, detail).into()
                }
                Some(_) => Errors::new(),
            }
        }
        _ => Errors::new(),
    }
}

/// Upstream's `ValidateServiceClusterIPsRelatedFields`, and the external addresses.
fn address_errors(service: &Value) -> Errors {
    let mut errors = Errors::new();
    if !is_external(service) {
        let path = spec().child("clusterIPs");
        let all = service.pointer("/spec/clusterIPs").unwrap_or(&Value::Null);
        let addresses: Vec<&str> =
            list(service, "/spec/clusterIPs").iter().filter_map(Value::as_str).collect();
        for (index, address) in addresses.iter().enumerate() {
            if *address == "None" && addresses.len() > 1 {
                let detail = "'None' must be the first and only value";
                errors.push(Error::invalid(&path, all, detail));
            } else if *address != "None" {
                errors.append(rules::address(address, &path.index(index)));
            }
        }
        if addresses.len() > 2 {
            errors.push(Error::invalid(&path, all, "may only hold up to 2 values"));
        }
        let first = addresses.first().copied().unwrap_or_default();
        if first != text(service, "/spec/clusterIP") {
            errors.push(Error::invalid(&path, all, "first value must match `clusterIP`"));
        }
        let mut families = HashSet::new();
        let path = spec().child("ipFamilies");
        for (index, family) in list(service, "/spec/ipFamilies").iter().enumerate() {
            let family = family.as_str().unwrap_or_default();
            errors.append(
                Rule::RequiredOneOf(&["IPv4", "IPv6"])
                    .errors(Some(&family.into()), &path.index(index)),
            );
            if !families.insert(family) {
                errors.push(Error::duplicate(&path.index(index), family));
            }
        }
    }
    let path = spec().child("externalIPs");
    errors.append(rules::check_items(
        service,
        "/spec/externalIPs",
        &path,
        |_, ip, path, errors| {
            errors.append(rules::address(ip.as_str().unwrap_or_default(), path));
        },
    ));
    errors
}

/// Ports that occur twice, and node ports of services that have none.
fn duplicate_ports(service: &Value) -> Errors {
    let (mut ports, mut node_ports) = (HashSet::new(), HashSet::new());
    let path = spec().child("ports");
    rules::check_items(service, "/spec/ports", &path, |_, port, path, errors| {
        let number = |field| port.get(field).and_then(Value::as_i64).unwrap_or_default();
        let protocol = text(port, "/protocol").to_owned();
        let node_port = number("nodePort");
        if node_port != 0 {
            let path = path.child("nodePort");
            if kind(service) == "ClusterIP" {
                let detail = "may not be used when `type` is 'ClusterIP'";
                errors.push(Error::forbidden(&path, detail));
            }
            if !node_ports.insert((protocol.clone(), node_port)) {
                errors.push(Error::duplicate(&path, node_port));
            }
        }
        let shown = json!({ "protocol": protocol, "port": number("port") });
        if !ports.insert((protocol, number("port"))) {
            errors.push(Error::duplicate(path, &shown));
        }
    })
}

/// Load balancers and traffic policies (upstream's `validateServiceExternalTrafficPolicy`).
fn traffic_errors(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let is_balanced = kind(service) == "LoadBalancer";
    let path = spec().child("LoadBalancerSourceRanges");
    let ranges = list(service, "/spec/loadBalancerSourceRanges");
    if !ranges.is_empty() && !is_balanced {
        errors.push(Error::forbidden(&path, ONLY_LOAD_BALANCER));
    }
    for (index, range) in ranges.iter().enumerate() {
        errors.append(rules::cidr(range.as_str().unwrap_or_default().trim(), &path.index(index)));
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !service["spec"][field].is_null() && !is_balanced {
            errors.push(Error::forbidden(&spec().child(field), ONLY_LOAD_BALANCER));
        }
    }
    let path = spec().child("externalTrafficPolicy");
    let policy = service.pointer("/spec/externalTrafficPolicy");
    if is_exposed(service) {
        errors.append(Rule::RequiredOneOf(&["Cluster", "Local"]).errors(policy, &path));
    } else if let Some(policy) = policy.filter(|policy| rules::is_set(Some(policy))) {
        let detail = "may only be set for externally-accessible services";
        errors.push(Error::invalid(&path, policy, detail));
    }
    let port = service.pointer("/spec/healthCheckNodePort").filter(|port| **port != 0);
    if let Some(port) = port.filter(|port| !port.is_null() && !needs_health_check(service)) {
        let path = spec().child("healthCheckNodePort");
        let detail =
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&path, port, detail));
    }
    errors
}

/// Upstream's `validateUpgradeDowngradeClusterIPs`: the first address stays.
fn address_changes(old: &Value, new: &Value) -> Errors {
    let path = spec().child("clusterIPs").index(0);
    let first = |service| list(service, "/spec/clusterIPs").first();
    let shown = new.pointer("/spec/clusterIPs").cloned().unwrap_or_default();
    match (first(old), first(new)) {
        _ if is_external(old) || is_external(new) => Errors::new(),
        (Some(_), None) => {
            Error::invalid(&path, &shown, "primary clusterIP can not be unset").into()
        }
        (Some(old), Some(new)) if old != new => {
            Error::invalid(&path, &shown, "may not change once set").into()
        }
        _ => Errors::new(),
    }
}
