//! What an update of a pod may change (`ValidatePodUpdate`).

use serde_json::{Map, Value};

use super::scheduling;
use super::view::{Context, View};
use super::{CONTAINER_LISTS, annotations, defaults, validate_pod, with_context};
use crate::field::{BadValue, Error, Errors, Path, Paths};
use crate::json::equal;
use crate::quantity::Quantity;
use crate::schema::Trail;

/// The fields that may change, as the message lists them.
const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The most changed fields that a message lists.
const MAX_SHOWN: usize = 10;

/// Reports what an update may not do, and what is wrong with the new pod and was not with the old
/// one: an earlier release may have stored a pod that is refused today. The new pod has its
/// defaults.
#[must_use]
pub fn validate_update(old: &Value, new: &Value) -> Errors {
    let mut old = old.clone();
    defaults::fill_pod(&mut old);
    let mut errors = validate_pod(new);
    if !errors.is_empty() {
        errors = errors.without(&validate_pod(&old));
    }
    let empty = Value::Object(Map::new());
    let part = |pod: &Value, name: &str| pod.get(name).cloned().unwrap_or_else(|| empty.clone());
    let (old_meta, new_meta) = (part(&old, "metadata"), part(new, "metadata"));
    let path = Path::new("metadata");
    let (old_spec, new_spec) = (part(&old, "spec"), part(new, "spec"));
    with_context(&new_spec, "", true, &mut errors, |context| {
        let (old, new) = (View::new(&old_meta, &path), View::new(&new_meta, &path));
        annotations::check_kept(&old.get("annotations"), &new.get("annotations"), context);
    });
    if !equal(&old_spec, &new_spec) {
        with_context(&new_spec, "", true, &mut errors, |context| {
            let path = Path::new("spec");
            check(&View::new(&old_spec, &path), &View::new(&new_spec, &path), context);
        });
    }
    errors
}

fn check<'v>(old: &View<'v, '_>, new: &View<'v, '_>, context: &mut Context<'v>) {
    for name in CONTAINER_LISTS {
        let list = new.get(name);
        if list.items().count() != old.get(name).items().count() {
            return list.forbidden("pod updates may not add or remove containers", context);
        }
    }
    if !check_deadline(old, new, context) {
        return;
    }
    let field = |name| (old.get(name), new.get(name));
    let (before, after) = field("tolerations");
    scheduling::check_kept_tolerations(&before, &after, context);
    let (before, after) = field("schedulingGates");
    scheduling::check_kept_gates(&before, &after, context);
    let is_gated = !before.is_empty();
    if is_gated {
        let (before, after) = field("nodeSelector");
        scheduling::check_narrowed_selector(&before, &after, context);
        let (before, after) = field("affinity");
        let (before, after) = (before.get("nodeAffinity"), after.get("nodeAffinity"));
        scheduling::check_narrowed_affinity(&before, &after, context);
    }
    let (before, after) = field("terminationGracePeriodSeconds");
    let may_end = before.int().is_some_and(|seconds| seconds < 0) && after.int() == Some(1);
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        remove_updatable(&mut spec, is_gated, may_end);
        spec
    };
    let path = new.path();
    let mut changed = Paths::default();
    compare(&fixed(old.value), &fixed(new.value), "", &Trail::Start(&path), &mut changed);
    if !changed.is_empty() {
        context.errors.push(Error::forbidden(&path, message(&changed.into_vec())));
    }
}

/// Upstream's message, and the fields that changed instead of its comparison of the specs.
fn message(changed: &[String]) -> String {
    let shown = changed.get(..MAX_SHOWN).unwrap_or(changed).join(", ");
    let more = if changed.len() > MAX_SHOWN { ", …" } else { "" };
    format!("{UPDATABLE}\nchanged: {shown}{more}")
}

/// The deadline may come, and come closer; false after an error, where upstream stops.
fn check_deadline(old: &View<'_, '_>, new: &View<'_, '_>, context: &mut Context<'_>) -> bool {
    let deadline = new.get("activeDeadlineSeconds");
    let detail = match (old.get("activeDeadlineSeconds").int(), deadline.int()) {
        (Some(old), Some(new)) if old < new => "must be less than or equal to previous value",
        (Some(_), None) => "must not update from a positive integer to nil value",
        _ => return true,
    };
    let is_null = deadline.value.is_null();
    let shown = if is_null { BadValue::bare("null") } else { deadline.value.into() };
    deadline.invalid_as(shown, detail, context);
    is_null
}

/// Removes what may change from a spec.
fn remove_updatable(spec: &mut Value, is_gated: bool, may_end: bool) {
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("image");
        }
    }
    let Some(spec) = spec.as_object_mut() else { return };
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        spec.remove(field);
    }
    if may_end {
        spec.remove("terminationGracePeriodSeconds");
    }
    if is_gated {
        spec.remove("nodeSelector");
        let affinity = spec.get_mut("affinity").and_then(Value::as_object_mut);
        let is_gone = affinity.is_some_and(|affinity| {
            affinity.remove("nodeAffinity");
            affinity.values().all(Value::is_null)
        });
        if is_gone {
            spec.remove("affinity");
        }
    }
}

/// Finds the fields that differ: a missing list is an empty one, and amounts are compared by what
/// they count. `field` is the name of the field that has the values.
fn compare(old: &Value, new: &Value, field: &str, at: &Trail<'_>, changed: &mut Paths) {
    if changed.is_full() {
        return;
    }
    let is_map = matches!(field, "limits" | "requests" | "overhead" | "nodeSelector");
    let is_unset = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => is_map && members.is_empty(),
        _ => false,
    };
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let none = Value::Null;
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let (old, new) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
                let at = at.member(key);
                match is_map.then(|| (Quantity::from_value(old), Quantity::from_value(new))) {
                    Some((Ok(old), Ok(new))) if old == new => {}
                    Some((Ok(_), Ok(_))) => changed.push_with(|| at.path()),
                    _ => compare(old, new, key, &at, changed),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(old, new, "", &at.item(index), changed);
            }
        }
        (old, new) if (is_unset(old) && is_unset(new)) || equal(old, new) => {}
        _ => changed.push_with(|| at.path()),
    }
}
