//! Section 2 of the contract: what a replace may change, with one cause for each immutable field
//! that changed.

use mxjob_api::replace;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

use crate::jobs::{alone, patch_at, replica, training, with, worker_patch};

/// Asserts that the difference of the two objects is exactly in these immutable fields.
fn check(old: &Value, new: &Value, fixed: &[&str]) {
    let errors = replace::check(old, new);
    let found: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(found, fixed, "{old:#}\n{new:#}");
    for error in &errors {
        let cause = error.cause();
        assert_eq!(cause.reason, "FieldValueForbidden");
        assert_eq!(
            cause.message,
            "Forbidden: only metadata.labels, metadata.annotations, spec.activeDeadlineSeconds, \
             spec.ttlSecondsAfterFinished, spec.cleanPodPolicy and spec.suspend may be changed"
        );
    }
}

/// The same for a patch on the spec of a training job with a policy and a template.
fn check_patch(patch: &Value, fixed: &[&str]) {
    let old = rich();
    check(&old, &with(&old, patch), fixed);
}

fn rich() -> Value {
    let template = json!({
        "metadata": { "labels": { "team": "vision" }, "annotations": { "example.com/owner": "me" } },
        "spec": {
            "containers": [{
                "name": "mxnet", "image": "mxnet:1.9.1", "args": ["-c", "train"],
                "env": [{ "name": "A", "value": "1" }],
                "resources": { "limits": { "cpu": "1000m", "nvidia.com/gpu": 1 } },
            }],
            "nodeSelector": { "disk": "ssd" },
        },
    });
    with(
        &training(),
        &json!({
            "jobMode": "MXTrain", "backoffLimit": 3, "ttlSecondsAfterFinished": 60, "successPolicy": "",
            "schedulingPolicy": { "queue": "default" },
            "mxReplicaSpecs": { "Worker": { "replicas": 2, "restartPolicy": "OnFailure", "template": template } },
        }),
    )
}

#[test]
fn the_replaceable_fields_may_be_set_changed_and_removed_in_either_layout() {
    let changes = [
        json!({ "activeDeadlineSeconds": 600 }),
        json!({ "ttlSecondsAfterFinished": 10000 }),
        json!({ "ttlSecondsAfterFinished": null }),
        json!({ "cleanPodPolicy": "None" }),
        json!({ "suspend": true }),
        json!({ "activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0, "cleanPodPolicy": "All", "suspend": false }),
    ];
    for change in changes {
        check_patch(&change, &[]);
        check_patch(&json!({ "runPolicy": change }), &[]);
        let old = with(&rich(), &json!({ "runPolicy": change }));
        check(&old, &rich(), &[]);
    }
}

#[test]
fn metadata_is_not_checked_by_the_replace_rule() {
    let old = rich();
    let metadata = json!({ "metadata": {
        "labels": { "a": "b" }, "annotations": { "c": "d" }, "finalizers": ["x.y/z"], "generation": 9,
    } });
    check(&old, &merge_patch(&old, &metadata), &[]);
}

#[test]
fn the_status_is_ignored() {
    let old = rich();
    check(&old, &merge_patch(&old, &json!({ "status": { "conditions": [] } })), &[]);
}

#[test]
fn every_other_field_of_the_spec_is_immutable() {
    for (path, value) in [
        ("jobMode", json!("MXTune")),
        ("jobMode", json!(null)),
        ("backoffLimit", json!(4)),
        ("backoffLimit", json!(null)),
        ("successPolicy", json!("AllWorkers")),
        ("restartScope", json!("Job")),
        ("schedulingPolicy.queue", json!("other")),
        ("schedulingPolicy.minAvailable", json!(2)),
        ("schedulingPolicy.priorityClass", json!("high")),
        ("schedulingPolicy.scheduleTimeoutSeconds", json!(2)),
        ("schedulingPolicy.minResources", json!({ "cpu": 1 })),
        ("runPolicy.backoffLimit", json!(4)),
        ("runPolicy.schedulingPolicy.queue", json!("other")),
        ("mxReplicaSpecs.Worker.replicas", json!(3)),
        ("mxReplicaSpecs.Worker.replicas", json!(null)),
        ("mxReplicaSpecs.Worker.restartPolicy", json!("Never")),
        ("mxReplicaSpecs.Worker.label", json!("x")),
        ("mxReplicaSpecs.Worker", json!(null)),
        ("mxReplicaSpecs.Tuner", replica()),
        // Writing down a default is a change: stored values are as typed.
        ("mxReplicaSpecs.Server.replicas", json!(1)),
        ("mxReplicaSpecs", json!(null)),
        ("mxReplicaSpecs", json!("x")),
        ("unknown", json!(1)),
        ("runPolicy.unknown", json!(1)),
        ("runPolicy", json!(1)),
    ] {
        check_patch(&patch_at(path, &value), &[&format!("spec.{path}")]);
    }
    check_patch(&json!({ "schedulingPolicy": null }), &["spec.schedulingPolicy.queue"]);
    check_patch(
        &json!({ "mxReplicaSpecs": { "Worker": null, "worker": replica() } }),
        &["spec.mxReplicaSpecs.Worker", "spec.mxReplicaSpecs.worker"],
    );
}

#[test]
fn a_change_in_a_template_is_reported_with_the_deepest_path() {
    let template = "spec.mxReplicaSpecs.Worker.template";
    let container = format!("{template}.spec.containers[0]");
    let cases: &[(&str, Value, &[&str])] = &[
        ("/spec/containers/0/image", json!("mxnet:2"), &["image"]),
        ("/spec/containers/0/args/1", json!("other"), &["args[1]"]),
        ("/spec/containers/0/args", json!(["-c", "train", "more"]), &["args[2]"]),
        ("/spec/containers/0/args", json!([]), &["args[0]", "args[1]"]),
        ("/spec/containers/0/args", json!(["train", "-c"]), &["args[0]", "args[1]"]),
        ("/spec/containers/0/args", Value::Null, &["args"]),
        ("/spec/containers/0/env/0/value", json!("2"), &["env[0].value"]),
        ("/spec/containers/0/resources/limits/cpu", json!("1"), &["resources.limits.cpu"]),
        (
            "/spec/containers/0/resources/limits/nvidia.com~1gpu",
            json!(2),
            &["resources.limits[nvidia.com/gpu]"],
        ),
        (
            "/spec/containers/0/resources/limits",
            json!({}),
            &["resources.limits.cpu", "resources.limits[nvidia.com/gpu]"],
        ),
    ];
    for (pointer, value, fixed) in cases {
        let old = rich();
        let mut new = old.clone();
        *new["spec"]["mxReplicaSpecs"]["Worker"]["template"].pointer_mut(pointer).unwrap() =
            value.clone();
        let fixed: Vec<_> = fixed.iter().map(|path| format!("{container}.{path}")).collect();
        check(&old, &new, &fixed.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let worker = |patch: &Value| worker_patch(&json!({ "template": patch }));
    let labels = format!("{template}.metadata.labels.team");
    check_patch(&worker(&json!({ "metadata": { "labels": { "team": "audio" } } })), &[&labels]);
    let annotation = format!("{template}.metadata.annotations[example.com/owner]");
    check_patch(
        &worker(&json!({ "metadata": { "annotations": { "example.com/owner": null } } })),
        &[&annotation],
    );
    let volumes = format!("{template}.spec.volumes");
    check_patch(&worker(&json!({ "spec": { "volumes": [] } })), &[&volumes]);
}

#[test]
fn each_changed_immutable_field_has_its_own_cause() {
    check_patch(
        &json!({
            "ttlSecondsAfterFinished": 1, "backoffLimit": 9, "jobMode": "MXTune", "cleanPodPolicy": "All",
            "mxReplicaSpecs": { "Worker": { "replicas": 9, "restartPolicy": "Never" }, "Server": null },
        }),
        &[
            "spec.jobMode",
            "spec.mxReplicaSpecs.Server",
            "spec.mxReplicaSpecs.Worker.replicas",
            "spec.mxReplicaSpecs.Worker.restartPolicy",
            "spec.backoffLimit",
        ],
    );
}

#[test]
fn a_removed_spec_changes_all_its_fields() {
    let old = rich();
    let fixed = [
        "spec.jobMode",
        "spec.mxReplicaSpecs",
        "spec.successPolicy",
        "spec.backoffLimit",
        "spec.schedulingPolicy.queue",
    ];
    for spec in [json!(null), json!({})] {
        let mut new = old.clone();
        new["spec"] = spec;
        check(&old, &new, &fixed);
    }
    let mut new = old.clone();
    new["spec"] = json!([]);
    check(&old, &new, &["spec"]);
}

#[test]
fn a_no_op_in_any_form_is_not_reported() {
    let old = rich();
    check(&old, &old.clone(), &[]);
    check_patch(
        &json!({ "backoffLimit": 3.0, "mxReplicaSpecs": { "Worker": { "replicas": 2.0 } } }),
        &[],
    );
    let mut new = old.clone();
    new["spec"]["restartScope"] = Value::Null;
    new["spec"]["runPolicy"] = json!({ "backoffLimit": null, "schedulingPolicy": null });
    new["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["volumes"] = Value::Null;
    check(&old, &new, &[]);
    check(&new, &old, &[]);
    // Not even of an object that could not be admitted.
    let clash = with(&old, &json!({ "backoffLimit": 4, "runPolicy": { "backoffLimit": 3 } }));
    check(&clash, &clash.clone(), &[]);
    // Keys in another order are the same object.
    let reordered: Value = serde_json::from_str(
        r#"{ "spec": { "mxReplicaSpecs": { "Worker": { "template": 1, "replicas": 1 } }, "jobMode": "MXTrain" } }"#,
    )
    .unwrap();
    let ordered: Value = serde_json::from_str(
        r#"{ "spec": { "jobMode": "MXTrain", "mxReplicaSpecs": { "Worker": { "replicas": 1, "template": 1 } } } }"#,
    )
    .unwrap();
    check(&ordered, &reordered, &[]);
}

#[test]
fn quantities_are_compared_as_typed() {
    let old = rich();
    let set = |value: Value| {
        let mut new = old.clone();
        new["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["resources"]
            ["limits"]["cpu"] = value;
        new
    };
    let path = "spec.mxReplicaSpecs.Worker.template.spec.containers[0].resources.limits.cpu";
    check(&old, &set(json!("1000m")), &[]);
    check(&old, &set(json!("1")), &[path]);
    check(&old, &set(json!(1)), &[path]);
}

#[test]
fn a_field_moved_to_the_other_layout_is_unchanged() {
    let flat = with(
        &alone(),
        &json!({ "backoffLimit": 3, "ttlSecondsAfterFinished": 5, "schedulingPolicy": { "queue": "q" } }),
    );
    let nested = with(
        &alone(),
        &json!({ "runPolicy": { "backoffLimit": 3.0, "ttlSecondsAfterFinished": 5, "schedulingPolicy": { "queue": "q" } } }),
    );
    check(&flat, &nested, &[]);
    check(&nested, &flat, &[]);
    let both = with(&nested, &json!({ "backoffLimit": 3 }));
    check(&flat, &both, &[]);
    check(&both, &flat, &[]);
    check(
        &flat,
        &with(&nested, &json!({ "runPolicy": { "backoffLimit": 4 } })),
        &["spec.runPolicy.backoffLimit"],
    );
    check(&nested, &with(&flat, &json!({ "backoffLimit": 4 })), &["spec.backoffLimit"]);
    // A field changed in both places is one field, with one cause.
    check(
        &both,
        &with(&both, &json!({ "backoffLimit": 4, "runPolicy": { "backoffLimit": 4 } })),
        &["spec.runPolicy.backoffLimit"],
    );
    check(
        &both,
        &alone(),
        &["spec.runPolicy.backoffLimit", "spec.runPolicy.schedulingPolicy.queue"],
    );
}

#[test]
fn the_message_lists_the_fields_that_may_be_replaced() {
    let old = rich();
    let message =
        |patch: Value| replace::message("digits", &replace::check(&old, &with(&old, &patch)));
    assert_eq!(
        message(json!({ "backoffLimit": 4 })),
        "MXJob.kubeflow.org \"digits\" is invalid: spec.backoffLimit: Forbidden: only metadata.labels, metadata.annotations, \
         spec.activeDeadlineSeconds, spec.ttlSecondsAfterFinished, spec.cleanPodPolicy and spec.suspend may be changed"
    );
    assert_eq!(
        message(json!({ "backoffLimit": 4, "jobMode": "MXTune" })),
        "MXJob.kubeflow.org \"digits\" is invalid: [spec.jobMode: Forbidden, spec.backoffLimit: Forbidden]: only metadata.labels, \
         metadata.annotations, spec.activeDeadlineSeconds, spec.ttlSecondsAfterFinished, spec.cleanPodPolicy and spec.suspend may be changed"
    );
    for field in replace::REPLACEABLE {
        assert!(message(json!({ "jobMode": "MXTune" })).contains(field));
    }
}

#[test]
fn the_effective_value_stays_if_a_stored_object_sets_a_field_twice() {
    let both = with(&alone(), &json!({ "backoffLimit": 4, "runPolicy": { "backoffLimit": 3 } }));
    // The nested field takes precedence, so the flat one may be removed or adjusted, but not the
    // reverse.
    check(&both, &with(&both, &json!({ "backoffLimit": null })), &[]);
    check(&both, &with(&both, &json!({ "backoffLimit": 3 })), &[]);
    let nested_gone = with(&both, &json!({ "runPolicy": null }));
    check(&both, &nested_gone, &["spec.backoffLimit"]);
    let changed = with(&both, &json!({ "runPolicy": { "backoffLimit": 4 } }));
    check(&both, &changed, &["spec.runPolicy.backoffLimit"]);
}
