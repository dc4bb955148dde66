//! Validation and the replace rule together, for creates and updates.

use mxjob_api::admission;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

use crate::jobs::{replica, training, with, worker_patch};

/// Asserts that this change is refused at exactly these paths.
fn check(old: &Value, patch: &Value, paths: &[&str]) {
    let errors = admission::update(old, &merge_patch(old, patch));
    let found: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(found, paths, "{patch}: {errors}");
}

/// Jobs that the last operators accepted and we do not: three schedulers, an empty policy, an
/// unknown role, two layouts that differ.
fn stored() -> Value {
    with(
        &training(),
        &json!({
            "cleanPodPolicy": "",
            "ttlSecondsAfterFinished": 5,
            "runPolicy": { "ttlSecondsAfterFinished": 6 },
            "mxReplicaSpecs": { "Scheduler": { "replicas": 3, "restartPolicy": "" }, "Evaluator": replica() },
        }),
    )
}

#[test]
fn a_create_must_be_valid() {
    assert!(admission::create(&training()).is_empty());
    assert_eq!(admission::create(&stored()).len(), 5);
}

#[test]
fn jobs_of_older_operators_can_change_their_replaceable_fields() {
    let changes = [
        json!({ "metadata": { "labels": { "a": "b" } } }),
        json!({ "metadata": { "finalizers": [], "ownerReferences": [] } }),
        json!({ "spec": { "activeDeadlineSeconds": 60 } }),
        json!({ "spec": { "suspend": true } }),
        json!({ "spec": { "cleanPodPolicy": "All" } }),
        json!({ "spec": { "cleanPodPolicy": null } }),
        json!({ "spec": { "ttlSecondsAfterFinished": 6 } }),
        json!({ "spec": { "runPolicy": { "ttlSecondsAfterFinished": null } } }),
    ];
    for change in changes {
        check(&stored(), &change, &[]);
    }
}

#[test]
fn stored_invalid_names_do_not_block_changes() {
    let template = json!({ "spec": {
        "initContainers": [{ "name": "../u/mxnet", "image": "i" }],
        "volumes": [{ "name": "../../x", "emptyDir": {} }],
    } });
    let patch = worker_patch(&json!({ "template": template }));
    let stored = with(&training(), &patch);
    assert_eq!(admission::create(&stored).len(), 2);
    for change in [
        json!({ "metadata": { "labels": { "a": "b" }, "finalizers": [] } }),
        json!({ "spec": { "ttlSecondsAfterFinished": 5 } }),
        json!({ "spec": { "suspend": true } }),
    ] {
        check(&stored, &change, &[]);
    }
}

#[test]
fn a_change_must_not_add_an_error() {
    check(&stored(), &json!({ "spec": { "cleanPodPolicy": "Some" } }), &["spec.cleanPodPolicy"]);
    check(
        &stored(),
        &json!({ "spec": { "activeDeadlineSeconds": 0 } }),
        &["spec.activeDeadlineSeconds"],
    );
    // The two values still differ, and are other ones than before.
    let path = "spec.runPolicy.ttlSecondsAfterFinished";
    check(&stored(), &json!({ "spec": { "ttlSecondsAfterFinished": 7 } }), &[path]);
    check(&training(), &json!({ "spec": { "cleanPodPolicy": "" } }), &["spec.cleanPodPolicy"]);
}

#[test]
fn immutable_fields_are_reported_before_other_errors() {
    let change = json!({ "spec": { "backoffLimit": 2, "cleanPodPolicy": "Some" } });
    check(&stored(), &change, &["spec.backoffLimit"]);
    let status = admission::refusal(
        "digits",
        &admission::update(&stored(), &merge_patch(&stored(), &change)),
    );
    assert_eq!((status.code, status.reason.unwrap().as_str()), (Some(422), "Invalid"));
    let message = status.message.unwrap();
    assert!(
        message.starts_with(
            "MXJob.kubeflow.org \"digits\" is invalid: spec.backoffLimit: Forbidden: only"
        ),
        "{message}"
    );
}

#[test]
fn a_change_that_leaves_the_spec_alone_is_never_refused_because_of_it() {
    for spec in [json!(null), json!(1), json!([]), json!({ "mxReplicaSpecs": 7 })] {
        let old = json!({ "metadata": { "name": "digits" }, "spec": spec });
        check(&old, &json!({ "metadata": { "labels": { "a": "b" } }, "status": { "x": 1 } }), &[]);
    }
}

#[test]
fn an_invalid_status_of_another_writer_can_be_replaced() {
    let status = |value: Value| json!({ "metadata": { "name": "digits" }, "status": value });
    let old = status(json!({ "startTime": "yesterday" }));
    let errors = |new: Value| admission::update_status(&old, &status(new)).len();
    assert_eq!(errors(json!({ "startTime": "yesterday", "completionTime": null })), 0);
    assert_eq!(errors(json!({ "startTime": "tomorrow" })), 1);
    assert_eq!(errors(json!({ "conditions": [{ "type": 1, "status": "True" }] })), 1);
}
