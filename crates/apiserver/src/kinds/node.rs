//! Nodes: columns and rules (upstream's `pkg/apis/core/validation`, `ValidateNode`). They register
//! with their status.

use std::collections::HashSet;

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::names;
use serde_json::{Value, json};

use super::rules::{self, Rule, Table};
use super::{default_to, or_none, quota};
use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::strategy::Strategy;

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    computed("Status", 0, |node, _| {
        let ready = list(node, "/status/conditions")
            .iter()
            .find(|condition| text(condition, "/type") == "Ready");
        match ready.map(|condition| text(condition, "/status")) {
            Some("True") => "Ready".into(),
            Some(_) => "NotReady".into(),
            None => "Unknown".into(),
        }
    }),
    computed("Roles", 0, |_, _| "<none>".into()),
    AGE,
    computed("Version", 0, |node, _| text(node, "/status/nodeInfo/kubeletVersion").into()),
    computed("Internal-IP", 1, |node, _| {
        let address = list(node, "/status/addresses")
            .iter()
            .find(|address| text(address, "/type") == "InternalIP");
        or_none(address.map_or("", |address| text(address, "/address")))
    }),
    computed("External-IP", 1, |_, _| "<none>".into()),
    computed("OS-Image", 1, |node, _| or_none(text(node, "/status/nodeInfo/osImage"))),
    computed("Kernel-Version", 1, |node, _| or_none(text(node, "/status/nodeInfo/kernelVersion"))),
    computed("Container-Runtime", 1, |node, _| {
        or_none(text(node, "/status/nodeInfo/containerRuntimeVersion"))
    }),
];

const TAINT: Table = &[
    ("value", Rule::Name(names::label_value)),
    ("effect", Rule::RequiredOneOf(&["NoExecute", "NoSchedule", "PreferNoSchedule"])),
];
/// Fields of the spec that may be set once.
const SET_ONCE: &[(&str, &str)] = &[
    ("podCIDRs", "node updates may not change podCIDR except from \"\" to valid"),
    ("providerID", "node updates may not change providerID except from \"\" to valid"),
];

/// What a node always says of itself, if only as an empty text.
const INFO: &[&str] = &[
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
];

/// The rules of a node.
#[derive(Debug)]
pub(super) struct Node;

impl Strategy for Node {
    fn prepare_create(&self, node: &mut Value) {
        default_to(node, "spec", json!({}));
        default_to(node, "status", json!({}));
        let Some(status) = node.get_mut("status") else { return };
        default_to(status, "daemonEndpoints", json!({ "kubeletEndpoint": { "Port": 0 } }));
        default_to(status, "nodeInfo", json!({}));
        if let Some(info) = status.get_mut("nodeInfo") {
            INFO.iter().for_each(|field| default_to(info, field, ""));
        }
    }

    fn prepare_update(&self, _: &Value, node: &mut Value) {
        default_to(node, "spec", json!({}));
    }

    fn is_selectable(&self, field: &str) -> bool {
        field == "spec.unschedulable"
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        let unschedulable =
            object.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false);
        (field == "spec.unschedulable").then(|| unschedulable.to_string())
    }

    fn keeps_status_on_create(&self) -> bool {
        true
    }

    /// Upstream's `ValidateNode`.
    fn validate(&self, node: &Value) -> Errors {
        let mut errors = taint_errors(node);
        errors.append(resource_errors(node));
        let path = Path::new("spec").child("podCIDRs");
        errors.append(rules::check_items(node, "/spec/podCIDRs", &path, |_, one, path, errors| {
            errors.append(rules::cidr(one.as_str().unwrap_or_default(), path));
        }));
        if list(node, "/spec/podCIDRs").len() > 2 {
            let detail = "may specify no more than one CIDR for each IP family";
            errors.push(Error::invalid(&path, &node["spec"]["podCIDRs"], detail));
        }
        errors
    }

    /// The part of upstream's `ValidateNodeUpdate` that compares.
    fn validate_update(&self, old: &Value, new: &Value) -> Errors {
        let mut errors = Errors::new();
        for (field, detail) in SET_ONCE {
            let (old, new) = (&old["spec"][field], &new["spec"][field]);
            let was_set =
                rules::is_set(Some(old)) && old.as_array().is_none_or(|it| !it.is_empty());
            if was_set && old != new {
                errors.push(Error::forbidden(&Path::new("spec").child(field), *detail));
            }
        }
        errors
    }

    /// The status is checked by `ValidateNodeUpdate`, too.
    fn validate_status(&self, _: &Value, new: &Value) -> Errors {
        let mut errors = resource_errors(new);
        let mut seen = HashSet::new();
        let path = Path::new("status").child("addresses");
        errors.append(rules::check_items(
            new,
            "/status/addresses",
            &path,
            |_, one, path, errors| {
                if !seen.insert((text(one, "/type").to_owned(), text(one, "/address").to_owned())) {
                    errors.push(Error::duplicate(path, one));
                }
            },
        ));
        errors
    }
}

/// Upstream's `validateNodeTaints`, with upstream's path.
fn taint_errors(node: &Value) -> Errors {
    let mut seen = HashSet::new();
    let path = Path::new("metadata").child("taints");
    rules::check_items(node, "/spec/taints", &path, |_, taint, path, errors| {
        let key = text(taint, "/key");
        errors.append(rules::name_errors(key, &path.child("key"), names::qualified_name));
        errors.append(rules::check(taint, path, TAINT));
        if !seen.insert((key.to_owned(), text(taint, "/effect").to_owned())) {
            let mut error = Error::duplicate(path, taint);
            "taints must be unique by key and effect pair".clone_into(&mut error.detail);
            errors.push(error);
        }
    })
}

/// Upstream's `ValidateNodeResources`.
fn resource_errors(node: &Value) -> Errors {
    let mut errors = Errors::new();
    for field in ["capacity", "allocatable"] {
        let amounts = node.pointer(&format!("/status/{field}")).and_then(Value::as_object);
        for (name, amount) in amounts.into_iter().flatten() {
            let path = Path::new("status").child(field).child(name);
            errors.append(quota::quantity_errors(name, amount, &path));
        }
    }
    errors
}
