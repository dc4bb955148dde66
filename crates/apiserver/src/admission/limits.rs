//! Limit ranges: defaults and bounds for the resources of a pod (upstream's `limitranger` plug-in).

use std::collections::BTreeSet;

use mxjob_machinery::json::{list, text};
use mxjob_machinery::quota::{Amounts, amounts, of_container as of, pod_total};
use serde_json::{Value, json};

use super::{refused, stored};
use crate::context::Context;
use crate::document;
use crate::error::ApiError;

/// The annotation that lists the defaults that were filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
/// Groups of containers and how they are called.
const GROUPS: [(&str, &str); 2] =
    [("containers", "container"), ("initContainers", "init container")];

/// The type of limits of claims.
const CLAIM: &str = "PersistentVolumeClaim";

fn ranges(context: &Context<'_>) -> Vec<Value> {
    let entries = stored(&context.services.store, "", "v1", "limitranges", context.path.namespace);
    entries.iter().map(|entry| document::decode(&entry.value)).collect()
}

fn items<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    list(range, "/spec/limits").iter().filter(move |item| text(item, "/type") == kind)
}

/// Fills in the defaults of the namespace's limit ranges.
pub(super) fn apply_defaults(context: &Context<'_>, pod: &mut Value) {
    let mut notes = Vec::new();
    for range in ranges(context) {
        for item in items(&range, "Container") {
            for (group, words) in GROUPS {
                let containers = pod
                    .get_mut("spec")
                    .and_then(|spec| spec.get_mut(group))
                    .and_then(Value::as_array_mut);
                for container in containers.into_iter().flatten() {
                    let requests = fill(container, "requests", item.get("defaultRequest"));
                    let limits = fill(container, "limits", item.get("default"));
                    let name = text(container, "/name");
                    for (filled, what) in [(requests, "request"), (limits, "limit")] {
                        if !filled.is_empty() {
                            notes.push(format!("{} {what} for {words} {name}", filled.join(", ")));
                        }
                    }
                }
            }
        }
    }
    if !notes.is_empty() {
        let annotations =
            document::metadata_mut(pod).entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(
                ANNOTATION.to_owned(),
                format!("LimitRanger plugin set: {}", notes.join("; ")).into(),
            );
        }
    }
}

/// Adds what is missing, and names it.
fn fill(container: &mut Value, kind: &str, defaults: Option<&Value>) -> Vec<String> {
    let mut filled = Vec::new();
    let Some(container) = container.as_object_mut() else { return filled };
    for (resource, value) in defaults.and_then(Value::as_object).into_iter().flatten() {
        let resources = container.entry("resources").or_insert_with(|| json!({}));
        let Some(resources) = resources.as_object_mut() else { return filled };
        let amounts = resources.entry(kind).or_insert_with(|| json!({}));
        let Some(amounts) = amounts.as_object_mut() else { return filled };
        if !amounts.contains_key(resource) {
            amounts.insert(resource.clone(), value.clone());
            filled.push(resource.clone());
        }
    }
    filled
}

/// Checks a pod against the namespace's limit ranges.
///
/// # Errors
/// 403 that lists every violated limit.
pub(super) fn check(context: &Context<'_>, pod: &Value) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    for range in ranges(context) {
        for item in items(&range, "Container") {
            for (group, _) in GROUPS {
                for container in list(pod, &format!("/spec/{group}")) {
                    check_item(
                        item,
                        "Container",
                        &of(container, "requests"),
                        &of(container, "limits"),
                        &mut errors,
                    );
                }
            }
        }
        for item in items(&range, "Pod") {
            check_item(
                item,
                "Pod",
                &pod_total(pod, "requests"),
                &pod_total(pod, "limits"),
                &mut errors,
            );
        }
    }
    refuse(context, pod, errors)
}

/// Checks a claim against the namespace's limit ranges.
///
/// # Errors
/// 403 that lists every violated limit.
pub(super) fn check_claim(context: &Context<'_>, claim: &Value) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let requests = amounts(claim.pointer("/spec/resources/requests"));
    for range in ranges(context) {
        for item in items(&range, CLAIM) {
            for (bound, words) in [("min", "minimum"), ("max", "maximum")] {
                for (name, bound) in amounts(item.get(bound)) {
                    let Some(request) = requests.get(&name) else { continue };
                    if words == "minimum" && *request < bound
                        || words == "maximum" && *request > bound
                    {
                        errors.push(format!(
                            "{words} {name} usage per {CLAIM} is {bound}, but request is {request}"
                        ));
                    }
                }
            }
        }
    }
    refuse(context, claim, errors)
}

fn refuse(context: &Context<'_>, object: &Value, mut errors: Vec<String>) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    let why = match errors.as_slice() {
        [] => return Ok(()),
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    Err(refused(context.kind, document::meta_str(object, "name"), &why))
}

fn check_item(
    item: &Value,
    kind: &str,
    requests: &Amounts,
    limits: &Amounts,
    errors: &mut Vec<String>,
) {
    for (name, bound) in amounts(item.get("min")) {
        let (request, limit) = (requests.get(&name), limits.get(&name));
        let rule = format!("minimum {name} usage per {kind} is {bound}");
        match (request, limit) {
            (None, _) => errors.push(format!("{rule}.  No request is specified")),
            (Some(request), _) if *request < bound => {
                errors.push(format!("{rule}, but request is {request}"))
            }
            (_, Some(limit)) if *limit < bound => {
                errors.push(format!("{rule}, but limit is {limit}"))
            }
            _ => {}
        }
    }
    for (name, bound) in amounts(item.get("max")) {
        let (request, limit) = (requests.get(&name), limits.get(&name));
        let rule = format!("maximum {name} usage per {kind} is {bound}");
        match (request, limit) {
            (_, None) => errors.push(format!("{rule}.  No limit is specified")),
            (_, Some(limit)) if *limit > bound => {
                errors.push(format!("{rule}, but limit is {limit}"))
            }
            (Some(request), _) if *request > bound => {
                errors.push(format!("{rule}, but request is {request}"))
            }
            _ => {}
        }
    }
    for (name, bound) in amounts(item.get("maxLimitRequestRatio")) {
        let amount =
            |amounts: &Amounts| amounts.get(&name).copied().filter(|amount| !amount.is_zero());
        let rule = format!("{name} max limit to request ratio per {kind} is {bound}");
        match (amount(requests), amount(limits)) {
            (None, _) => {
                errors.push(format!("{rule}, but no request is specified or request is 0"))
            }
            (_, None) => errors.push(format!("{rule}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = limit.to_f64() / request.to_f64();
                if ratio > bound.to_f64() {
                    errors.push(format!("{rule}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(requests: &Value, limits: &Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    fn check_bounds(item: &Value, container: &Value, want: &[&str]) {
        let mut errors = Vec::new();
        check_item(
            item,
            "Container",
            &of(container, "requests"),
            &of(container, "limits"),
            &mut errors,
        );
        assert_eq!(errors, want, "{item} {container}");
    }

    #[test]
    fn messages_of_violated_limits_are_those_of_upstream() {
        let none = container(&json!({}), &json!({}));
        let some = container(&json!({"cpu": "200m"}), &json!({"cpu": 2}));
        let min = |cpu: &str| json!({"min": {"cpu": cpu}});
        let max = |cpu: &str| json!({"max": {"cpu": cpu}});
        let ratio = |cpu: &str| json!({"maxLimitRequestRatio": {"cpu": cpu}});
        check_bounds(&min("100m"), &some, &[]);
        check_bounds(
            &min("100m"),
            &none,
            &["minimum cpu usage per Container is 100m.  No request is specified"],
        );
        check_bounds(
            &min("0.5"),
            &some,
            &["minimum cpu usage per Container is 500m, but request is 200m"],
        );
        check_bounds(&max("2"), &some, &[]);
        check_bounds(
            &max("2"),
            &none,
            &["maximum cpu usage per Container is 2.  No limit is specified"],
        );
        check_bounds(&max("1"), &some, &["maximum cpu usage per Container is 1, but limit is 2"]);
        check_bounds(&ratio("10"), &some, &[]);
        check_bounds(
            &ratio("4"),
            &some,
            &["cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000"],
        );
        check_bounds(
            &ratio("4"),
            &none,
            &[
                "cpu max limit to request ratio per Container is 4, but no request is specified or request is 0",
            ],
        );
    }
}
