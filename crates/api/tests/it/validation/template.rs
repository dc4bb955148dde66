//! The mandatory parts of a pod template.

use mxjob_api::validate::validate;
use serde_json::{Value, json};

use super::check_training;
use crate::jobs::{training, with};

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
        // Each error on its own, all together.
        (
            json!({ "containers": [{ "name": "main" }, { "name": "side", "image": "" }] }),
            vec![
                format!("{spec}.containers[0].image: Required value"),
                format!("{spec}.containers[1].image: Required value"),
                format!("{spec}.containers: Required value: one container must be named \"mxnet\""),
            ],
        ),
    ];
    for (patch, violations) in cases {
        check_training(&worker(&patch), &violations.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn names_in_a_template_are_those_of_a_pod() {
    let spec = "spec.mxReplicaSpecs.Worker.template.spec";
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let mount = |mount: Value| {
        json!({
            "volumes": [{ "name": "v", "emptyDir": {} }],
            "containers": [{ "name": "mxnet", "image": "i", "volumeMounts": [mount] }],
        })
    };
    let at = format!("{spec}.containers[0].volumeMounts");
    let cases = [
        (
            json!({ "initContainers": [{ "name": "../u/mxnet", "image": "i" }] }),
            vec![format!("{spec}.initContainers[0].name: Invalid value: \"../u/mxnet\": {label}")],
        ),
        (
            json!({ "initContainers": [{ "name": "mxnet", "image": "i" }] }),
            vec![format!("{spec}.initContainers[0].name: Duplicate value: \"mxnet\"")],
        ),
        (
            json!({ "volumes": [{ "name": "ok" }, { "name": "../../x", "emptyDir": {} }, { "name": "ok" }] }),
            vec![
                format!("{spec}.volumes[1].name: Invalid value: \"../../x\": {label}"),
                format!("{spec}.volumes[2].name: Duplicate value: \"ok\""),
            ],
        ),
        // Errors that the schema reports are not reported twice.
        (
            json!({ "volumes": [{}, null] }),
            vec![
                format!("{spec}.volumes[0].name: Required value"),
                format!(
                    "{spec}.volumes[1]: Invalid value: \"null\": {spec}.volumes[1] in body must be of type object: \"null\""
                ),
            ],
        ),
        (
            json!({ "ephemeralContainers": [{ "name": "mxnet", "image": "i" }] }),
            vec![
                format!("{spec}.ephemeralContainers[0].name: Duplicate value: \"mxnet\""),
                format!(
                    "{spec}.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"
                ),
            ],
        ),
        (mount(json!({ "name": "v", "mountPath": "/m", "subPathExpr": "$(POD)" })), vec![]),
        (
            mount(json!({ "name": "x", "mountPath": "/m" })),
            vec![format!("{at}[0].name: Not found: \"x\"")],
        ),
        (
            mount(json!({ "name": "v", "mountPath": "/m", "subPath": "../x" })),
            vec![format!("{at}.subPath: Invalid value: \"../x\": must not contain '..'")],
        ),
        (
            mount(json!({ "name": "v", "mountPath": "/m", "subPath": "a", "subPathExpr": "/b" })),
            vec![
                format!(
                    "{at}[0].subPathExpr: Invalid value: \"/b\": subPathExpr and subPath are mutually exclusive"
                ),
                format!("{at}.subPathExpr: Invalid value: \"/b\": must be a relative path"),
            ],
        ),
    ];
    for (patch, violations) in cases {
        check_training(&worker(&patch), &violations.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_labels_of_a_template_must_be_labels() {
    let labels = |labels: Value| json!({ "mxReplicaSpecs": { "Worker": { "template": { "metadata": { "labels": labels } } } } });
    check_training(&labels(json!({ "team": "vision", "example.com/team": "", "x": null })), &[]);
    let violations = validate(&with(&training(), &labels(json!({ "team": "a b" }))));
    assert_eq!(violations.len(), 1, "{violations}");
    assert_eq!(violations[0].path.as_str(), "spec.mxReplicaSpecs.Worker.template.metadata.labels");
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
        let violation = format!(
            "{path}: Invalid value: {bad:?}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
        check_training(&limit(json!(bad)), &[&violation]);
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
