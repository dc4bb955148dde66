//! Admission: the rules for creating and changing a job, in every deployment.
//!
//! The standalone API server calls these functions; a cluster's reaches them through
//! [`review`](crate::review). The rules and messages are the same.

use mxjob_machinery::field::Errors;
use mxjob_machinery::status::Status;
use serde_json::Value;

use crate::layout::{Field, Place};
use crate::value::equal;
use crate::{replace, validate};

/// The violations of a job that is being created.
pub fn create(job: &Value) -> Errors {
    validate::validate(job)
}

/// The violations of a change from `old` to `new`: each changed immutable field; if there are none,
/// what is invalid in `new` and was not in `old`.
///
/// A job that an older operator stored may be invalid by our rules; its labels, finalizers and
/// replaceable fields can still be changed. A change that keeps the spec is never refused because
/// of the spec.
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

/// The part of [`update`] after the replace rule: what is invalid in `new` and was not in `old`.
pub fn revalidate(old: &Value, new: &Value) -> Errors {
    // A user who changes the flat field of a queued job intends to change the job, but the nested
    // field takes precedence, so the difference is reported.
    let may_suspend_differ = replace::is_queued(new) && flat_suspend(old) == flat_suspend(new);
    added(validate::check(new, may_suspend_differ), || validate::check(old, false))
}

fn flat_suspend(job: &Value) -> Option<&Value> {
    Field::suspend().get(job.get("spec")?, Place::Flat)
}

/// The violations of a change of the status alone, without those that `old` had.
pub fn update_status(old: &Value, new: &Value) -> Errors {
    added(validate::validate_status(new), || validate::validate_status(old))
}

/// The response for these errors: 422, with one cause for each error.
pub fn refusal(name: &str, errors: &Errors) -> Status {
    use crate::mxjob::{GROUP, KIND};
    let status = Status::invalid(GROUP, KIND, name, errors);
    Status { message: Some(replace::message(name, errors)), ..status }
}

fn added(errors: Errors, known: impl FnOnce() -> Errors) -> Errors {
    if errors.is_empty() {
        return errors;
    }
    errors.without(&known())
}
