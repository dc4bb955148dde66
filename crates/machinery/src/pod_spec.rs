//! The rules of a pod spec, of a pod as well as of a template, with upstream's messages and field
//! paths (`k8s.io/kubernetes/pkg/apis/core/validation`).
//!
//! Names of containers and volumes become names of folders on a node, so they are DNS labels and
//! unique: containers of all three lists together, volumes among themselves. A null counts as what
//! Go's decoder makes of it, the empty value. Values of a wrong type are passed over: a schema
//! reports them.

use std::collections::HashSet;

use serde_json::Value;

use crate::field::{Error, Errors, Path};
use crate::names;
use crate::schema::integer;

/// The lists of containers in the order in which their names are claimed. A collision is reported
/// on the later one.
const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Reports every violation in a pod spec. `path` is the path of the spec.
///
/// ```
/// use mxjob_machinery::{field::Path, pod_spec};
/// use serde_json::json;
///
/// let spec = json!({ "containers": [{ "name": "../x", "image": "i" }] });
/// let errors = pod_spec::validate(&spec, &Path::new("spec"));
/// assert!(errors.to_string().starts_with("spec.containers[0].name: Invalid value: \"../x\""));
/// ```
#[must_use]
pub fn validate(spec: &Value, path: &Path) -> Errors {
    check(spec, path, Extent::Everything)
}

/// Reports only what is wrong with the names of containers and volumes: what a node must know
/// before it touches a file.
#[must_use]
pub fn validate_names(spec: &Value, path: &Path) -> Errors {
    check(spec, path, Extent::Names)
}

/// Reports keys of a `ConfigMap` or `Secret` that cannot become names of files. `path` is the path
/// of the map.
#[must_use]
pub fn validate_keys(data: &Value, path: &Path) -> Errors {
    let keys = data.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.flat_map(|key| {
        let rules = names::config_map_key(key).into_iter();
        rules.map(move |rule| Error::invalid(&path.key(key), key.as_str(), rule))
    })
    .collect()
}

/// Says why a path does not stay below the folder that it is relative to.
///
/// # Errors
/// With upstream's wording.
pub fn descending(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("must be a relative path");
    }
    no_back_steps(path)
}

fn no_back_steps(path: &str) -> Result<(), &'static str> {
    if path.split('/').any(|part| part == "..") {
        return Err("must not contain '..'");
    }
    Ok(())
}

/// How much is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Names,
    Everything,
}

fn check(spec: &Value, path: &Path, extent: Extent) -> Errors {
    let mut errors = Errors::new();
    let volumes = check_volumes(spec, &path.child("volumes"), extent, &mut errors);
    if extent == Extent::Everything && items(spec, "containers").is_empty() {
        errors.push(Error::required(&path.child("containers"), ""));
    }
    let mut names = HashSet::new();
    for list in CONTAINER_LISTS {
        for (index, container) in items(spec, list).iter().enumerate().filter(|it| is_object(it.1))
        {
            let path = path.child(list).index(index);
            check_name(container, &path, &mut names, &mut errors);
            if extent == Extent::Everything {
                check_container(container, &path, &volumes, &mut errors);
            }
        }
    }
    errors
}

/// Reports the violations in volumes, and returns the names of all of them.
fn check_volumes<'a>(
    spec: &'a Value,
    path: &Path,
    extent: Extent,
    errors: &mut Errors,
) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for (index, volume) in items(spec, "volumes").iter().enumerate().filter(|it| is_object(it.1)) {
        let path = path.index(index);
        if extent == Extent::Everything {
            for source in ["configMap", "secret"] {
                check_files(volume.get(source), &path.child(source).child("items"), errors);
            }
            if let Some(host) = volume.get("hostPath").filter(|host| host.is_object()) {
                check_host_path(host, &path.child("hostPath").child("path"), errors);
            }
        }
        check_name(volume, &path, &mut names, errors);
    }
    names
}

/// Reports a name that is missing, is no DNS label or was there before.
fn check_name<'a>(item: &'a Value, path: &Path, names: &mut HashSet<&'a str>, errors: &mut Errors) {
    let path = path.child("name");
    match text(item, "name") {
        None => {}
        Some("") => errors.push(Error::required(&path, "")),
        Some(name) => {
            let rules = names::dns1123_label(name).into_iter();
            errors.extend(rules.map(|rule| Error::invalid(&path, name, rule)));
            if !names.insert(name) {
                errors.push(Error::duplicate(&path, name));
            }
        }
    }
}

fn check_container(container: &Value, path: &Path, volumes: &HashSet<&str>, errors: &mut Errors) {
    if text(container, "image") == Some("") {
        errors.push(Error::required(&path.child("image"), ""));
    }
    let ports = path.child("ports");
    for (index, port) in items(container, "ports").iter().enumerate() {
        if let Some(number) = port.get("containerPort").filter(|number| !is_port(number)) {
            let path = ports.index(index).child("containerPort");
            errors.push(Error::invalid(&path, number, "must be between 1 and 65535, inclusive"));
        }
    }
    check_mounts(container, &path.child("volumeMounts"), volumes, errors);
}

fn check_mounts(container: &Value, path: &Path, volumes: &HashSet<&str>, errors: &mut Errors) {
    let mut targets = HashSet::new();
    let mounts = items(container, "volumeMounts").iter().enumerate();
    for (index, mount) in mounts.filter(|it| is_object(it.1)) {
        let at = path.index(index);
        match text(mount, "name") {
            Some("") => errors.push(Error::required(&at.child("name"), "")),
            Some(name) if !volumes.contains(name) => {
                errors.push(Error::not_found(&at.child("name"), name));
            }
            _ => {}
        }
        match text(mount, "mountPath") {
            Some("") => errors.push(Error::required(&at.child("mountPath"), "")),
            Some(target) if !targets.insert(target) => {
                errors.push(Error::invalid(&at.child("mountPath"), target, "must be unique"));
            }
            _ => {}
        }
        let sub_path = text(mount, "subPath").unwrap_or_default();
        let expression = text(mount, "subPathExpr").unwrap_or_default();
        // The paths of these two have no index, as upstream's have none.
        check_descending(sub_path, &path.child("subPath"), errors);
        if !sub_path.is_empty() && !expression.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(Error::invalid(&at.child("subPathExpr"), expression, detail));
        }
        check_descending(expression, &path.child("subPathExpr"), errors);
    }
}

fn check_files(source: Option<&Value>, path: &Path, errors: &mut Errors) {
    let files = source.map(|source| items(source, "items")).unwrap_or_default();
    for (index, file) in files.iter().enumerate().filter(|it| is_object(it.1)) {
        let at = path.index(index);
        if text(file, "key") == Some("") {
            errors.push(Error::required(&at.child("key"), ""));
        }
        let at = at.child("path");
        match text(file, "path") {
            Some("") => errors.push(Error::required(&at, "")),
            Some(file) => {
                check_descending(file, &at, errors);
                if file.starts_with("..") && !file.starts_with("../") && file != ".." {
                    errors.push(Error::invalid(&at, file, "must not start with '..'"));
                }
            }
            None => {}
        }
    }
}

fn check_host_path(source: &Value, path: &Path, errors: &mut Errors) {
    match text(source, "path") {
        Some("") => errors.push(Error::required(path, "")),
        Some(host) => {
            if let Err(detail) = no_back_steps(host) {
                errors.push(Error::invalid(path, host, detail));
            }
        }
        None => {}
    }
}

fn check_descending(value: &str, path: &Path, errors: &mut Errors) {
    if let Err(detail) = descending(value) {
        errors.push(Error::invalid(path, value, detail));
    }
}

/// Whether a number may be a port. What is no integer of 32 bits is the schema's to report.
fn is_port(number: &Value) -> bool {
    integer(number)
        .is_none_or(|number| (1..=65535).contains(&number) || i32::try_from(number).is_err())
}

/// The items of a list; none where there is no list.
fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A string, empty where there is none; `None` for a value of another type.
fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    match object.get(field) {
        None | Some(Value::Null) => Some(""),
        Some(value) => value.as_str(),
    }
}

/// Whether an item of a list is an object, or null, which counts as an empty one.
fn is_object(item: &Value) -> bool {
    item.is_object() || item.is_null()
}

#[cfg(test)]
mod tests;
