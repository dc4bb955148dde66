//! Gang admission: a job starts with all of its replicas or holds nothing and says why.

use serde_json::{Value, json};

use super::{condition, left, workers};
use crate::support::{Place, Server, until, wait_until};

/// The node's CPU in thousandths.
fn millicores(server: &Server<'_>) -> u64 {
    let text =
        server.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.cpu}"]);
    1000 * text.parse::<u64>().unwrap_or_else(|_| panic!("not a whole number of cores: {text:?}"))
}

/// A job whose workers each ask for so many hundredths of the node's CPU, and end when a file with
/// the job's name is there.
fn job(place: &Place, server: &Server<'_>, name: &str, count: u32, percent: u64) -> Value {
    let mut job = workers(place, name, count, "Never", &until(name));
    let cpu = format!("{}m", millicores(server) * percent / 100);
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": cpu}});
    job
}

/// Waits until a job says that it waits, for that reason; what it says.
fn waits(server: &Server<'_>, name: &str, reason: &str) -> String {
    wait_until(&format!("{name} waits with {reason}"), || {
        let job = server.get("mxjob", name);
        let (_, found, message) = condition(&job, "Created")?;
        (found == reason).then(|| message.to_owned())
    })
}

#[test]
fn two_jobs_that_do_not_fit_together_run_one_after_the_other() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&job(&place, &server, "first", 2, 30));
    server.wait_for("first", "Running");
    server.create(&job(&place, &server, "second", 2, 30));
    let message = waits(&server, "second", "MXJobWaiting");
    assert!(message.contains("MXJob second waits for"), "{message}");
    // One of its two workers would fit, but half of a rendezvous is of no use.
    assert_eq!(left(&server, "pods", "second"), [""; 0]);
    wait_until("an event tells of it", || {
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
fn a_job_that_can_never_fit_says_so_and_holds_nobody_up() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&job(&place, &server, "huge", 2, 80));
    let message = waits(&server, "huge", "MXJobUnschedulable");
    for part in ["can never start here", "cpu"] {
        assert!(message.contains(part), "{message}");
    }
    server.create(&job(&place, &server, "small", 1, 10));
    server.wait_for("small", "Running");
    assert_eq!(left(&server, "pods", "huge"), [""; 0]);
}

#[test]
fn of_the_jobs_that_wait_the_one_of_the_higher_priority_class_starts_first() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "urgent"}, "value": 1000,
    }));
    server.create(&job(&place, &server, "running", 1, 80));
    server.wait_for("running", "Running");
    server.create(&job(&place, &server, "early", 1, 60));
    waits(&server, "early", "MXJobWaiting");
    let mut late = job(&place, &server, "late", 1, 60);
    late["spec"]["schedulingPolicy"] = json!({"priorityClass": "urgent"});
    server.create(&late);
    waits(&server, "late", "MXJobWaiting");

    place.write("running", "");
    server.wait_for("late", "Running");
    waits(&server, "early", "MXJobWaiting");
    assert_eq!(left(&server, "pods", "early"), [""; 0]);
    place.write("late", "");
    place.write("early", "");
    server.wait_for("early", "Succeeded");
    server.wait_for("late", "Succeeded");
}
