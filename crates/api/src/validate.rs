//! Admission: which jobs are accepted, with one cause for each error.
//!
//! First the shape (types, enums, bounds, required fields: the schema), then the rules that the
//! schema cannot say. The second part reads leniently and leaves out errors that the first has
//! reported, so nothing is reported twice and all errors are reported together. `metadata` is
//! validated by the machinery; only the names derived from it are checked here.

mod names;
mod replicas;
mod template;

use std::borrow::Cow;

use mxjob_machinery::field::{Error, Errors, Path};
use serde_json::Value;

use crate::job::Job;
use crate::layout::{FIELDS, Field, Place};
use crate::mxjob::MAX_REPLICAS;
use crate::spec::{JOB_MODE, integer};
use crate::value::{equal, is_empty_string};
use crate::{replace, schema};

/// The errors of a job: empty if it is accepted. Takes any JSON.
pub fn validate(job: &Value) -> Errors {
    // Its queue reads and writes the nested field alone, whatever its user has written flat.
    check(job, replace::is_queued(job))
}

/// The same; whether `suspend` may differ in its two places (the nested one is in force) is for the
/// caller to say.
pub(crate) fn check(job: &Value, may_suspend_differ: bool) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    match job.get("spec") {
        None | Some(Value::Null) => errors.push(Error::required(&path, "")),
        Some(spec) => {
            let spec = &*without_empty_mode(spec);
            if let Some(schema) = schema::root().member("spec") {
                schema.check(spec, &path, &mut errors);
            }
            // The rules below leave out what the schema reports, so they need all of its errors.
            if errors.is_full() {
                return errors;
            }
            check_places(spec, may_suspend_differ, &mut errors);
            let replicas = replicas::read(spec);
            replicas::check(spec, &replicas, &mut errors);
            let total = replicas::total(&replicas);
            check_gang(spec, total, &mut errors);
            // Of a job that is too large nothing is derived.
            if total <= MAX_REPLICAS.into() {
                names::check(job, &replicas, &mut errors);
            }
        }
    }
    errors
}

/// The error about the size of a stored job: for the controller, which meets jobs that no admission
/// has checked.
pub fn size(job: &Job) -> Option<Error> {
    job.is_too_large().then(|| replicas::too_many(job.total().into()))
}

/// The errors of the `status` of an object sent to the status subresource: of its shape only.
pub fn validate_status(job: &Value) -> Errors {
    let mut errors = Errors::new();
    if let (Some(status), Some(schema)) = (job.get("status"), schema::root().member("status"))
        && !status.is_null()
    {
        schema.check(status, &Path::new("status"), &mut errors);
    }
    errors
}

/// An empty `jobMode` is none.
fn without_empty_mode(spec: &Value) -> Cow<'_, Value> {
    let mut spec = Cow::Borrowed(spec);
    if spec.get(JOB_MODE).is_some_and(is_empty_string)
        && let Some(members) = spec.to_mut().as_object_mut()
    {
        members.remove(JOB_MODE);
    }
    spec
}

/// A field given flat and nested must be the same in both.
fn check_places(spec: &Value, may_suspend_differ: bool, errors: &mut Errors) {
    for field in FIELDS {
        if may_suspend_differ && field == Field::suspend() && has_flags(spec, field) {
            continue;
        }
        let (Some(flat), Some(nested)) =
            (field.get(spec, Place::Flat), field.get(spec, Place::Nested))
        else {
            continue;
        };
        if !equal(flat, nested) {
            let (flat_path, path) = (field.path(Place::Flat), field.path(Place::Nested));
            let detail = format!(
                "{flat_path} and {path} are the same field and may not differ; {flat_path} is {flat}"
            );
            errors.push(Error::invalid(&path, nested, detail));
        }
    }
}

/// Whether the field is true or false in both places.
fn has_flags(spec: &Value, field: Field) -> bool {
    Place::ALL.into_iter().all(|place| field.get(spec, place).is_some_and(Value::is_boolean))
}

/// A gang larger than the job would wait for ever.
fn check_gang(spec: &Value, total: i64, errors: &mut Errors) {
    let field = Field::min_available();
    for place in Place::ALL {
        let Some(value) = field.get(spec, place) else { continue };
        if let Some(min_available) = integer(value).filter(|min_available| *min_available > total) {
            let detail = format!("must be at most the number of replicas of the job, {total}");
            errors.push(Error::invalid(&field.path(place), min_available, detail));
            return; // said once, even where both places say it
        }
    }
}
