//! Jobs in files: dumps of kubectl, and manifests that were written for an older operator.

use serde_json::{Value, json};

use super::{OLDER, job};
use crate::support::{Place, Text as _};

/// A dump of `kubectl get mxjobs -o json` with one finished job.
fn dump(place: &Place) -> Value {
    let mut job = job(place, &OLDER[2], "digits");
    job["metadata"] = json!({
        "name": "digits", "namespace": "training", "uid": "7d1f", "resourceVersion": "1", "generation": 1,
        "creationTimestamp": "2024-09-10T08:00:00Z",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    });
    job["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = 60.into();
    job["status"] = json!({
        "conditions": [{"type": "Succeeded", "status": "True", "lastTransitionTime": "2024-09-10T09:00:00Z"}],
        "replicaStatuses": {"Worker": {"succeeded": 2}},
        "startTime": "2024-09-10T08:00:00Z", "completionTime": "2024-09-10T09:00:00Z",
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [job, {"apiVersion": "v1", "kind": "ConfigMap"}]})
}

#[test]
fn dump_is_reported_without_a_cluster() {
    let place = Place::new();
    let file = place.write("dump.json", &dump(&place).to_string());
    let done = place.mxjob(&["migrate", "-f", &file]);
    // The TTL of the job has expired, so the controller would delete it.
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    done.stdout.must_start_with("training/digits  Succeeded  training-operator 1.8\n  danger  ");
    done.stderr.must_contain("1 finding needs a decision");
    let nothing = place.write("nothing.yaml", "kind: ConfigMap\n");
    let done = place.mxjob(&["migrate", "-f", &nothing]);
    assert_eq!(
        (done.code(), done.stderr.as_str()),
        (Some(2), "mxjob: the files contain no MXJob\n")
    );
}

#[test]
fn rewritten_job_can_be_created_again() {
    let place = Place::new();
    let file = place.write("dump.json", &dump(&place).to_string());
    let done = place.mxjob(&["migrate", "--rewrite", "-f", &file]);
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    for removed in ["status", "uid", "creationTimestamp", "last-applied", "List"] {
        assert!(!done.stdout.contains(removed), "{removed}: {}", done.stdout);
    }
    assert!(
        done.stdout.contains("namespace: training")
            && done.stdout.contains("ttlSecondsAfterFinished: 60"),
        "{}",
        done.stdout
    );
    let again = place.write("again.yaml", &done.stdout);
    let done = place.mxjob(&["migrate", "-f", &again]);
    done.stdout.must_start_with("training/digits  not started  no operator\n");
}

#[test]
fn invalid_rewritten_job_is_named() {
    let place = Place::new();
    let mut job = job(&place, &OLDER[0], "digits");
    job["spec"]["mxReplicaSpecs"].as_object_mut().unwrap().remove("Server");
    let file = place.write("job.json", &job.to_string());
    let done = place.mxjob(&["migrate", "--rewrite", "-f", &file]);
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    done.stderr.must_start_with("mxjob: the server will reject these manifests until they are fixed:\n  digits: spec.mxReplicaSpecs");
}
