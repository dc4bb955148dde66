//! Admission: what a request to create or to change a job must satisfy, wherever it is asked.
//!
//! The API server of one machine asks here directly, that of a cluster through [`review`](crate::review): the rules and the words are the same.

use crate::layout::{Field, Place};
use crate::value::equal;
use crate::{replace, validate};
use mxjob_machinery::field::Errors;
use mxjob_machinery::status::Status;
use serde_json::Value;

/// The faults of a job to be created.
pub fn create(job: &Value) -> Errors {
    validate::validate(job)
}

/// The faults of a change of `old` to `new`: each field that is fixed and has changed, else what is invalid now and was not before.
///
/// A job that an older operator has stored may be invalid by our rules; its labels, its finalizers and whatever is replaceable can be changed
/// all the same. A change that leaves the spec alone is never refused because of the spec.
///
/// ```
/// use mxjob_api::admission;
/// use serde_json::json;
///
/// let stored = json!({ "metadata": { "name": "digits" }, "spec": { "mxReplicaSpecs": {}, "cleanPodPolicy": "" } });
/// let mut kept = stored.clone();
/// kept["spec"]["ttlSecondsAfterFinished"] = 60.into();
/// assert!(admission::update(&stored, &kept).is_empty());
/// kept["spec"]["ttlSecondsAfterFinished"] = (-1).into();
/// assert_eq!(admission::update(&stored, &kept).len(), 1);
/// ```
pub fn update(old: &Value, new: &Value) -> Errors {
    let fixed = replace::check(old, new);
    if !fixed.is_empty() {
        return fixed;
    }
    if equal(old.get("spec").unwrap_or(&Value::Null), new.get("spec").unwrap_or(&Value::Null)) {
        return Errors::new();
    }
    revalidate(old, new)
}

/// The part of [`update`] that comes after the replace rule: what is invalid now and was not before.
pub fn revalidate(old: &Value, new: &Value) -> Errors {
    // Who changes the flat field of a queued job means to change the job, but it is the nested one that is in force.
    let may_suspend_differ = replace::is_queued(new) && flat_suspend(old) == flat_suspend(new);
    added(validate::check(new, may_suspend_differ), || validate::check(old, false))
}

fn flat_suspend(job: &Value) -> Option<&Value> {
    Field::suspend().get(job.get("spec")?, Place::Flat)
}

/// The faults of a change of the status alone, likewise without those that were there before.
pub fn update_status(old: &Value, new: &Value) -> Errors {
    added(validate::validate_status(new), || validate::validate_status(old))
}

/// The answer to a request with such faults: 422, one cause a fault.
pub fn refusal(name: &str, errors: &Errors) -> Status {
    use crate::mxjob::{GROUP, KIND};
    let status = Status::invalid(GROUP, KIND, name, errors);
    Status { message: Some(replace::message(name, errors)), ..status }
}

fn added(errors: Errors, known: impl FnOnce() -> Errors) -> Errors {
    if errors.is_empty() {
        return errors;
    }
    let known = known();
    errors.into_iter().filter(|error| !known.contains(error)).collect()
}
