//! Jobs of older operators as manifests, so that they can be created again.

use mxjob_api::{mxjob, validate};
use serde_json::{Map, Value, json};

use crate::inventory;

/// The metadata that a user writes. Owners and finalizers belong to the cluster that the job was
/// in.
const KEPT: [&str; 5] = ["name", "generateName", "namespace", "labels", "annotations"];
/// The annotation in which kubectl keeps a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The errors for which the server would reject a job, each with the job's name.
pub fn violations(job: &Value) -> Vec<String> {
    let name = inventory::name(job);
    validate::validate(job).iter().map(|error| format!("{name}: {error}")).collect()
}

/// A job without status and without the metadata that a server writes, so that it can be created
/// again.
pub fn rewrite(job: &Value) -> Value {
    let meta = job["metadata"].as_object();
    let kept =
        KEPT.into_iter().filter_map(|field| Some((field.to_owned(), meta?.get(field)?.clone())));
    let mut meta: Map<String, Value> = kept.collect();
    if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            meta.remove("annotations");
        }
    }
    // The name was generated from it, and stays.
    if meta.contains_key("name") {
        meta.remove("generateName");
    }
    json!({
        "apiVersion": mxjob::API_VERSION, "kind": mxjob::KIND, "metadata": meta, "spec": job["spec"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrite_keeps_only_what_a_user_writes() {
        let spec = json!({"jobMode": "MXTrain", "runPolicy": {"cleanPodPolicy": "None"}, "mxReplicaSpecs": {}});
        let job = json!({
            "apiVersion": "kubeflow.org/v1beta1", "kind": "MXJob",
            "metadata": {
                "name": "a", "generateName": "a-", "namespace": "n", "labels": {"l": "1"}, "uid": "u",
                "resourceVersion": "7", "generation": 1, "creationTimestamp": "2020-01-01T00:00:00Z",
                "annotations": {LAST_APPLIED: "{}"}, "managedFields": [], "ownerReferences": [{"uid": "x"}],
            },
            "spec": spec, "status": {"conditions": []},
        });
        let expected = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": {"name": "a", "namespace": "n", "labels": {"l": "1"}}, "spec": spec,
        });
        assert_eq!(rewrite(&job), expected);
    }
}
