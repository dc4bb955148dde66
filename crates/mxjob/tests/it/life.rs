//! The whole life of a job with real processes: how it restarts, runs out of time, is cleaned up,
//! is held back and waits for room.
//!
//! What every situation leads to is proved exhaustively where it is decided; here it is shown that
//! the parts do it together.

mod cleaning;
mod crowd;
mod exit_codes;
mod gang;
mod limits;
mod real_mxnet;
mod suspending;

use serde_json::{Value, json};

use crate::support::{Place, Server, wait_until};

/// A job of workers alone, each of them a shell script. `$PLACE` in it is the test's folder.
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

/// A list that creates all of its objects with one call of kubectl.
fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The status of a condition, and its message.
fn condition<'a>(job: &'a Value, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = job["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    Some((found["status"].as_str()?, found["reason"].as_str()?, found["message"].as_str()?))
}

/// `Succeeded` or `Failed`, once the job is either.
fn outcome(job: &Value) -> Option<&'static str> {
    ["Succeeded", "Failed"]
        .into_iter()
        .find(|kind| condition(job, kind).is_some_and(|(status, ..)| status == "True"))
}

/// Waits until the job has ended; the job.
fn ended(server: &Server<'_>, name: &str) -> Value {
    wait_until(&format!("{name} has ended"), || {
        let job = server.get("mxjob", name);
        outcome(&job).is_some().then_some(job)
    })
}

/// All jobs, once every one of them has ended.
fn all_ended(server: &Server<'_>) -> Vec<Value> {
    wait_until("all jobs have ended", || {
        let mut list: Value =
            serde_json::from_str(&server.kubectl(&["get", "mxjobs", "-o", "json"])).unwrap();
        let Value::Array(jobs) = list["items"].take() else { panic!("not a list: {list}") };
        jobs.iter().all(|job| outcome(job).is_some()).then_some(jobs)
    })
}

/// How often the job's replicas have been started again, over all roles.
fn restarts(job: &Value) -> u64 {
    let roles = job["status"]["replicaStatuses"].as_object();
    roles.into_iter().flatten().filter_map(|(_, role)| role["restarts"].as_u64()).sum()
}

/// Changes fields of a live job's spec by replacing it as read.
fn replace(server: &Server<'_>, name: &str, change: impl Fn(&mut Value)) {
    let path = format!("/apis/kubeflow.org/v1/namespaces/default/mxjobs/{name}");
    wait_until("no other write came between", || {
        let mut job = server.get("mxjob", name);
        change(&mut job["spec"]);
        let done = server.kubectl_with(&["replace", "--raw", &path, "-f", "-"], &job);
        let is_conflict = done.stderr.contains("the object has been modified");
        assert!(done.status.success() || is_conflict, "{done:?}");
        done.status.success().then_some(())
    });
}

/// The names of a job's objects of one kind, sorted: the part after the job's name.
fn left(server: &Server<'_>, kind: &str, name: &str) -> Vec<String> {
    let selector = format!("training.kubeflow.org/job-name={name}");
    let names =
        server.kubectl(&["get", kind, "-l", &selector, "-o", "jsonpath={.items[*].metadata.name}"]);
    let prefix = format!("{name}-");
    let mut names: Vec<String> =
        names.split_whitespace().map(|one| one.trim_start_matches(&prefix).to_owned()).collect();
    names.sort_unstable();
    names
}
