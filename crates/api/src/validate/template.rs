//! The pod template: Kubernetes' own rules of its pod spec, and one training container.

use std::collections::HashSet;

use mxjob_machinery::field::{Error, ErrorKind, Errors, Path};
use mxjob_machinery::{metadata, pod_spec};
use serde_json::Value;

use crate::mxjob;
use crate::value::get;

/// Adds the errors of a template.
pub(super) fn check(template: &Value, path: &Path, errors: &mut Errors) {
    check_labels(template, &path.child("metadata").child("labels"), errors);
    let path = path.child("spec");
    let Some(spec) = get(template, "spec") else {
        return errors.push(Error::required(&path, ""));
    };
    add_unreported(pod_spec::validate(spec, &path), errors);
    if get(spec, "ephemeralContainers").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
    {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(Error::forbidden(&path.child("ephemeralContainers"), detail));
    }
    let Some(containers) = get(spec, "containers").and_then(Value::as_array) else { return };
    let path = path.child("containers");
    if !containers.is_empty()
        && !containers.iter().any(|container| crate::job::is_named(container, mxjob::CONTAINER))
    {
        errors.push(Error::required(
            &path,
            format!("one container must be named {:?}", mxjob::CONTAINER),
        ));
    }
}

/// No pod could be made with a label that is none. What is not a string is the schema's to report.
fn check_labels(template: &Value, path: &Path, errors: &mut Errors) {
    let labels = template.pointer("/metadata/labels").and_then(Value::as_object);
    let given =
        |(key, value): (&String, &Value)| value.is_string().then(|| (key.clone(), value.clone()));
    if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
        errors.append(metadata::validate_labels(&labels.iter().filter_map(given).collect(), path));
    }
}

/// Adds the errors that the schema has not reported: not those of a field that has one, nor those
/// inside a value of a wrong type.
fn add_unreported(mut found: Errors, errors: &mut Errors) {
    let reported: HashSet<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    let of_wrong_type: HashSet<&str> = errors
        .iter()
        .filter(|error| error.kind == ErrorKind::TypeInvalid)
        .map(|error| error.path.as_str())
        .collect();
    let is_new = |error: &Error| {
        let path = error.path.as_str();
        let mut parents = path.match_indices(['.', '[']).filter_map(|(end, _)| path.get(..end));
        !reported.contains(path) && !parents.any(|parent| of_wrong_type.contains(parent))
    };
    found.retain(is_new);
    errors.append(found);
}
