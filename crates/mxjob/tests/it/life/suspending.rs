//! Suspend and resume.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{condition, objects_of, outcome, replace, restarts};
use crate::support::{Place, Server, until, wait_until};

#[test]
fn suspended_job_has_no_pods_and_starts_again_when_resumed() {
    let place = Place::new();
    let server = Server::up(&place);
    let run = format!("echo run >> \"$PLACE/$DMLC_ROLE$DMLC_WORKER_ID\"; {}", until("go"));
    server.create(&place.job("paused", &run, &run, &run));
    server.wait_for("paused", "Running");
    let began = server.get("mxjob", "paused")["status"]["startTime"].clone();

    replace(&server, "paused", |spec| {
        spec["suspend"] = json!(true);
        spec["activeDeadlineSeconds"] = json!(1);
    });
    server.wait_for("paused", "Suspended");
    place.wait_until_only_the_server_runs(&server);
    wait_until("its pods and services are deleted", || {
        (objects_of(&server, "pods", "paused").is_empty()
            && objects_of(&server, "services", "paused").is_empty())
        .then_some(())
    });
    // Suspended time does not count towards the deadline.
    let since = Instant::now();
    wait_until("the deadline would have passed", || {
        (since.elapsed() > Duration::from_millis(1500)).then_some(())
    });
    let job = server.get("mxjob", "paused");
    assert_eq!(outcome(&job), None, "{}", job["status"]);
    assert_eq!(condition(&job, "Running").map(|(status, ..)| status), Some("False"));
    assert_eq!(
        condition(&job, "Suspended").map(|(status, reason, _)| (status, reason)),
        Some(("True", "MXJobSuspended"))
    );

    replace(&server, "paused", |spec| {
        spec["suspend"] = json!(false);
        spec["activeDeadlineSeconds"] = json!(3600);
    });
    server.wait_for("paused", "Running");
    let job = server.get("mxjob", "paused");
    assert_eq!(
        condition(&job, "Suspended").map(|(status, reason, _)| (status, reason)),
        Some(("False", "MXJobResumed"))
    );
    // The start time is new, and a suspension does not count as a restart.
    assert!(job["status"]["startTime"].as_str() > began.as_str(), "{}", job["status"]);
    assert_eq!(restarts(&job), 0, "{}", job["status"]);
    place.write("go", "");
    server.wait_for("paused", "Succeeded");
    for replica in ["scheduler", "server", "worker0", "worker1"] {
        let runs = std::fs::read_to_string(place.path().join(replica)).unwrap();
        assert_eq!(runs, "run\nrun\n", "{replica}");
    }
}

#[test]
fn job_created_suspended_starts_when_resumed() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut job = place.job("later", "true", "true", "true");
    job["spec"]["suspend"] = json!(true);
    server.create(&job);
    server.wait_for("later", "Suspended");
    assert!(objects_of(&server, "pods", "later").is_empty());
    assert!(server.get("mxjob", "later")["status"]["startTime"].is_null());
    replace(&server, "later", |spec| spec["suspend"] = json!(false));
    server.wait_for("later", "Succeeded");
}
