//! What an update of a pod's status may change (`ValidatePodStatusUpdate`).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::view::{Context, View};
use super::{ip_address, with_context};
use crate::field::{Errors, Path};
use crate::names;

/// Reports what a new status of a pod may not say.
#[must_use]
pub fn validate_status_update(old: &Value, new: &Value) -> Errors {
    let empty = Value::Object(Map::new());
    let part = |pod: &'_ Value, name| pod.get(name).cloned().unwrap_or_else(|| empty.clone());
    let (spec, before, after) = (part(old, "spec"), part(old, "status"), part(new, "status"));
    let path = Path::new("status");
    let mut errors = Errors::new();
    with_context(&spec, "", true, &mut errors, |context| {
        check(&View::new(&before, &path), &View::new(&after, &path), context);
    });
    errors
}

fn check<'v>(old: &View<'v, '_>, new: &View<'v, '_>, context: &mut Context<'v>) {
    for condition in new.get("conditions").objects() {
        let kind = condition.text("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            for complaint in names::qualified_name(kind) {
                condition.get("Type").invalid_as(kind, complaint, context);
            }
        }
        check_generation(&condition, context);
    }
    let nominated = new.get("nominatedNodeName");
    if !nominated.is_empty() && nominated.value != old.get("nominatedNodeName").value {
        nominated.check_text(names::dns1123_subdomain, context);
    }
    check_generation(new, context);
    let quality = new.get("qosClass");
    // A status without the class keeps the one that the pod has.
    if !quality.is_empty() && quality.value != old.get("qosClass").value {
        quality.invalid("field is immutable", context);
    }
    for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        check_transitions(&old.get(list), &new.get(list), list, context);
    }
    check_addresses(&old.get("podIPs"), &new.get("podIPs"), context);
    let hosts = new.get("hostIPs");
    if let Some(first) = hosts.objects().next()
        && first.text("ip") != new.text("hostIP")
    {
        first.get("ip").invalid("must be equal to `hostIP`", context);
    }
    check_addresses(&old.get("hostIPs"), &hosts, context);
}

fn check_generation(object: &View<'_, '_>, context: &mut Context<'_>) {
    let generation = object.get("observedGeneration");
    if generation.int().is_some_and(|number| number < 0) {
        generation.invalid("must be a non-negative integer", context);
    }
}

/// `ValidateContainerStateTransition` and those of the other lists: a container that has ended does
/// not come back unless its pod's restart policy starts it again.
fn check_transitions<'v>(
    old: &View<'v, '_>,
    new: &View<'v, '_>,
    list: &str,
    context: &mut Context<'v>,
) {
    let policy = context.spec.get("restartPolicy").and_then(Value::as_str).unwrap_or_default();
    let is_ephemeral = list == "ephemeralContainerStatuses";
    if policy == "Always" && !is_ephemeral {
        return;
    }
    let runs: HashMap<&str, bool> = new
        .objects()
        .map(|status| (status.text("name"), status.get("state").given("terminated").is_none()))
        .collect();
    for status in old.objects() {
        let state = status.get("state");
        let Some(ended) = state.given("terminated") else { continue };
        let failed = ended.get("exitCode").int().unwrap_or_default() != 0;
        let may_restart = !is_ephemeral
            && ((policy == "OnFailure" && failed)
                || (list == "initContainerStatuses"
                    && is_sidecar(context.spec, status.text("name"))));
        if !may_restart && runs.get(status.text("name")) == Some(&true) {
            let detail = "may not be transitioned to non-terminated state";
            state.forbidden(detail, context);
        }
    }
}

fn is_sidecar(spec: &Value, name: &str) -> bool {
    let containers = spec.get("initContainers").and_then(Value::as_array).into_iter().flatten();
    let is = |container: &Value, field, value| {
        container.get(field).and_then(Value::as_str) == Some(value)
    };
    containers.into_iter().any(|it| is(it, "name", name) && is(it, "restartPolicy", "Always"))
}

/// `validatePodIPs` and `validateHostIPs`: addresses, at most one of each family.
fn check_addresses<'v>(old: &View<'v, '_>, new: &View<'v, '_>, context: &mut Context<'v>) {
    let known: Vec<&str> = old.objects().map(|item| item.text("ip")).collect();
    let (mut of_v4, mut of_v6) = (0_usize, 0_usize);
    for item in new.objects() {
        let address = item.text("ip");
        *(if address.contains(':') { &mut of_v6 } else { &mut of_v4 }) += 1;
        // What is stored may stay; a pod has two addresses at most, so the list is short.
        if known.iter().take(2).any(|known| *known == address) {
            continue;
        }
        for complaint in ip_address(address) {
            item.invalid_as(address, complaint, context);
        }
    }
    if of_v4 > 1 || of_v6 > 1 {
        new.invalid("may specify no more than one IP for each IP family", context);
    }
}
