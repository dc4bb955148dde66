//! Requests and limits of containers and pods.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::view::{Context, View};
use crate::field::Error;
use crate::names;
use crate::quantity::Quantity;
use crate::quota;

/// Resources that count objects, which come as whole numbers.
const COUNTED: [&str; 9] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// Resources that a container or a pod may ask for by their plain names.
const PLAIN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const PAGES: &str = "hugepages-";

/// `ValidateContainerResourceRequirements`.
pub(super) fn check_container<'v>(resources: &View<'v, '_>, context: &mut Context<'v>) {
    check_requirements(resources, check_container_name, context);
}

/// `validateOverhead`: the overhead counts as limits.
pub(super) fn check_overhead<'v>(overhead: &View<'v, '_>, context: &mut Context<'v>) {
    let limits = overhead.get("limits").showing(overhead.value);
    check_amounts(&limits, check_container_name, context);
    let has = |wanted: fn(&str) -> bool| limits.entries().any(|(name, _)| wanted(name));
    if has(is_pages) && !has(is_compute) {
        overhead.forbidden("HugePages require cpu or memory", context);
    }
}

/// `validatePodResources`.
pub(super) fn check_pod<'v>(resources: &View<'v, '_>, context: &mut Context<'v>) {
    if context.spec.pointer("/os/name").and_then(Value::as_str) == Some("windows") {
        return resources.forbidden("may not be set for a windows pod", context);
    }
    if let Some(claims) = resources.given("claims") {
        claims.forbidden("claims may not be set for Resources at pod-level", context);
    }
    check_requirements(resources, check_pod_name, context);
    check_consistency(resources, context);
}

/// `validatePodResourceConsistency`: a pod has no less than its containers.
fn check_consistency(resources: &View<'_, '_>, context: &mut Context<'_>) {
    let mut spec = context.spec.clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("overhead");
        spec.remove("resources");
    }
    let pod = serde_json::json!({ "spec": spec });
    for kind in ["requests", "limits"] {
        let own = resources.get(kind);
        for (name, total) in quota::pod_total(&pod, kind) {
            let own = own.key(&name);
            let Ok(amount) = Quantity::from_value(own.value) else { continue };
            if total > amount && (kind == "requests" || is_pages(&name)) {
                let detail = format!(
                    "must be greater than or equal to aggregate container {kind} of {total}"
                );
                own.invalid_as(amount.to_string(), detail, context);
            }
        }
    }
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    for (index, container) in containers.into_iter().flatten().enumerate() {
        for (name, limit) in quota::of_container(container, "limits") {
            let most = resources.get("limits").key(&name).value;
            let Ok(most) = Quantity::from_value(most) else { continue };
            if limit > most {
                let path =
                    resources.path().child("containers").index(index).key(&name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {most}");
                context.errors.push(Error::invalid(&path, limit.to_string(), detail));
            }
        }
    }
}

type NameCheck = fn(&str, &View<'_, '_>, &mut Context<'_>);

/// `validateResourceRequirements`.
fn check_requirements<'v>(
    resources: &View<'v, '_>,
    check_name: NameCheck,
    context: &mut Context<'v>,
) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    check_amounts(&limits, check_name, context);
    for (name, request) in requests.entries() {
        check_amount(name, &request, check_name, context);
        let Ok(amount) = Quantity::from_value(request.value) else { continue };
        let fixed = is_extended(name) || is_pages(name);
        match limits.value.get(name).map(Quantity::from_value) {
            Some(Ok(limit)) if fixed && amount != limit => {
                let detail = format!("must be equal to {name} limit of {limit}");
                requests.invalid_as(amount.to_string(), detail, context);
            }
            Some(Ok(limit)) if amount > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                requests.invalid_as(amount.to_string(), detail, context);
            }
            None if fixed => {
                limits.required("Limit must be set for non overcommitable resources", context);
            }
            _ => {}
        }
    }
    let names = || limits.entries().chain(requests.entries()).map(|(name, _)| name);
    if names().any(is_pages) && !names().any(is_compute) {
        resources.forbidden("HugePages require cpu or memory", context);
    }
    check_claims(&resources.get("claims"), context);
}

fn check_amounts(amounts: &View<'_, '_>, check_name: NameCheck, context: &mut Context<'_>) {
    for (name, amount) in amounts.entries() {
        check_amount(name, &amount, check_name, context);
    }
}

fn check_amount(name: &str, view: &View<'_, '_>, check_name: NameCheck, context: &mut Context<'_>) {
    check_name(name, view, context);
    let Ok(amount) = Quantity::from_value(view.value) else { return };
    if amount.is_negative() {
        view.invalid_as(amount.to_string(), "must be greater than or equal to 0", context);
    }
    if (COUNTED.contains(&name) || is_extended_name(name)) && !amount.is_whole() {
        view.invalid_as(amount.to_string(), "must be an integer", context);
    }
    if let Some(size) = name.strip_prefix(PAGES) {
        let size = Quantity::parse(size).ok().filter(|size| size.is_whole() && size.value() > 0);
        if size.is_none_or(|size| amount.value().checked_rem(size.value()) != Some(0)) {
            let detail = format!("{amount} is not positive integer multiple of {name}");
            view.invalid_as(amount.to_string(), detail, context);
        }
    }
}

/// `validateResourceName`; false after an error.
fn check_resource_name(name: &str, view: &View<'_, '_>, context: &mut Context<'_>) -> bool {
    let complaints = names::qualified_name(name);
    let is_standard = || {
        let plain =
            name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
        PLAIN.contains(&plain)
            || COUNTED.contains(&name)
            || matches!(name, "storage" | "requests.storage")
            || is_pages(name)
            || name.strip_prefix("requests.").is_some_and(is_pages)
    };
    let unknown = complaints.is_empty() && !name.contains('/') && !is_standard();
    let known = complaints.is_empty() && !unknown;
    for complaint in complaints {
        view.invalid_as(name, complaint, context);
    }
    if unknown {
        view.invalid_as(name, "must be a standard resource type or fully qualified", context);
    }
    known
}

/// `validateContainerResourceName`.
fn check_container_name(name: &str, view: &View<'_, '_>, context: &mut Context<'_>) {
    check_resource_name(name, view, context);
    if !name.contains('/') {
        if !PLAIN.contains(&name) && !is_pages(name) {
            view.invalid_as(name, "must be a standard resource for containers", context);
        }
    } else if is_extended(name) && !is_extended_name(name) {
        view.invalid_as(name, "doesn't follow extended resource name standard", context);
    }
}

/// `validatePodResourceName`.
fn check_pod_name(name: &str, view: &View<'_, '_>, context: &mut Context<'_>) {
    if check_resource_name(name, view, context)
        && !matches!(name, "cpu" | "memory")
        && !is_pages(name)
    {
        let error = Error::not_supported(&view.path(), name, &["cpu", PAGES, "memory"]);
        context.errors.push(error);
    }
}

fn is_pages(name: &str) -> bool {
    name.starts_with(PAGES)
}

fn is_compute(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

/// Whether a resource belongs to a device plugin or the like: it cannot be overcommitted.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

/// `IsExtendedResourceName`: its name has room for the prefix of a quota.
fn is_extended_name(name: &str) -> bool {
    is_extended(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// `validateResourceClaimNames`.
fn check_claims<'v>(claims: &View<'v, '_>, context: &mut Context<'v>) {
    let (mut seen, mut of_claim) = (HashSet::new(), HashSet::new());
    for item in claims.objects() {
        let (name, request) = (item.text("name"), item.get("request"));
        if name.is_empty() {
            item.required("", context);
            continue;
        }
        // A claim as a whole, one of its requests, or both, which is too much.
        if seen.contains(&(name, "")) {
            item.duplicate(name, context);
        } else {
            if !request.is_empty() {
                request.check_text(names::dns1123_label, context);
            }
            if !seen.insert((name, request.str())) {
                item.duplicate(&format!("{name}/{}", request.str()), context);
            } else if request.is_empty() && of_claim.contains(name) {
                item.duplicate(name, context);
            }
            of_claim.insert(name);
        }
        if !context.claims.contains(name) {
            let mut error = Error::not_found(&item.path(), name);
            error.detail = format!(
                "must be one of the names in pod.spec.resourceClaims{}",
                listed(&context.claims)
            );
            context.errors.push(error);
        }
    }
}

/// The first names of a list that may be as long as a request.
fn listed(names: &BTreeSet<&str>) -> String {
    const LONGEST: usize = 1024;
    let mut text = String::new();
    for name in names {
        text.push_str(if text.is_empty() { ": " } else { ", " });
        text.push_str(name);
        if text.len() > LONGEST {
            break;
        }
    }
    if text.is_empty() { " which is empty".to_owned() } else { text }
}
