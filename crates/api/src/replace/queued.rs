//! The changes that Kueue makes to a job when it starts or stops it: pod placement and markers.
//!
//! Kueue holds a queued job back with `suspend`. When there is capacity, it writes the placement of
//! the pods into the templates and unsets `suspend` in the same change. When it withdraws the
//! capacity, it sets `suspend` and restores the templates.

use serde_json::{Map, Value};

use crate::labels::{ATTEMPT_ANNOTATION, QUEUE_NAME};
use crate::layout::Field;
use crate::mxjob::TUNER_KEY_ANNOTATION;

/// The objects in a role's template that have changeable members, and these members.
const OPEN: [(&str, &[&str]); 2] = [
    ("metadata", &["labels", "annotations"]),
    ("spec", &["nodeSelector", "tolerations", "schedulingGates"]),
];

/// Annotations that stay immutable: the first is an alias of an immutable field, the second is the
/// controller's own.
const FIXED_ANNOTATIONS: [&str; 2] = [TUNER_KEY_ANNOTATION, ATTEMPT_ANNOTATION];

/// Whether Kueue may make the change: it concerns a queued job that is suspended before or after
/// it.
pub(super) fn is_open(old: &Value, new: &Value) -> bool {
    is_queued(old) && is_queued(new) && (is_suspended(old) || is_suspended(new))
}

/// Whether a job waits in a Kueue queue, or was started by one.
pub(crate) fn is_queued(job: &Value) -> bool {
    job.pointer("/metadata/labels")
        .and_then(|labels| labels.get(QUEUE_NAME))
        .is_some_and(Value::is_string)
}

fn is_suspended(job: &Value) -> bool {
    let value = job.get("spec").and_then(|spec| Field::suspend().value(spec));
    value.and_then(Value::as_bool).unwrap_or(false)
}

/// The spec without the changeable parts of its templates.
pub(super) fn masked(job: &Value) -> Option<Value> {
    let mut spec = job.get("spec")?.clone();
    let roles = spec.get_mut("mxReplicaSpecs").and_then(Value::as_object_mut);
    for role in roles.into_iter().flat_map(Map::values_mut) {
        if let Some(template) = role.get_mut("template").and_then(Value::as_object_mut) {
            mask(template);
        }
    }
    Some(spec)
}

fn mask(template: &mut Map<String, Value>) {
    for (place, members) in OPEN {
        let Some(object) = template.get_mut(place).and_then(Value::as_object_mut) else { continue };
        for member in members {
            if !keeps_fixed(object.get_mut(*member)) {
                object.remove(*member);
            }
        }
        // An object that exists only for a changeable member is no change either.
        if object.values().all(Value::is_null) {
            template.remove(place);
        }
    }
}

/// Keeps only the immutable annotations; returns whether there are any.
fn keeps_fixed(member: Option<&mut Value>) -> bool {
    let Some(entries) = member.and_then(Value::as_object_mut) else { return false };
    entries.retain(|key, value| FIXED_ANNOTATIONS.contains(&key.as_str()) && value.is_string());
    !entries.is_empty()
}
