//! The pod template: Kubernetes' own rules of its pod spec, and one training container.

use std::collections::HashSet;

use mxjob_machinery::field::{Error, ErrorKind, Errors, Path};
use mxjob_machinery::pod_spec;
use serde_json::Value;

use crate::mxjob;
use crate::value::get;

/// Adds the errors of a template.
pub(super) fn check(template: &Value, path: &Path, errors: &mut Errors) {
    let mut found = pod_spec::validate_template(template, path, &path.child("metadata"));
    let path = path.child("spec");
    let Some(spec) = get(template, "spec") else {
        // What a missing spec lacks is not listed.
        found.retain(|error| !error.path.as_str().starts_with(path.as_str()));
        add_unreported(found, errors);
        return errors.push(Error::required(&path, ""));
    };
    add_unreported(found, errors);
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

/// Adds the errors that the schema has not reported: not those of a field that has one, nor those
/// inside a value of a wrong type.
fn add_unreported(mut found: Errors, errors: &mut Errors) {
    let reported: HashSet<String> =
        errors.iter().map(|error| without_brackets(error.path.as_str())).collect();
    let of_wrong_type: HashSet<&str> = errors
        .iter()
        .filter(|error| error.kind == ErrorKind::TypeInvalid)
        .map(|error| error.path.as_str())
        .collect();
    let is_new = |error: &Error| {
        let path = error.path.as_str();
        let mut parents = path.match_indices(['.', '[']).filter_map(|(end, _)| path.get(..end));
        !reported.contains(&without_brackets(path))
            && !parents.any(|parent| of_wrong_type.contains(parent))
    };
    found.retain(is_new);
    errors.append(found);
}

/// A path with its keys as members: the schema writes `limits.cpu` where the rules of pods write
/// `limits[cpu]`.
fn without_brackets(path: &str) -> String {
    path.replace('[', ".").replace(']', "")
}
