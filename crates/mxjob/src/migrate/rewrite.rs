//! Jobs of older operators as files to create anew: without what a server writes, and otherwise as they were.

use mxjob_api::{mxjob, validate};
use serde_json::{Map, Value};

use super::source;
use crate::cli::Format;
use crate::exit::{Code, Failure};
use crate::output;

/// The parts of the metadata that a user writes. Owners and finalizers are of the cluster that the job was in.
const KEPT: [&str; 5] = ["name", "generateName", "namespace", "labels", "annotations"];
/// What kubectl remembers of its last apply; it has a copy of the object in it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Prints jobs, one document each. What the server would refuse all the same is said.
pub(super) fn print(jobs: &[Value], format: Format) -> Result<(), Failure> {
    let jobs: Vec<Value> = jobs.iter().map(rewritten).collect();
    match (format, jobs.as_slice()) {
        (Format::Json, [job]) => output::data(format_args!("{job:#}")),
        (Format::Json, jobs) => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": jobs});
            output::data(format_args!("{list:#}"));
        }
        (Format::Yaml, jobs) => {
            let documents: Vec<_> = jobs.iter().map(mxjob_machinery::json::to_yaml).collect();
            output::data(documents.join("---\n").trim_end());
        }
    }
    let faults = jobs.iter().flat_map(|job| {
        let name = source::name(job);
        let errors = validate::validate(job);
        errors.iter().map(|error| format!("{name}: {error}")).collect::<Vec<_>>()
    });
    let faults: Vec<String> = faults.collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure {
        code: Code::JobFailed,
        message: format!(
            "the server will refuse this until it is mended:\n  {}",
            faults.join("\n  ")
        ),
    })
}

/// One job.
fn rewritten(job: &Value) -> Value {
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
    // A generated name would be taken for one that was given.
    if meta.contains_key("name") {
        meta.remove("generateName");
    }
    serde_json::json!({
        "apiVersion": mxjob::API_VERSION, "kind": mxjob::KIND, "metadata": meta, "spec": job["spec"],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_writes_is_left_out_and_the_rest_stays() {
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
        let want = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": {"name": "a", "namespace": "n", "labels": {"l": "1"}}, "spec": spec,
        });
        assert_eq!(rewritten(&job), want);
    }
}
