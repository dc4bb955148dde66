//! The mandatory parts of a pod template.

use mxjob_api::validate::validate;
use serde_json::{Value, json};

use super::check_training;
use crate::jobs::{training, with, worker_patch};

/// A worker with this pod spec.
fn worker(spec: &Value) -> Value {
    worker_patch(&json!({ "template": { "spec": spec } }))
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// Checks the violations of workers with these pod specs.
fn check_workers(cases: &[(Value, &[&str])]) {
    for (spec, violations) in cases {
        let path = "spec.mxReplicaSpecs.Worker.template.spec";
        let text = |one: &&str| one.replace("$spec", path).replace("$label", LABEL);
        let violations: Vec<String> = violations.iter().map(text).collect();
        let violations: Vec<&str> = violations.iter().map(String::as_str).collect();
        check_training(&worker(spec), &violations);
    }
}

#[test]
fn a_template_needs_the_training_container_and_every_container_an_image() {
    let cases: &[(Value, &[&str])] = &[
        (json!(null), &["$spec: Required value"]),
        (json!({ "containers": null }), &["$spec.containers: Required value"]),
        (json!({ "containers": [] }), &["$spec.containers: Required value"]),
        (
            json!({ "containers": [{ "name": "main", "image": "i" }] }),
            &["$spec.containers: Required value: one container must be named \"mxnet\""],
        ),
        (
            json!({ "containers": [{ "name": "mxnet" }] }),
            &["$spec.containers[0].image: Required value"],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "" }] }),
            &["$spec.containers[0].image: Required value"],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "name": "side" }] }),
            &["$spec.containers[1].image: Required value"],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "image": "i" }] }),
            &["$spec.containers[1].name: Required value"],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "name": "mxnet", "image": "i" }] }),
            &["$spec.containers[1].name: Duplicate value: \"mxnet\""],
        ),
        (
            json!({ "initContainers": [{ "name": "setup" }] }),
            &["$spec.initContainers[0].image: Required value"],
        ),
        (
            json!({ "containers": [null, { "name": "mxnet", "image": "i" }] }),
            &[
                "$spec.containers[0]: Invalid value: \"null\": $spec.containers[0] in body must be of type object: \"null\"",
            ],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i", "ports": [{ "name": "mxjob-port", "containerPort": 70000 }] }] }),
            &[
                "$spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        // Each error on its own, all together.
        (
            json!({ "containers": [{ "name": "main" }, { "name": "side", "image": "" }] }),
            &[
                "$spec.containers[0].image: Required value",
                "$spec.containers[1].image: Required value",
                "$spec.containers: Required value: one container must be named \"mxnet\"",
            ],
        ),
    ];
    check_workers(cases);
}

#[test]
fn names_in_a_template_are_those_of_a_pod() {
    let mount = |mount: Value| {
        json!({
            "volumes": [{ "name": "v", "emptyDir": {} }],
            "containers": [{ "name": "mxnet", "image": "i", "volumeMounts": [mount] }],
        })
    };
    let cases: &[(Value, &[&str])] = &[
        (
            json!({ "initContainers": [{ "name": "../u/mxnet", "image": "i" }] }),
            &["$spec.initContainers[0].name: Invalid value: \"../u/mxnet\": $label"],
        ),
        (
            json!({ "initContainers": [{ "name": "mxnet", "image": "i" }] }),
            &["$spec.initContainers[0].name: Duplicate value: \"mxnet\""],
        ),
        (
            json!({ "volumes": [{ "name": "ok" }, { "name": "../../x", "emptyDir": {} }, { "name": "ok" }] }),
            &[
                "$spec.volumes[1].name: Invalid value: \"../../x\": $label",
                "$spec.volumes[2].name: Duplicate value: \"ok\"",
            ],
        ),
        // Errors that the schema reports are not reported twice.
        (
            json!({ "volumes": [{}, null] }),
            &[
                "$spec.volumes[0].name: Required value",
                "$spec.volumes[1]: Invalid value: \"null\": $spec.volumes[1] in body must be of type object: \"null\"",
            ],
        ),
        (
            json!({ "ephemeralContainers": [{ "name": "mxnet", "image": "i" }] }),
            &[
                "$spec.ephemeralContainers[0].name: Duplicate value: \"mxnet\"",
                "$spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
            ],
        ),
        (mount(json!({ "name": "v", "mountPath": "/m", "subPathExpr": "$(POD)" })), &[]),
        (
            mount(json!({ "name": "x", "mountPath": "/m" })),
            &["$spec.containers[0].volumeMounts[0].name: Not found: \"x\""],
        ),
        (
            mount(json!({ "name": "v", "mountPath": "/m", "subPath": "../x" })),
            &[
                "$spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'",
            ],
        ),
        (
            mount(json!({ "name": "v", "mountPath": "/m", "subPath": "a", "subPathExpr": "/b" })),
            &[
                "$spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"/b\": subPathExpr and subPath are mutually exclusive",
                "$spec.containers[0].volumeMounts.subPathExpr: Invalid value: \"/b\": must be a relative path",
            ],
        ),
    ];
    check_workers(cases);
}

#[test]
fn the_labels_of_a_template_must_be_labels() {
    let labels =
        |labels: Value| worker_patch(&json!({ "template": { "metadata": { "labels": labels } } }));
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
