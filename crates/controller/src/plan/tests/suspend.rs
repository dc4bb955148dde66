//! Suspending and resuming a job.

use serde_json::json;

use super::world::{at, distributed, workers};

#[test]
fn a_job_created_suspended_creates_nothing_and_has_no_start_time() {
    let mut world = distributed(&json!({ "suspend": true, "activeDeadlineSeconds": 5 }));
    world.quiesce();
    assert_eq!(world.conditions(), "Created Suspended");
    assert_eq!(world.message(), "MXJob digits is suspended.");
    assert!(world.pods.is_empty() && world.services.is_empty());
    assert_eq!(world.status.get("startTime"), None);
    assert_eq!(world.plan().wake_at, None);
    world.advance(100);
    world.suspend(false);
    assert_eq!(world.conditions(), "!Suspended Created");
    assert_eq!(world.status["startTime"], "2026-11-24T08:01:40Z");
    assert_eq!((world.pods.len(), world.services.len()), (4, 4));
}

#[test]
fn suspending_stops_everything_and_resuming_resets_the_start_time() {
    let mut world = distributed(&json!({ "activeDeadlineSeconds": 60 })).started();
    world.advance(50);
    world.suspend(true);
    assert_eq!(world.conditions(), "Created !Running Suspended");
    assert_eq!(world.status["startTime"], "2026-11-24T08:00:00Z");
    assert_eq!(world.counts("Worker"), json!({}));
    assert_eq!(world.alive(), Vec::<String>::new());
    assert_eq!(world.plan().wake_at, None);
    world.reap();
    world.wait(1000);
    assert_eq!(world.state(), "Suspended");
    world.suspend(false);
    assert_eq!(world.state(), "Created");
    assert_eq!(world.plan().wake_at, Some(at(1110)));
    world.run_all();
    assert_eq!(world.state(), "Running");
    let reasons: Vec<&str> =
        world.events.iter().map(|event| event.split(':').next().unwrap()).collect();
    assert_eq!(reasons, ["MXJobRunning", "MXJobSuspended", "MXJobResumed", "MXJobRunning"]);
}

#[test]
fn resumed_pods_wait_for_their_predecessors() {
    let mut world = distributed(&json!({})).started();
    world.suspend(true);
    world.suspend(false);
    assert!(world.pods.values().all(|pod| pod.terminating));
    world.observe_removal();
    assert_eq!(world.alive().len(), 4);
}

#[test]
fn a_failed_deletion_is_repeated_after_a_resume() {
    let mut world = distributed(&json!({})).started();
    world.suspend(true);
    // The deletion of one pod did not reach the server.
    world.pod("worker-0").terminating = false;
    world.suspend(false);
    assert!(world.pod("worker-0").terminating, "it belongs to the old rendezvous");
}

#[test]
fn pods_that_fail_during_a_suspension_do_not_fail_the_job() {
    let mut world = workers(&json!({})).started();
    world.spec["suspend"] = json!(true);
    world.observe_end("worker-0", 1);
    assert_eq!(world.state(), "Suspended");
}

#[test]
fn succeeded_workers_stay_succeeded_over_a_suspension() {
    let mut world = workers(&json!({})).started();
    world.observe_end("worker-0", 0);
    world.suspend(true);
    world.reap();
    world.suspend(false);
    assert_eq!(world.alive(), ["worker-1"]);
}

#[test]
fn suspending_a_finished_job_changes_nothing() {
    let mut world = workers(&json!({})).started();
    world.observe_end("worker-0", 1);
    let before = world.status.clone();
    world.spec["suspend"] = json!(true);
    world.observe_removal();
    assert_eq!(world.status, before);
}

#[test]
fn a_job_suspended_after_its_last_success_succeeds_when_resumed() {
    let mut world = workers(&json!({})).started();
    world.observe_end("worker-0", 0);
    // It ends by itself, and the job is suspended before anybody sees that.
    world.end("worker-1", 0);
    world.advance(5);
    world.suspend(true);
    world.reap();
    world.suspend(false);
    assert_eq!(world.conditions(), "Created !Running !Suspended Succeeded");
    let reasons: Vec<&str> =
        world.events.iter().map(|event| event.split(':').next().unwrap()).collect();
    assert_eq!(reasons, ["MXJobRunning", "MXJobSuspended", "MXJobResumed", "MXJobSucceeded"]);
}

#[test]
fn a_process_that_ends_with_zero_on_suspension_runs_again_when_resumed() {
    let mut world = workers(&json!({})).started();
    world.suspend(true);
    world.advance(2);
    world.end("worker-0", 0);
    world.observe_end("worker-1", 0);
    assert_eq!(world.counts("Worker"), json!({}));
    world.reap();
    world.suspend(false);
    assert_eq!((world.state().as_str(), world.alive().len()), ("Created", 2));
}

#[test]
fn an_end_at_about_the_time_of_the_suspension_is_no_success() {
    let mut world = workers(&json!({})).started();
    world.advance(100);
    world.suspend(true);
    world.end("worker-0", 0);
    // The clock of its node is two seconds behind.
    let end = at(98);
    world.pod("worker-0").exit.as_mut().unwrap().finished_at = Some(end);
    world.quiesce();
    world.reap();
    world.suspend(false);
    assert_eq!(world.alive().len(), 2);
}
