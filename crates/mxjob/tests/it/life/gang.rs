//! Gang scheduling: a job starts with all of its replicas, or has no pods and reports the reason.

use serde_json::{Value, json};

use super::{condition, objects_of, workers};
use crate::support::{Place, Server, Text as _, until, wait_until};

/// The node's allocatable CPU.
fn millicores(server: &Server<'_>) -> u64 {
    let text =
        server.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.cpu}"]);
    1000 * text.parse::<u64>().unwrap_or_else(|_| panic!("not a whole number of cores: {text:?}"))
}

/// A job whose workers each request this percentage of the node's CPU, and exit when a file with
/// the job's name exists.
fn job(place: &Place, server: &Server<'_>, name: &str, count: u32, percent: u64) -> Value {
    let mut job = workers(place, name, count, "Never", &until(name));
    let cpu = format!("{}m", millicores(server) * percent / 100);
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": cpu}});
    job
}

/// Waits until a job reports this reason for waiting, and returns the message.
fn wait_for_reason(server: &Server<'_>, name: &str, reason: &str) -> String {
    wait_until(&format!("{name} waits with {reason}"), || {
        let job = server.get("mxjob", name);
        let (_, found, message) = condition(&job, "Created")?;
        (found == reason).then(|| message.to_owned())
    })
}

#[test]
fn jobs_that_do_not_fit_together_run_one_after_the_other() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&job(&place, &server, "first", 2, 30));
    server.wait_for("first", "Running");
    server.create(&job(&place, &server, "second", 2, 30));
    let message = wait_for_reason(&server, "second", "MXJobWaiting");
    message.must_contain("MXJob second waits for");
    // One of its two workers would fit, but one alone cannot train.
    assert_eq!(objects_of(&server, "pods", "second"), [""; 0]);
    wait_until("an event has the reason", || {
        server
            .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
            .contains("MXJobWaiting")
            .then_some(())
    });
    place.write("first", "");
    server.wait_for("second", "Running");
    place.write("second", "");
    server.wait_for("second", "Succeeded");
    let time = |name: &str, field: &str| {
        server.get("mxjob", name)["status"][field].as_str().unwrap().to_owned()
    };
    assert!(time("first", "completionTime") <= time("second", "startTime"));
}

#[test]
fn job_that_can_never_fit_is_unschedulable_and_does_not_block_others() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&job(&place, &server, "huge", 2, 80));
    let message = wait_for_reason(&server, "huge", "MXJobUnschedulable");
    for part in ["can never start here", "cpu"] {
        message.must_contain(part);
    }
    server.create(&job(&place, &server, "small", 1, 10));
    server.wait_for("small", "Running");
    assert_eq!(objects_of(&server, "pods", "huge"), [""; 0]);
}

#[test]
fn waiting_job_with_the_higher_priority_class_starts_first() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "high"}, "value": 1000,
    }));
    server.create(&job(&place, &server, "running", 1, 80));
    server.wait_for("running", "Running");
    server.create(&job(&place, &server, "low-priority", 1, 60));
    wait_for_reason(&server, "low-priority", "MXJobWaiting");
    let mut high = job(&place, &server, "high-priority", 1, 60);
    high["spec"]["schedulingPolicy"] = json!({"priorityClass": "high"});
    server.create(&high);
    wait_for_reason(&server, "high-priority", "MXJobWaiting");

    place.write("running", "");
    server.wait_for("high-priority", "Running");
    wait_for_reason(&server, "low-priority", "MXJobWaiting");
    assert_eq!(objects_of(&server, "pods", "low-priority"), [""; 0]);
    place.write("high-priority", "");
    place.write("low-priority", "");
    server.wait_for("low-priority", "Succeeded");
    server.wait_for("high-priority", "Succeeded");
}
