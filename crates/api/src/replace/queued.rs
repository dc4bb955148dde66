//! What Kueue changes in a job that it starts and stops: where the pods may go, and how they are marked.
//!
//! Kueue holds a queued job back by `suspend`. When there is room it puts the place of the pods into the templates and lifts `suspend` in
//! the same change; when it takes the room away it sets `suspend` and puts the templates back as they were.

use crate::labels::{ATTEMPT_ANNOTATION, QUEUE_NAME};
use crate::layout::Field;
use crate::mxjob::TUNER_KEY_ANNOTATION;
use serde_json::{Map, Value};

/// The places in the template of a role, and the members of them that are open.
const OPEN: [(&str, &[&str]); 2] = [
    ("metadata", &["labels", "annotations"]),
    ("spec", &["nodeSelector", "tolerations", "schedulingGates"]),
];

/// Annotations that are no marks: the one is the alias of a fixed field, the other the controller's own.
const FIXED_ANNOTATIONS: [&str; 2] = [TUNER_KEY_ANNOTATION, ATTEMPT_ANNOTATION];

/// Whether a change is one that Kueue may make: of a queued job that is suspended before it or after it.
pub(super) fn is_open(old: &Value, new: &Value) -> bool {
    is_queued(old) && is_queued(new) && (is_suspended(old) || is_suspended(new))
}

/// Whether a job waits in a queue of Kueue, or came through one.
pub(crate) fn is_queued(job: &Value) -> bool {
    job.pointer("/metadata/labels")
        .and_then(|labels| labels.get(QUEUE_NAME))
        .is_some_and(Value::is_string)
}

fn is_suspended(job: &Value) -> bool {
    let value = job.get("spec").and_then(|spec| Field::suspend().value(spec));
    value.and_then(Value::as_bool).unwrap_or(false)
}

/// The spec without the open places of its templates.
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
        // A place that came or went with an open member is no change either.
        if object.values().all(Value::is_null) {
            template.remove(place);
        }
    }
}

/// Leaves of annotations those that are fixed; says whether there are any.
fn keeps_fixed(member: Option<&mut Value>) -> bool {
    let Some(entries) = member.and_then(Value::as_object_mut) else { return false };
    entries.retain(|key, value| FIXED_ANNOTATIONS.contains(&key.as_str()) && value.is_string());
    !entries.is_empty()
}
