//! The change that a queue may make: a suspended job's pods are sent elsewhere.

use crate::jobs::{training, with};
use mxjob_api::replace;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

/// A job of a queue, suspended or not, in either layout.
fn queued(suspend: &Value) -> Value {
    let job = merge_patch(
        &training(),
        &json!({ "metadata": { "labels": { "kueue.x-k8s.io/queue-name": "gpu" } } }),
    );
    with(&job, suspend)
}

/// What a queue does to the template of a role.
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
    json!({ "mxReplicaSpecs": { "Worker": { "template": template } } })
}

#[track_caller]
fn check(old: &Value, new: &Value, fixed: &[&str]) {
    let errors = replace::check(old, new);
    let found: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(found, fixed);
}

const TEMPLATE: &str = "spec.mxReplicaSpecs.Worker.template";

/// Where a placement shows to the rule as it is for all jobs.
fn all_fixed() -> Vec<String> {
    let members = ["metadata", "spec.nodeSelector", "spec.schedulingGates", "spec.tolerations"];
    members.map(|member| format!("{TEMPLATE}.{member}")).to_vec()
}

#[test]
fn a_queued_job_can_be_placed_as_it_is_started_and_put_back_as_it_is_stopped() {
    for (held, free) in [
        (json!({ "suspend": true }), json!({ "suspend": false })),
        (json!({ "runPolicy": { "suspend": true } }), json!({ "runPolicy": { "suspend": false } })),
        (json!({ "suspend": true }), json!({ "suspend": null })),
    ] {
        let waiting = queued(&held);
        let started = with(&with(&waiting, &free), &to_workers(&placement()));
        check(&waiting, &started, &[]);
        check(&started, &waiting, &[]);
        // While it waits, too.
        check(&waiting, &with(&waiting, &to_workers(&placement())), &[]);
    }
}

#[test]
fn nobody_else_can_be() {
    let fixed = all_fixed();
    let fixed: Vec<_> = fixed.iter().map(String::as_str).collect();
    let place = |job: &Value| with(job, &to_workers(&placement()));
    let running = queued(&json!({ "suspend": false }));
    check(&running, &place(&running), &fixed);
    let unqueued = with(&training(), &json!({ "suspend": true }));
    check(&unqueued, &place(&unqueued), &fixed);
    // One that joins a queue or leaves it in the same change.
    let waiting = queued(&json!({ "suspend": true }));
    check(&unqueued, &place(&waiting), &fixed);
    check(&waiting, &place(&unqueued), &fixed);
}

#[test]
fn nothing_else_can_be_changed_by_a_queue() {
    let waiting = queued(&json!({ "suspend": true }));
    let name = format!("{TEMPLATE}.metadata");
    let cases = [
        (json!({ "backoffLimit": 1 }), vec!["spec.backoffLimit".to_owned()]),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "replicas": 2 } } }),
            vec!["spec.mxReplicaSpecs.Worker.replicas".to_owned()],
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "template": null } } }),
            vec![TEMPLATE.to_owned()],
        ),
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
        // Not even along with what may be changed.
        let placed =
            with(&waiting, &to_workers(&json!({ "spec": { "nodeSelector": { "a": "b" } } })));
        check(&waiting, &with(&placed, &change), &fixed);
    }
}

#[test]
fn an_empty_place_is_no_change() {
    let waiting = queued(&json!({ "suspend": true }));
    let mut new = waiting.clone();
    new["spec"]["mxReplicaSpecs"]["Worker"]["template"]["metadata"] =
        json!({ "creationTimestamp": null, "labels": {} });
    check(&waiting, &new, &[]);
    check(&new, &waiting, &[]);
}
