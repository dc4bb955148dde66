//! Suspend and resume.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{condition, left, outcome, replace, restarts};
use crate::support::{Place, Server, until, wait_until};

#[test]
fn a_suspended_job_holds_nothing_and_runs_from_the_start_when_it_is_resumed() {
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
    wait_until("its pods and services are gone", || {
        (left(&server, "pods", "paused").is_empty()
            && left(&server, "services", "paused").is_empty())
        .then_some(())
    });
    // Suspended time does not count: it stays so for longer than its deadline.
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
    // The clock starts anew; to hold a job back is no failure, so nothing is counted.
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
fn a_job_that_is_made_suspended_starts_when_it_is_let_go() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut job = place.job("later", "true", "true", "true");
    job["spec"]["suspend"] = json!(true);
    server.create(&job);
    server.wait_for("later", "Suspended");
    assert!(left(&server, "pods", "later").is_empty());
    assert!(server.get("mxjob", "later")["status"]["startTime"].is_null());
    replace(&server, "later", |spec| spec["suspend"] = json!(false));
    server.wait_for("later", "Succeeded");
}
