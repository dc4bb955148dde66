//! What a pod template cannot do without.

use super::check_training;
use crate::jobs::{training, with};
use mxjob_api::validate::validate;
use serde_json::{Value, json};

/// A worker with this pod spec.
fn worker(spec: &Value) -> Value {
    json!({ "mxReplicaSpecs": { "Worker": { "template": { "spec": spec } } } })
}

#[test]
fn a_template_needs_the_training_container_and_every_container_an_image() {
    let spec = "spec.mxReplicaSpecs.Worker.template.spec";
    let cases = [
        (json!(null), vec![format!("{spec}: Required value")]),
        (json!({ "containers": null }), vec![format!("{spec}.containers: Required value")]),
        (json!({ "containers": [] }), vec![format!("{spec}.containers: Required value")]),
        (
            json!({ "containers": [{ "name": "main", "image": "i" }] }),
            vec![format!(
                "{spec}.containers: Required value: one container must be named \"mxnet\""
            )],
        ),
        (
            json!({ "containers": [{ "name": "mxnet" }] }),
            vec![format!("{spec}.containers[0].image: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "" }] }),
            vec![format!("{spec}.containers[0].image: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "name": "side" }] }),
            vec![format!("{spec}.containers[1].image: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "image": "i" }] }),
            vec![format!("{spec}.containers[1].name: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "name": "mxnet", "image": "i" }] }),
            vec![format!("{spec}.containers[1].name: Duplicate value: \"mxnet\"")],
        ),
        (
            json!({ "initContainers": [{ "name": "setup" }] }),
            vec![format!("{spec}.initContainers[0].image: Required value")],
        ),
        (
            json!({ "containers": [null, { "name": "mxnet", "image": "i" }] }),
            vec![format!(
                "{spec}.containers[0]: Invalid value: \"null\": {spec}.containers[0] in body must be of type object: \"null\""
            )],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i", "ports": [{ "name": "mxjob-port", "containerPort": 70000 }] }] }),
            vec![format!(
                "{spec}.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
            )],
        ),
        // Each fault on its own, all at once.
        (
            json!({ "containers": [{ "name": "main" }, { "name": "side", "image": "" }] }),
            vec![
                format!("{spec}.containers[0].image: Required value"),
                format!("{spec}.containers[1].image: Required value"),
                format!("{spec}.containers: Required value: one container must be named \"mxnet\""),
            ],
        ),
    ];
    for (patch, faults) in cases {
        check_training(&worker(&patch), &faults.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_labels_of_a_template_must_be_labels() {
    let labels = |labels: Value| json!({ "mxReplicaSpecs": { "Worker": { "template": { "metadata": { "labels": labels } } } } });
    check_training(&labels(json!({ "team": "vision", "example.com/team": "", "x": null })), &[]);
    let faults = validate(&with(&training(), &labels(json!({ "team": "a b" }))));
    assert_eq!(faults.len(), 1, "{faults}");
    assert_eq!(faults[0].path.as_str(), "spec.mxReplicaSpecs.Worker.template.metadata.labels");
}

#[test]
fn a_quantity_must_be_one() {
    let limit = |value: Value| {
        worker(
            &json!({ "containers": [{ "name": "mxnet", "image": "i", "resources": { "limits": { "cpu": value } } }] }),
        )
    };
    for good in [
        json!("1"),
        json!("1000m"),
        json!("2Gi"),
        json!("1e3"),
        json!("1E-2"),
        json!(".5"),
        json!("5."),
        json!("+1k"),
        json!("0"),
        json!("-0"),
        json!(2),
        json!(2.5),
        json!(0),
    ] {
        check_training(&limit(good), &[]);
    }
    let path = "spec.mxReplicaSpecs.Worker.template.spec.containers[0].resources.limits.cpu";
    for bad in ["", "one", "1Q", "1.2.3", "1 Gi", "Gi", "1gi", ".", "--1", "1e", "1ii", "1mi"] {
        let fault = format!(
            "{path}: Invalid value: {bad:?}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
        check_training(&limit(json!(bad)), &[&fault]);
    }
    for (bad, shown) in [(json!("-1"), "\"-1\""), (json!(-1), "-1")] {
        check_training(
            &limit(bad),
            &[&format!("{path}: Invalid value: {shown}: must be greater than or equal to 0")],
        );
    }
    check_training(
        &json!({ "schedulingPolicy": { "minResources": { "nvidia.com/gpu": "lots" } } }),
        &[
            "spec.schedulingPolicy.minResources[nvidia.com/gpu]: Invalid value: \"lots\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ],
    );
}
