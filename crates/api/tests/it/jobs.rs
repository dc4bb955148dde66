//! Jobs for tests.

use mxjob_api::Job;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

/// The replicas of one role: one pod with a training container.
pub(crate) fn replica() -> Value {
    json!({ "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet:1.9.1" }] } } })
}

fn object(spec: &Value) -> Value {
    json!({
        "apiVersion": "kubeflow.org/v1",
        "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "default", "uid": "7d1f", "generation": 1 },
        "spec": spec,
    })
}

/// A training job of one scheduler, one server and one worker.
pub(crate) fn training() -> Value {
    object(
        &json!({ "mxReplicaSpecs": { "Scheduler": replica(), "Server": replica(), "Worker": replica() } }),
    )
}

/// A job of one worker.
pub(crate) fn alone() -> Value {
    object(&json!({ "mxReplicaSpecs": { "Worker": replica() } }))
}

/// A tuning job.
pub(crate) fn tuning() -> Value {
    object(&json!({
        "jobMode": "MXTune",
        "mxReplicaSpecs": { "TunerTracker": replica(), "TunerServer": replica(), "Tuner": replica() },
    }))
}

/// An object with a merge patch applied to its spec: null removes.
pub(crate) fn with(object: &Value, spec: &Value) -> Value {
    merge_patch(object, &json!({ "spec": spec }))
}

/// A patch that sets the field at a path, such as `mxReplicaSpecs.Worker.replicas`.
pub(crate) fn patch_at(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |inner, field| json!({ field: inner }))
}

/// A patch of the spec that changes the workers.
pub(crate) fn worker_patch(patch: &Value) -> Value {
    json!({ "mxReplicaSpecs": { "Worker": patch } })
}

/// The typed view of such an object.
pub(crate) fn read(object: &Value) -> Job {
    Job::from_value(object).unwrap()
}
