//! The pod template, as far as a job cannot do without: containers with images, one of them the training container.

use crate::mxjob;
use crate::spec::integer;
use crate::value::get;
use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::{metadata, names};
use serde_json::Value;
use std::collections::BTreeSet;

/// Notes the faults of a template.
pub(super) fn check(template: &Value, path: &Path, errors: &mut Errors) {
    check_labels(template, &path.child("metadata").child("labels"), errors);
    let path = path.child("spec");
    let Some(spec) = get(template, "spec") else {
        return errors.push(Error::required(&path, ""));
    };
    let mut names = BTreeSet::new();
    check_containers(spec, "initContainers", &path, &mut names, errors);
    check_containers(spec, "containers", &path, &mut names, errors);
    let Some(containers) = get(spec, "containers").and_then(Value::as_array) else { return };
    let path = path.child("containers");
    if containers.is_empty() {
        errors.push(Error::required(&path, ""));
    } else if !containers.iter().any(|container| crate::job::is_named(container, mxjob::CONTAINER))
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
        errors.extend(metadata::validate_labels(&labels.iter().filter_map(given).collect(), path));
    }
}

fn check_containers<'a>(
    spec: &'a Value,
    list: &str,
    path: &Path,
    names: &mut BTreeSet<&'a str>,
    errors: &mut Errors,
) {
    let containers = get(spec, list).and_then(Value::as_array).into_iter().flatten();
    for (index, container) in containers.enumerate().filter(|(_, container)| container.is_object())
    {
        let path = path.child(list).index(index);
        // A missing name is the schema's to report.
        if let Some(name) = get(container, "name").and_then(Value::as_str) {
            if name.is_empty() {
                errors.push(Error::required(&path.child("name"), ""));
            } else if !names.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            } else {
                let faults = names::dns1123_label(name).into_iter();
                errors.extend(faults.map(|fault| Error::invalid(&path.child("name"), name, fault)));
            }
        }
        if get(container, "image").is_none_or(|image| image == "") {
            errors.push(Error::required(&path.child("image"), ""));
        }
        check_ports(container, &path.child("ports"), errors);
    }
}

fn check_ports(container: &Value, path: &Path, errors: &mut Errors) {
    let ports = get(container, "ports").and_then(Value::as_array).into_iter().flatten();
    for (index, port) in ports.enumerate() {
        let number = port.get("containerPort").and_then(integer);
        if let Some(number) =
            number.filter(|number| !(1..=65535).contains(number) && i32::try_from(*number).is_ok())
        {
            let path = path.index(index).child("containerPort");
            errors.push(Error::invalid(&path, number, "must be between 1 and 65535, inclusive"));
        }
    }
}
