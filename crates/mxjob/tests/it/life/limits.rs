//! `backoffLimit`, `activeDeadlineSeconds` and `ttlSecondsAfterFinished`, also when they are
//! replaced on an existing job.

use serde_json::json;

use super::{condition, finished, outcome, replace, restarts, workers};
use crate::support::{Place, Server, Text as _};

#[test]
fn job_fails_after_as_many_restarts_as_its_backoff_limit() {
    let place = Place::new();
    let server = Server::up(&place);
    let run = "echo run >> \"$PLACE/runs\"; echo no data; exit 129";
    let mut job = workers(&place, "failing", 1, "ExitCode", run);
    job["spec"]["backoffLimit"] = json!(2);
    server.create(&job);
    let job = finished(&server, "failing");
    let (_, reason, message) = condition(&job, "Failed").unwrap();
    assert_eq!(reason, "MXJobFailed");
    for part in ["backoff limit of 2", "worker-0 exited with exit code 129", "no data"] {
        message.must_contain(part);
    }
    assert_eq!(restarts(&job), 2, "{}", job["status"]);
    assert_eq!(std::fs::read_to_string(place.path().join("runs")).unwrap(), "run\n".repeat(3));
}

#[test]
fn restarts_in_place_end_at_the_backoff_limit_and_the_failed_pod_stays() {
    let place = Place::new();
    let server = Server::up(&place);
    let run = "echo run >> \"$PLACE/runs\"; echo no data; exit 3";
    let mut job = workers(&place, "crashing", 1, "OnFailure", run);
    job["spec"]["backoffLimit"] = json!(2);
    server.create(&job);
    let job = finished(&server, "crashing");
    let (_, _, message) = condition(&job, "Failed").unwrap();
    for part in ["backoff limit of 2", "worker-0 exited with exit code 3", "no data"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(restarts(&job), 2, "{}", job["status"]);
    crate::support::wait_until("the pod is stopped", || {
        let pod = server.get("pod", "crashing-worker-0");
        (pod["status"]["phase"] == "Failed").then_some(())
    });
    assert_eq!(server.kubectl(&["logs", "crashing-worker-0"]).trim(), "no data");
    assert_eq!(std::fs::read_to_string(place.path().join("runs")).unwrap(), "run\n".repeat(3));
}

#[test]
fn pod_that_exceeds_its_active_deadline_fails() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut job = workers(&place, "slow", 1, "Never", "sleep 1000");
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["activeDeadlineSeconds"] = json!(1);
    server.create(&job);
    let job = finished(&server, "slow");
    let (_, _, message) = condition(&job, "Failed").unwrap();
    assert!(message.contains("DeadlineExceeded"), "{message}");
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn no_replica_starts_on_a_cordoned_node() {
    let place = Place::new();
    let server = Server::up(&place);
    let node = server.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    server.create(&workers(&place, "moving", 1, "OnFailure", "sleep 1000"));
    server.wait_for("moving", "Running");
    server.kubectl(&["drain", &node, "--force", "--timeout=60s"]);
    crate::support::wait_until("the new pod waits for a node", || {
        let pod = server.try_kubectl(&["get", "pod", "moving-worker-0", "-o", "json"]);
        pod.stdout.contains("0/1 nodes are available: 1 node(s) were unschedulable").then_some(())
    });
    server.kubectl(&["uncordon", &node]);
    crate::support::wait_until("the pod runs", || {
        (server.get("pod", "moving-worker-0")["status"]["phase"] == "Running").then_some(())
    });
}

#[test]
fn job_that_exceeds_its_active_deadline_fails() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut job = workers(&place, "slow", 2, "Never", "sleep 1000");
    job["spec"]["activeDeadlineSeconds"] = json!(1);
    server.create(&job);
    let job = finished(&server, "slow");
    let (_, _, message) = condition(&job, "Failed").unwrap();
    message.must_contain("active longer than its deadline of 1 s");
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn shorter_deadline_stops_a_running_job() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut job = place.job("endless", "sleep 1000", "sleep 1000", "sleep 1000");
    job["spec"]["activeDeadlineSeconds"] = json!(3600);
    server.create(&job);
    server.wait_for("endless", "Running");
    replace(&server, "endless", |spec| spec["activeDeadlineSeconds"] = json!(1));
    let job = finished(&server, "endless");
    assert_eq!(outcome(&job), Some("Failed"));
    let (_, _, message) = condition(&job, "Failed").unwrap();
    message.must_contain("deadline of 1 s");
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn finished_jobs_are_deleted_after_their_ttl_even_if_it_is_set_later() {
    let place = Place::new();
    let server = Server::up(&place);
    for (name, ttl) in [("kept", None), ("brief", Some(1)), ("long", Some(3600))] {
        let mut job = workers(&place, name, 1, "Never", "true");
        if let Some(ttl) = ttl {
            job["spec"]["ttlSecondsAfterFinished"] = json!(ttl);
        }
        server.create(&job);
    }
    server.kubectl(&["wait", "mxjob/brief", "--for=delete", "--timeout=60s"]);
    for name in ["kept", "long"] {
        assert_eq!(outcome(&finished(&server, name)), Some("Succeeded"), "{name}");
        replace(&server, name, |spec| spec["ttlSecondsAfterFinished"] = json!(0));
        server.kubectl(&["wait", &format!("mxjob/{name}"), "--for=delete", "--timeout=60s"]);
    }
    crate::support::wait_until("their pods and services are deleted", || {
        (server.kubectl(&["get", "pods,services", "-o", "name"]) == "service/kubernetes\n")
            .then_some(())
    });
}
