//! Which operator it was: by the labels it put on pods, else by the status it wrote, else by the fields it must have kept.

use super::{Era, children};
use crate::labels;
use crate::layout::{FIELDS, NESTED, Place};
use crate::value::get;
use serde_json::Value;

/// Label of the job's name by mxnet-operator 1.1 and training-operator 1.3 to 1.5.
const JOB_NAME: &str = "job-name";
/// The same by the very first mxnet-operator.
const OLDEST_JOB_NAME: &str = "mxnet_job_name";

pub(super) fn of(job: &Value, pods: &[&Value]) -> Era {
    let none = Value::Null;
    let status = job.get("status").unwrap_or(&none);
    let spec = job.get("spec").unwrap_or(&none);
    let has = |key| get(status, key).is_some();
    let is_ours = is_written_by_us(job)
        || has("completedIndexes")
        || has("restartState")
        || (has("mxReplicaStatuses") && has("replicaStatuses"));
    let is_nested = get(spec, NESTED).is_some();
    // A take-over that was cut short leaves pods of both: what is left to be done counts, whatever the status says by now. Of a job that is
    // ours, nothing is left to be done about pods that go.
    let counts = pods.iter().filter(|pod| !(is_ours && children::is_leaving(pod)));
    let eras = counts.filter_map(|pod| by_labels(pod, is_nested));
    if let Some(era) = eras.min_by_key(|era| *era == Era::Current) {
        return era;
    }
    if is_ours {
        return Era::Current;
    }
    if has("mxReplicaStatuses") {
        return Era::A;
    }
    if get(status, "conditions").is_none() && !has("replicaStatuses") {
        return Era::Unknown;
    }
    // Only the last operator knew of suspension, and only it and the first ever stored when a job started.
    if has_suspended(status) {
        return Era::CLate;
    }
    let has_flat = FIELDS.iter().any(|field| field.get(spec, Place::Flat).is_some());
    match (is_nested, has("startTime")) {
        (true, true) => Era::CLate,
        (true, false) => Era::CEarly,
        (false, true) if !has_flat => Era::CLate,
        // A flat field would have been pruned by a training-operator's schema.
        (false, _) => Era::B,
    }
}

fn by_labels(pod: &Value, is_nested: bool) -> Option<Era> {
    let given = pod.pointer("/metadata/labels")?;
    let has = |label: &str| given.get(label).is_some();
    match (
        has(labels::JOB_NAME),
        has(labels::MXNET_JOB_NAME) || has(OLDEST_JOB_NAME),
        has(JOB_NAME),
    ) {
        (true, true, _) => Some(Era::Current),
        (false, true, _) => Some(Era::A),
        (true, false, true) => Some(Era::CEarly),
        (true, false, false) => Some(Era::CLate),
        (false, false, true) => Some(if is_nested { Era::CEarly } else { Era::B }),
        (false, false, false) => None,
    }
}

/// Whether this controller has written the status, as the server noted.
pub(super) fn is_written_by_us(job: &Value) -> bool {
    let managers = job.pointer("/metadata/managedFields").and_then(Value::as_array);
    managers.into_iter().flatten().any(|entry| {
        let is = |field, word| entry.get(field).is_some_and(|given| given == word);
        is("manager", labels::OPERATOR) && is("subresource", "status")
    })
}

fn has_suspended(status: &Value) -> bool {
    let conditions = status.get("conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.get("type").is_some_and(|kind| kind == "Suspended"))
}
