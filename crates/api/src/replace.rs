//! The replace rule: what a `PUT` or a `PATCH` may change in an existing job.
//!
//! Five fields of the documented API and `suspend` may change; all others in the spec are
//! immutable. A field is the same in either layout, so moving it between the spec and `runPolicy`
//! is no change. Other parts of `metadata` follow Kubernetes' own rules, which are not in this
//! crate.
//!
//! Five more places in the templates may change while a job waits in a Kueue queue and is suspended
//! (`queued`).

mod queued;

use std::collections::BTreeSet;

use mxjob_machinery::field::{Error, ErrorKind, Errors, Path};
use mxjob_machinery::schema::{Trail, member};
use serde_json::{Map, Value};

use crate::layout::{FIELDS, Field, NESTED, Place, SCHEDULING};
use crate::mxjob;
use crate::spec::JOB_MODE;
use crate::value::{equal, is_empty_string};

pub(crate) use queued::is_queued;

/// Objects that Go clients write empty, or full of nulls, when the user did not set them:
/// `resources` of containers and `metadata` of templates.
const UNSET_OBJECTS: [&str; 2] = ["metadata", "resources"];

/// The replaceable fields, as messages list them.
pub const REPLACEABLE: [&str; 6] = [
    "metadata.labels",
    "metadata.annotations",
    "spec.activeDeadlineSeconds",
    "spec.ttlSecondsAfterFinished",
    "spec.cleanPodPolicy",
    "spec.suspend",
];

/// The violations of a replace of `old` by `new`: one `Forbidden` for each changed immutable field.
///
/// A change is reported with the deepest path
/// (`spec.mxReplicaSpecs.Worker.template.spec.containers[0].image`). An added or removed value is
/// reported as a whole, by its own path. A removed spec counts as empty.
pub fn check(old: &Value, new: &Value) -> Errors {
    if queued::is_open(old, new) {
        return check_specs(queued::masked(old).as_ref(), queued::masked(new).as_ref());
    }
    check_specs(old.get("spec"), new.get("spec"))
}

fn check_specs(old: Option<&Value>, new: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    let spec = Path::new("spec");
    if !check_members(&spec, old, new, |key| key == NESTED || is_known(&[key]), &mut errors) {
        return errors;
    }
    let (old, new) = (old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null));
    for field in FIELDS.iter().filter(|field| !field.is_replaceable) {
        check_both_places(*field, old, new, &mut errors);
    }
    check_members(
        &Place::Nested.path(),
        old.get(NESTED),
        new.get(NESTED),
        |key| is_known(&[key]),
        &mut errors,
    );
    for place in Place::ALL {
        let scheduling = |spec| place.of(spec).and_then(|place| place.get(SCHEDULING));
        let path = place.path().child(SCHEDULING);
        check_members(
            &path,
            scheduling(old),
            scheduling(new),
            |key| is_known(&[SCHEDULING, key]),
            &mut errors,
        );
    }
    errors
}

/// The message for such a replace. Several changed immutable fields share one list of the
/// replaceable ones. Errors of other kinds are listed as usual.
///
/// ```
/// use mxjob_api::replace;
/// use serde_json::json;
///
/// let (old, new) = (json!({ "spec": { "backoffLimit": 1 } }), json!({ "spec": { "backoffLimit": 2 } }));
/// let message = replace::message("digits", &replace::check(&old, &new));
/// assert!(message.starts_with("MXJob.kubeflow.org \"digits\" is invalid: spec.backoffLimit: Forbidden: "));
/// assert!(message.contains("spec.ttlSecondsAfterFinished"));
/// ```
pub fn message(name: &str, errors: &Errors) -> String {
    let subject = format!("{}.{} {name:?} is invalid: ", mxjob::KIND, mxjob::GROUP);
    let detail = detail();
    let is_fixed = |error: &Error| error.kind == ErrorKind::Forbidden && error.detail == detail;
    if errors.len() < 2 || !errors.iter().all(is_fixed) {
        return format!("{subject}{errors}");
    }
    let mut fields: Vec<_> =
        errors.iter().map(|error| format!("{}: Forbidden", error.path)).collect();
    fields.extend(errors.rest());
    format!("{subject}[{}]: {detail}", fields.join(", "))
}

/// The detail of each cause.
pub(crate) fn detail() -> String {
    let (last, first) = REPLACEABLE.split_last().unwrap_or((&"", &[]));
    format!("only {} and {last} may be changed", first.join(", "))
}

fn forbid(at: &Trail<'_>, errors: &mut Errors) {
    errors.push_with(|| Error::forbidden(&at.path(), detail()));
}

/// Whether these names lead to a field that has two places, or to an object that contains such
/// fields.
fn is_known(names: &[&str]) -> bool {
    FIELDS.iter().any(|field| field.names().starts_with(names))
}

/// Compares the members of two objects, except those that are compared elsewhere; false if one of
/// them is not an object.
fn check_members(
    path: &Path,
    old: Option<&Value>,
    new: Option<&Value>,
    elsewhere: impl Fn(&str) -> bool,
    errors: &mut Errors,
) -> bool {
    let empty = Map::new();
    let members = |value| match value {
        None | Some(&Value::Null) => Some(&empty),
        Some(value) => value.as_object(),
    };
    let (Some(old), Some(new)) = (members(old), members(new)) else {
        diff(path, old, new, errors);
        return false;
    };
    for key in keys(old, new).into_iter().filter(|key| !elsewhere(key)) {
        diff(&member(path, key), given(old, key), given(new, key), errors);
    }
    true
}

/// A member, unless it counts as unset.
fn given<'a>(members: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    members.get(key).filter(|value| !(key == JOB_MODE && is_empty_string(value)))
}

/// Compares one field in both places: a moved field is unchanged if the effective value is.
fn check_both_places(field: Field, old: &Value, new: &Value, errors: &mut Errors) {
    let in_force = field.value(old);
    let before = errors.len();
    let mut given = None;
    for place in Place::ALL {
        let Some(value) = field.get(new, place) else { continue };
        let is_first = given.is_none();
        given = given.or(Some(place));
        let is_kept = field.get(old, place).is_some_and(|old| equal(old, value));
        // The place that takes precedence must hold the effective value; the other may keep a value
        // that never had an effect.
        if is_first || !is_kept {
            diff(&field.path(place), in_force, Some(value), errors);
        }
        if errors.len() > before {
            return; // said once, even where both places have the new value
        }
    }
    if let (None, Some(place)) =
        (given, Place::ALL.into_iter().find(|place| field.get(old, *place).is_some()))
    {
        forbid(&Trail::Start(&field.path(place)), errors);
    }
}

/// Collects the differences with the deepest paths.
fn diff(path: &Path, old: Option<&Value>, new: Option<&Value>, errors: &mut Errors) {
    walk(&Trail::Start(path), old, new, errors);
}

fn walk(at: &Trail<'_>, old: Option<&Value>, new: Option<&Value>, errors: &mut Errors) {
    let given = |value: Option<&'_ Value>| value.is_some_and(|value| !value.is_null());
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in keys(old, new) {
                let (old, new) = (old.get(key), new.get(key));
                if !(is_unset(key, old) && is_unset(key, new)) {
                    walk(&at.member(key), old, new, errors);
                }
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                match (old.get(index), new.get(index)) {
                    (Some(old), Some(new)) => walk(&at.item(index), Some(old), Some(new), errors),
                    // A null item of a list is an item.
                    _ => forbid(&at.item(index), errors),
                }
            }
        }
        (Some(old), Some(new)) if equal(old, new) => {}
        (old, new) if !given(old) && !given(new) => {}
        _ => forbid(at, errors),
    }
}

/// Whether a member is unset: absent, or with the value that Go clients write for an unset field.
fn is_unset(key: &str, value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(members)) => {
            UNSET_OBJECTS.contains(&key) && members.values().all(Value::is_null)
        }
        Some(_) => false,
    }
}

fn keys<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    old.keys().chain(new.keys()).map(String::as_str).collect()
}
