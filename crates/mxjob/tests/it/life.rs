//! Jobs with real processes from their creation to their end: restarts, limits, clean-up,
//! suspension and gang scheduling.
//!
//! The unit tests of `plan` cover all situations. These tests check that the parts work together.

mod cleaning;
mod exit_codes;
mod gang;
mod limits;
mod many_jobs;
mod real_mxnet;
mod suspending;

use serde_json::{Value, json};

use crate::support::{Place, Server, wait_until};

/// A job of workers only, each of which runs a shell script. `$PLACE` in it is the test's folder.
fn workers(place: &Place, name: &str, count: u32, restart_policy: &str, script: &str) -> Value {
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": {"name": name},
        "spec": {"cleanPodPolicy": "None", "mxReplicaSpecs": {"Worker": {
            "replicas": count, "restartPolicy": restart_policy,
            "template": {"spec": {"containers": [{
                "name": "mxnet", "image": "none", "command": ["/bin/sh", "-c", script],
                "env": [{"name": "PLACE", "value": place.path()}],
            }]}},
        }}},
    })
}

/// A list, so that one call of kubectl creates all objects.
fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The status, reason and message of a condition.
fn condition<'a>(job: &'a Value, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = job["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    Some((found["status"].as_str()?, found["reason"].as_str()?, found["message"].as_str()?))
}

/// `Succeeded` or `Failed`; `None` while the job has not finished.
fn outcome(job: &Value) -> Option<&'static str> {
    ["Succeeded", "Failed"]
        .into_iter()
        .find(|kind| condition(job, kind).is_some_and(|(status, ..)| status == "True"))
}

/// Waits until the job has finished, and returns it.
fn finished(server: &Server<'_>, name: &str) -> Value {
    wait_until(&format!("{name} has finished"), || {
        let job = server.get("mxjob", name);
        outcome(&job).is_some().then_some(job)
    })
}

/// Waits until all jobs have finished, and returns them.
fn all_finished(server: &Server<'_>) -> Vec<Value> {
    wait_until("all jobs have finished", || {
        let mut list: Value =
            serde_json::from_str(&server.kubectl(&["get", "mxjobs", "-o", "json"])).unwrap();
        let Value::Array(jobs) = list["items"].take() else { panic!("not a list: {list}") };
        jobs.iter().all(|job| outcome(job).is_some()).then_some(jobs)
    })
}

/// The number of restarts of the job's replicas, over all roles.
fn restarts(job: &Value) -> u64 {
    let roles = job["status"]["replicaStatuses"].as_object();
    roles.into_iter().flatten().filter_map(|(_, role)| role["restarts"].as_u64()).sum()
}

/// Reads a job, changes its spec and replaces it; tries again after a conflict.
fn replace(server: &Server<'_>, name: &str, change: impl Fn(&mut Value)) {
    let path = format!("/apis/kubeflow.org/v1/namespaces/default/mxjobs/{name}");
    wait_until("the replace succeeds without a conflict", || {
        let mut job = server.get("mxjob", name);
        change(&mut job["spec"]);
        let done = server.kubectl_with(&["replace", "--raw", &path, "-f", "-"], &job);
        let is_conflict = done.stderr.contains("the object has been modified");
        assert!(done.status.success() || is_conflict, "{done:?}");
        done.status.success().then_some(())
    });
}

/// The sorted names of a job's objects of one kind, without the job's name in front.
fn objects_of(server: &Server<'_>, kind: &str, name: &str) -> Vec<String> {
    let selector = format!("training.kubeflow.org/job-name={name}");
    let names =
        server.kubectl(&["get", kind, "-l", &selector, "-o", "jsonpath={.items[*].metadata.name}"]);
    let prefix = format!("{name}-");
    let mut names: Vec<String> =
        names.split_whitespace().map(|one| one.trim_start_matches(&prefix).to_owned()).collect();
    names.sort_unstable();
    names
}
