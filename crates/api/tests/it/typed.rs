//! Jobs as Go clients write them: unset fields are present as null, empty or zero.

use mxjob_api::{JobMode, admission, validate};
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

use crate::definition::rules::refused;
use crate::jobs::{read, tuning, with, worker_patch};

/// One worker, as the types of the last Go operator marshal it; Kueue's webhook sends the same.
fn marshalled() -> Value {
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "team", "creationTimestamp": null },
        "spec": {
            "runPolicy": {},
            "jobMode": "",
            "mxReplicaSpecs": { "Worker": {
                "replicas": 1,
                "template": {
                    "metadata": { "creationTimestamp": null },
                    "spec": { "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1", "resources": {} }] },
                },
            } },
        },
        "status": { "conditions": null, "replicaStatuses": null },
    })
}

/// The same job as its user typed it.
fn typed() -> Value {
    let mut job = marshalled();
    let object = job.as_object_mut().unwrap();
    object.remove("status");
    object.insert(
        "spec".to_owned(),
        worker_patch(&json!({
            "replicas": 1,
            "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }] } },
        })),
    );
    job
}

#[test]
fn unset_fields_written_by_go_are_accepted_and_ignored() {
    for patch in [
        json!({}),
        json!({ "status": {} }),
        json!({ "status": null }),
        json!({ "spec": { "runPolicy": { "suspend": true } } }),
        json!({ "spec": { "runPolicy": { "schedulingPolicy": {} } } }),
        json!({ "spec": { "mxReplicaSpecs": { "Worker": { "restartPolicy": "OnFailure" } } } }),
    ] {
        let job = merge_patch(&marshalled(), &patch);
        // A merge patch removes the nulls.
        let job = if patch == json!({}) { marshalled() } else { job };
        assert_eq!(admission::create(&job).to_string(), "[]", "{patch}");
        assert_eq!(validate::validate_status(&job).to_string(), "[]", "{patch}");
        let mut stored = job.clone();
        stored.as_object_mut().unwrap().remove("status");
        assert_eq!(refused(&stored, None), Vec::<String>::new(), "{patch}");
        assert_eq!(read(&job).mode, JobMode::MXTrain);
    }
    assert_eq!(read(&marshalled()).replicas, {
        let mut replicas = read(&typed()).replicas;
        replicas[0].template = read(&marshalled()).replicas[0].template.clone();
        replicas
    });
}

#[test]
fn a_round_trip_through_go_types_is_no_change() {
    for (old, new) in [(typed(), marshalled()), (marshalled(), typed())] {
        assert_eq!(admission::update(&old, &new).to_string(), "[]");
        assert_eq!(refused(&new, Some(&old)), Vec::<String>::new());
    }
}

#[test]
fn an_empty_job_mode_is_the_default_mode() {
    let paths = |old: &Value, new: &Value| {
        let errors = admission::update(old, new);
        errors.iter().map(|error| error.path.to_string()).collect::<Vec<_>>()
    };
    let empty = with(&tuning(), &json!({ "jobMode": "" }));
    assert_eq!(paths(&tuning(), &empty), ["spec.jobMode"]);
    let named = with(&marshalled(), &json!({ "jobMode": "MXTrain" }));
    assert_eq!(paths(&marshalled(), &named), ["spec.jobMode"]);
    assert_eq!(paths(&named, &marshalled()), ["spec.jobMode"]);
    assert!(!refused(&marshalled(), Some(&named)).is_empty());
    // The roles are those of the mode that the empty string stands for.
    assert_eq!(admission::create(&empty).len(), 3);
}

#[test]
fn fields_that_users_set_are_validated_as_usual() {
    for (patch, path) in [
        (json!({ "cleanPodPolicy": "" }), "spec.cleanPodPolicy"),
        (json!({ "runPolicy": { "cleanPodPolicy": "" } }), "spec.runPolicy.cleanPodPolicy"),
        (worker_patch(&json!({ "restartPolicy": "" })), "spec.mxReplicaSpecs.Worker.restartPolicy"),
    ] {
        let errors = admission::create(&with(&marshalled(), &patch));
        assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), [path]);
    }
    let limited = worker_patch(&json!({ "template": { "spec": {
        "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1", "resources": { "limits": { "cpu": 1 } } }],
    } } }));
    for (old, path) in [(marshalled(), "resources.limits"), (typed(), "resources")] {
        let errors = admission::update(&old, &with(&old, &limited));
        let path = format!("spec.mxReplicaSpecs.Worker.template.spec.containers[0].{path}");
        assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), [path]);
    }
}
