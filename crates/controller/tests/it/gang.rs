//! Jobs that wait for capacity on one machine, as clients see them.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};
use mxjob_controller::{Gang, Metrics, Options};
use mxjob_testkit::{MxJobs, Server};
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, foreign_pod, job, node};

thread_local! {
    /// The second of the server's clock.
    static SECOND: Cell<i64> = const { Cell::new(0) };
}

fn clock() -> Timestamp {
    let start: Timestamp = "2026-11-24T08:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(SECOND.get())
}

fn native(metrics: Metrics) -> Options {
    Options { gang: Gang::Native, metrics, ..Options::default() }
}

/// A machine of 4 CPUs and a controller that schedules jobs on it.
fn machine() -> Cluster {
    machine_with(MxJobs::BuiltIn)
}

fn machine_with(mxjobs: MxJobs) -> Cluster {
    let options = mxjob_testkit::Options { mxjobs, clock: Some(clock), ..Default::default() };
    let server = Server::with(options);
    server.create("nodes", &node());
    Cluster::on(server, native(Metrics::default()))
}

/// A job of workers with one CPU each.
fn workers(name: &str, count: u64, more: &Value) -> Value {
    let mut job = job(name, &[("Worker", count)]);
    let template = &mut job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"];
    template["containers"][0]["resources"] = json!({ "requests": { "cpu": "1" } });
    for (key, value) in more.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

/// Submits a job of workers at that second.
fn submit(machine: &Cluster, name: &str, count: u64, second: i64, more: &Value) {
    SECOND.set(second);
    machine.submit(&workers(name, count, more));
}

fn end_all(machine: &Cluster, job: &str) {
    for pod in crate::cluster::pods(&machine.server, job) {
        machine.end(crate::cluster::name(&pod), 0, "");
    }
}

fn start_time(server: &Server, job: &str) -> Value {
    server.get("mxjobs", job).unwrap_or_default()["status"]["startTime"].clone()
}

#[tokio::test]
async fn a_job_waits_without_pods_and_starts_when_the_previous_one_finishes() {
    let mut machine = machine();
    submit(&machine, "first", 3, 0, &json!({}));
    machine.pods_of("first", 3).await;
    submit(&machine, "second", 2, 1, &json!({}));
    let message = machine.created("second", "MXJobWaiting", "").await;
    assert_eq!(message, "MXJob second is created. MXJob second waits for cpu 2 for 2 pods.");
    let event = machine.event("MXJobWaiting").await;
    assert_eq!(event, "Normal MXJobWaiting: MXJob second waits for cpu 2 for 2 pods.");
    assert_eq!(start_time(&machine.server, "second"), Value::Null);
    assert_eq!(machine.server.all("services").len(), 3, "nothing is held, no names either");
    machine.end("first-worker-0", 0, "");
    machine.pods_of("second", 2).await;
    let message = machine.created("second", "MXJobCreated", "").await;
    assert_eq!(message, "MXJob second is created.");
    machine.stop().await;
    let created =
        "training_operator_jobs_created_total{job_namespace=\"default\",framework=\"mxnet\"} 2";
    let text = machine.metrics.encode();
    assert!(text.contains(created), "{text}");
}

#[tokio::test]
async fn pods_of_other_owners_take_capacity_until_they_finish() {
    let mut machine = machine();
    let mut other = foreign_pod("other");
    other["spec"]["containers"][0]["resources"] = json!({ "limits": { "cpu": "2" } });
    machine.server.create("pods", &other);
    machine.phase("other", "Running");
    submit(&machine, "digits", 3, 0, &json!({}));
    machine.created("digits", "MXJobWaiting", "").await;
    machine.end("other", 0, "");
    machine.pods_of("digits", 3).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_new_controller_knows_which_jobs_have_started_and_which_wait() {
    let mut machine = machine();
    submit(&machine, "first", 3, 1, &json!({}));
    machine.pods_of("first", 3).await;
    submit(&machine, "second", 2, 0, &json!({}));
    machine.created("second", "MXJobWaiting", "").await;
    machine.stop().await;
    // A replica without a pod keeps its capacity.
    machine.server.remove("pods", "first-worker-1");
    let mut machine = Cluster::on(machine.server, native(Metrics::default()));
    machine.pods_of("first", 3).await;
    machine.pods_of("second", 0).await;
    let text = machine.metrics.encode();
    assert!(!text.contains("jobs_created_total{"), "jobs of before are not counted again: {text}");
    assert!(text.contains("mxjob_jobs{job_namespace=\"default\",state=\"waiting\"} 1"), "{text}");
    end_all(&machine, "first");
    machine.pods_of("second", 2).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_job_that_can_never_start_says_so_and_blocks_nobody() {
    let mut machine = machine();
    submit(&machine, "giant", 5, 0, &json!({}));
    let event = machine.event("MXJobUnschedulable").await;
    let message = event.split_once(": ").unwrap().1;
    assert_eq!(
        message,
        "MXJob giant can never start here: it requests 5 of cpu in total and the nodes have 4."
    );
    machine.created("giant", "MXJobUnschedulable", "").await;
    submit(&machine, "digits", 1, 1, &json!({}));
    machine.pods_of("digits", 1).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_suspended_job_frees_its_capacity_and_waits_when_resumed() {
    let mut machine = machine();
    submit(&machine, "first", 4, 0, &json!({}));
    machine.pods_of("first", 4).await;
    machine.run_pods("first");
    submit(&machine, "second", 4, 1, &json!({}));
    machine.created("second", "MXJobWaiting", "").await;
    machine.set("first", "suspend", json!(true));
    machine.reap("first").await;
    machine.pods_of("second", 4).await;
    machine.set("first", "suspend", json!(false));
    machine.created("first", "MXJobWaiting", "").await;
    assert_eq!(start_time(&machine.server, "first"), Value::Null, "its clock stands still");
    end_all(&machine, "second");
    machine.pods_of("first", 4).await;
    let has_started = |server: &Server| start_time(server, "first").is_string();
    machine.server.wait_for("the start of its clock", has_started).await;
    machine.stop().await;
}

#[tokio::test]
async fn priority_classes_order_the_queue_and_an_unknown_one_is_reported() {
    // The built-in server refuses a job whose priority class does not exist.
    let mut machine = machine_with(MxJobs::Permissive);
    let class = |name: &str| json!({ "schedulingPolicy": { "priorityClass": name } });
    let urgent = json!({ "metadata": { "name": "urgent" }, "value": 1000 });
    machine.server.create("priorityclasses", &urgent);
    submit(&machine, "first", 4, 0, &json!({}));
    machine.pods_of("first", 4).await;
    submit(&machine, "lost", 4, 1, &class("missing"));
    let event = machine.event("UnknownPriorityClass").await;
    let message = "Priority class missing does not exist; the job waits with priority 0";
    assert!(event.ends_with(message), "{event}");
    submit(&machine, "urgent", 4, 2, &class("urgent"));
    machine.created("urgent", "MXJobWaiting", "").await;
    end_all(&machine, "first");
    machine.pods_of("urgent", 4).await;
    machine.pods_of("lost", 0).await;
    machine.stop().await;
}

#[tokio::test]
async fn unschedulable_and_gated_pods_take_no_capacity() {
    let mut machine = machine();
    for (name, cpu, gates) in
        [("giant", "100", json!([])), ("gated", "3", json!([{ "name": "quota" }]))]
    {
        let mut pod = foreign_pod(name);
        pod["spec"]["schedulingGates"] = gates;
        pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": cpu } });
        machine.server.create("pods", &pod);
    }
    submit(&machine, "digits", 4, 0, &json!({}));
    machine.pods_of("digits", 4).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_job_that_is_too_large_is_rejected_and_holds_no_capacity() {
    let mut machine = machine_with(MxJobs::Permissive);
    let large = u64::from(i32::MAX.unsigned_abs());
    submit(&machine, "large", large, 0, &json!({}));
    let mut begun = workers("begun", large, &json!({}));
    begun["status"] = json!({
        "conditions": [{ "type": "Created", "status": "True", "reason": "MXJobCreated", "message": "" }],
        "startTime": "2026-11-24T08:00:00Z",
    });
    machine.submit(&begun);
    submit(&machine, "digits", 4, 1, &json!({}));
    for name in ["large", "begun"] {
        let is_rejected = |server: &Server| {
            let failed = condition(server, name, "Failed");
            failed["status"] == "True" && failed["reason"] == "MXJobFailedValidation"
        };
        machine.server.wait_for(name, is_rejected).await;
        machine.pods_of(name, 0).await;
    }
    machine.pods_of("digits", 4).await;
    machine.stop().await;
}
