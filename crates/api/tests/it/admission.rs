//! What a create and an update must satisfy, taken together.

use crate::jobs::{replica, training, with};
use mxjob_api::admission;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

/// Holds that this change is refused at exactly these paths.
fn check(old: &Value, patch: &Value, paths: &[&str]) {
    let errors = admission::update(old, &merge_patch(old, patch));
    let found: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(found, paths, "{patch}: {errors}");
}

/// What the last operators accepted and we do not: three rendezvous, an empty policy, a role of nobody, two layouts that disagree.
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
fn what_an_older_operator_stored_can_still_be_changed_where_anything_can() {
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
fn names_that_were_stored_before_they_were_checked_stand_in_the_way_of_no_change() {
    let template = json!({ "spec": {
        "initContainers": [{ "name": "../u/mxnet", "image": "i" }],
        "volumes": [{ "name": "../../x", "emptyDir": {} }],
    } });
    let patch = json!({ "mxReplicaSpecs": { "Worker": { "template": template } } });
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
fn a_change_may_not_add_a_fault() {
    check(&stored(), &json!({ "spec": { "cleanPodPolicy": "Some" } }), &["spec.cleanPodPolicy"]);
    check(
        &stored(),
        &json!({ "spec": { "activeDeadlineSeconds": 0 } }),
        &["spec.activeDeadlineSeconds"],
    );
    // Still two values, and other ones than before.
    let path = "spec.runPolicy.ttlSecondsAfterFinished";
    check(&stored(), &json!({ "spec": { "ttlSecondsAfterFinished": 7 } }), &[path]);
    check(&training(), &json!({ "spec": { "cleanPodPolicy": "" } }), &["spec.cleanPodPolicy"]);
}

#[test]
fn a_fixed_field_is_named_before_anything_else() {
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
fn a_status_of_another_writer_can_be_written_over() {
    let status = |value: Value| json!({ "metadata": { "name": "digits" }, "status": value });
    let old = status(json!({ "startTime": "yesterday" }));
    let errors = |new: Value| admission::update_status(&old, &status(new)).len();
    assert_eq!(errors(json!({ "startTime": "yesterday", "completionTime": null })), 0);
    assert_eq!(errors(json!({ "startTime": "tomorrow" })), 1);
    assert_eq!(errors(json!({ "conditions": [{ "type": 1, "status": "True" }] })), 1);
}
