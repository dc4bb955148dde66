//! The changes that a queue may make: placing the pods of a suspended job.

use mxjob_api::{admission, replace};
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

use crate::definition::rules::refused;
use crate::jobs::{training, with, worker_patch};

/// A job of a queue, suspended or not, in either layout.
fn queued(suspend: &Value) -> Value {
    let job = merge_patch(
        &training(),
        &json!({ "metadata": { "labels": { "kueue.x-k8s.io/queue-name": "gpu" } } }),
    );
    with(&job, suspend)
}

/// The change that a queue makes to the template of a role.
fn placement() -> Value {
    json!({
        "metadata": { "labels": { "podset": "worker" }, "annotations": { "workload": "w" } },
        "spec": {
            "nodeSelector": { "accelerator": "a100" },
            "tolerations": [{ "key": "gpu", "operator": "Exists" }],
            "schedulingGates": [{ "name": "topology" }],
        },
    })
}

fn to_workers(template: &Value) -> Value {
    worker_patch(&json!({ "template": template }))
}

#[track_caller]
fn check(old: &Value, new: &Value, fixed: &[&str]) {
    let errors = replace::check(old, new);
    let found: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(found, fixed);
}

const TEMPLATE: &str = "spec.mxReplicaSpecs.Worker.template";

/// The changed fields that the general replace rule would report.
fn all_fixed() -> Vec<String> {
    let members = ["metadata", "spec.nodeSelector", "spec.schedulingGates", "spec.tolerations"];
    members.map(|member| format!("{TEMPLATE}.{member}")).to_vec()
}

#[test]
fn queued_job_can_be_placed_when_started_and_put_back_when_stopped() {
    for (suspended, resumed) in [
        (json!({ "suspend": true }), json!({ "suspend": false })),
        (json!({ "runPolicy": { "suspend": true } }), json!({ "runPolicy": { "suspend": false } })),
        (json!({ "suspend": true }), json!({ "suspend": null })),
    ] {
        let waiting = queued(&suspended);
        let started = with(&with(&waiting, &resumed), &to_workers(&placement()));
        check(&waiting, &started, &[]);
        check(&started, &waiting, &[]);
        // Also while it waits.
        check(&waiting, &with(&waiting, &to_workers(&placement())), &[]);
    }
}

#[test]
fn other_jobs_cannot_be_placed() {
    let fixed = all_fixed();
    let fixed: Vec<_> = fixed.iter().map(String::as_str).collect();
    let place = |job: &Value| with(job, &to_workers(&placement()));
    let running = queued(&json!({ "suspend": false }));
    check(&running, &place(&running), &fixed);
    let unqueued = with(&training(), &json!({ "suspend": true }));
    check(&unqueued, &place(&unqueued), &fixed);
    // A job that joins or leaves a queue in the same change.
    let waiting = queued(&json!({ "suspend": true }));
    check(&unqueued, &place(&waiting), &fixed);
    check(&waiting, &place(&unqueued), &fixed);
}

#[test]
fn a_queue_cannot_change_other_fields() {
    let waiting = queued(&json!({ "suspend": true }));
    let name = format!("{TEMPLATE}.metadata");
    let cases = [
        (json!({ "backoffLimit": 1 }), vec!["spec.backoffLimit".to_owned()]),
        (
            worker_patch(&json!({ "replicas": 2 })),
            vec!["spec.mxReplicaSpecs.Worker.replicas".to_owned()],
        ),
        (worker_patch(&json!({ "template": null })), vec![TEMPLATE.to_owned()]),
        (
            json!({ "mxReplicaSpecs": { "Worker": null } }),
            vec!["spec.mxReplicaSpecs.Worker".to_owned()],
        ),
        (to_workers(&json!({ "metadata": { "finalizers": ["a/b"] } })), vec![name]),
        (
            to_workers(&json!({ "spec": { "nodeName": "a" } })),
            vec![format!("{TEMPLATE}.spec.nodeName")],
        ),
        (
            to_workers(&json!({ "spec": { "containers": [] } })),
            vec![format!("{TEMPLATE}.spec.containers[0]")],
        ),
    ];
    for (change, fixed) in cases {
        let fixed: Vec<_> = fixed.iter().map(String::as_str).collect();
        check(&waiting, &with(&waiting, &change), &fixed);
        // Not even together with allowed changes.
        let placed =
            with(&waiting, &to_workers(&json!({ "spec": { "nodeSelector": { "a": "b" } } })));
        check(&waiting, &with(&placed, &change), &fixed);
    }
}

#[test]
fn an_empty_placement_is_no_change() {
    let waiting = queued(&json!({ "suspend": true }));
    let mut new = waiting.clone();
    new["spec"]["mxReplicaSpecs"]["Worker"]["template"]["metadata"] =
        json!({ "creationTimestamp": null, "labels": {} });
    check(&waiting, &new, &[]);
    check(&new, &waiting, &[]);
}

#[test]
fn annotations_with_another_meaning_are_immutable() {
    let waiting = queued(&json!({ "suspend": true }));
    let annotated = |annotations: &Value| {
        with(&waiting, &to_workers(&json!({ "metadata": { "annotations": annotations } })))
    };
    let old = annotated(&json!({ "a": "b", "tuner-server-key": "k" }));
    check(&old, &annotated(&json!({ "c": "d", "tuner-server-key": "k" })), &[]);
    let all = format!("{TEMPLATE}.metadata");
    for key in ["kubeflow.org/attempt", "tuner-server-key"] {
        check(&waiting, &annotated(&json!({ key: "1", "c": "d" })), &[&all]);
    }
    check(&old, &waiting, &[&all]);
    let path = format!("{TEMPLATE}.metadata.annotations.tuner-server-key");
    check(&old, &annotated(&json!({ "tuner-server-key": "l" })), &[&path]);
}

/// Kueue knows only `spec.runPolicy.suspend`.
#[test]
fn a_queue_may_write_only_the_nested_suspend_despite_a_flat_one() {
    for flat in [json!({}), json!({ "suspend": true }), json!({ "suspend": false })] {
        let nested =
            |job: &Value, value: bool| with(job, &json!({ "runPolicy": { "suspend": value } }));
        let created = nested(&queued(&flat), true);
        assert_eq!(admission::create(&created).to_string(), "[]", "{flat}");
        assert_eq!(refused(&created, None), Vec::<String>::new());
        let mut job = created;
        for value in [false, true, false] {
            let next = nested(&job, value);
            assert_eq!(admission::update(&job, &next).to_string(), "[]", "{flat} {value}");
            assert_eq!(refused(&next, Some(&job)), Vec::<String>::new());
            assert_eq!(crate::jobs::read(&next).suspend, value, "the nested one is in force");
            job = next;
        }
        // Removing the label keeps the stored values; from then on the two places are one field
        // again.
        let unqueued = merge_patch(
            &job,
            &json!({ "metadata": { "labels": { "kueue.x-k8s.io/queue-name": null } } }),
        );
        assert_eq!(admission::update(&job, &unqueued).to_string(), "[]");
        let differs = flat.get("suspend") == Some(&json!(false));
        let errors = admission::update(&unqueued, &nested(&unqueued, true));
        assert_eq!(errors.len(), usize::from(differs), "{flat}: {errors}");
    }
}

#[test]
fn changing_the_flat_suspend_reports_that_the_nested_one_takes_precedence() {
    let job = queued(&json!({ "runPolicy": { "suspend": false } }));
    for queued in [job, with(&training(), &json!({ "runPolicy": { "suspend": false } }))] {
        let errors = admission::update(&queued, &with(&queued, &json!({ "suspend": true })));
        assert_eq!(errors.len(), 1);
        assert_eq!(errors.iter().next().unwrap().path.as_str(), "spec.runPolicy.suspend");
    }
    let unqueued =
        with(&training(), &json!({ "suspend": true, "runPolicy": { "suspend": false } }));
    assert_eq!(admission::create(&unqueued).len(), 1);
}
