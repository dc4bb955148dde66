//! Holding a job back and letting it go.

use super::world::{at, distributed, workers};
use serde_json::json;

#[test]
fn a_job_created_suspended_makes_nothing_and_has_no_start() {
    let mut world = distributed(&json!({ "suspend": true, "activeDeadlineSeconds": 5 }));
    world.quiesce();
    assert_eq!(world.conditions(), "Created Suspended");
    assert_eq!(world.message(), "MXJob digits is suspended.");
    assert!(world.pods.is_empty() && world.services.is_empty());
    assert_eq!(world.status.get("startTime"), None);
    assert_eq!(world.plan().wake_at, None);
    world.advance(100);
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert_eq!(world.conditions(), "!Suspended Created");
    assert_eq!(world.status["startTime"], "2026-11-24T08:01:40Z");
    assert_eq!((world.pods.len(), world.services.len()), (4, 4));
}

#[test]
fn suspending_stops_everything_and_resuming_starts_the_clock_anew() {
    let mut world = distributed(&json!({ "activeDeadlineSeconds": 60 })).started();
    world.advance(50);
    world.spec["suspend"] = json!(true);
    world.quiesce();
    assert_eq!(world.conditions(), "Created !Running Suspended");
    assert_eq!(world.status["startTime"], "2026-11-24T08:00:00Z");
    assert_eq!(world.counts("Worker"), json!({}));
    assert_eq!(world.alive(), Vec::<String>::new());
    assert_eq!(world.plan().wake_at, None);
    world.reap();
    world.advance(1000);
    world.quiesce();
    assert_eq!(world.state(), "Suspended");
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert_eq!(world.state(), "Created");
    assert_eq!(world.plan().wake_at, Some(at(1110)));
    world.run_all();
    assert_eq!(world.state(), "Running");
    let told: Vec<&str> =
        world.events.iter().map(|event| event.split(':').next().unwrap()).collect();
    assert_eq!(told, ["MXJobRunning", "MXJobSuspended", "MXJobResumed", "MXJobRunning"]);
}

#[test]
fn resumed_pods_wait_for_their_predecessors() {
    let mut world = distributed(&json!({})).started();
    world.spec["suspend"] = json!(true);
    world.quiesce();
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert!(world.pods.values().all(|pod| pod.leaving));
    world.reap();
    world.quiesce();
    assert_eq!(world.alive().len(), 4);
}

#[test]
fn a_removal_that_was_missed_is_made_up_for_after_a_resume() {
    let mut world = distributed(&json!({})).started();
    world.spec["suspend"] = json!(true);
    world.quiesce();
    // The server never got the removal of one pod.
    world.pod("worker-0").leaving = false;
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert!(world.pod("worker-0").leaving, "it belongs to the old rendezvous");
}

#[test]
fn what_leaving_pods_do_while_suspended_is_nobodys_failure() {
    let mut world = workers(&json!({})).started();
    world.spec["suspend"] = json!(true);
    world.end("worker-0", 1);
    world.quiesce();
    assert_eq!(world.state(), "Suspended");
}

#[test]
fn workers_that_had_succeeded_stay_so_over_a_suspension() {
    let mut world = workers(&json!({})).started();
    world.end("worker-0", 0);
    world.quiesce();
    world.spec["suspend"] = json!(true);
    world.quiesce();
    world.reap();
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert_eq!(world.alive(), ["worker-1"]);
}

#[test]
fn suspending_a_finished_job_changes_nothing() {
    let mut world = workers(&json!({})).started();
    world.end("worker-0", 1);
    world.quiesce();
    let before = world.status.clone();
    world.spec["suspend"] = json!(true);
    world.reap();
    world.quiesce();
    assert_eq!(world.status, before);
}

#[test]
fn a_job_whose_last_process_had_ended_well_when_it_was_held_back_is_let_go_to_succeed() {
    let mut world = workers(&json!({})).started();
    world.end("worker-0", 0);
    world.quiesce();
    // It ends by itself, and before anybody has seen it the job is held back.
    world.end("worker-1", 0);
    world.advance(5);
    world.spec["suspend"] = json!(true);
    world.quiesce();
    world.reap();
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert_eq!(world.conditions(), "Created !Running !Suspended Succeeded");
    let told: Vec<&str> =
        world.events.iter().map(|event| event.split(':').next().unwrap()).collect();
    assert_eq!(told, ["MXJobRunning", "MXJobSuspended", "MXJobResumed", "MXJobSucceeded"]);
}

#[test]
fn a_process_that_obeys_the_suspension_with_zero_goes_on_when_it_is_resumed() {
    let mut world = workers(&json!({})).started();
    world.spec["suspend"] = json!(true);
    world.quiesce();
    world.advance(2);
    world.end("worker-0", 0);
    world.end("worker-1", 0);
    world.quiesce();
    assert_eq!(world.counts("Worker"), json!({}));
    world.reap();
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert_eq!((world.state().as_str(), world.alive().len()), ("Created", 2));
}

#[test]
fn an_end_at_about_the_time_of_the_suspension_is_not_taken_for_success_by_two_clocks() {
    let mut world = workers(&json!({})).started();
    world.advance(100);
    world.spec["suspend"] = json!(true);
    world.quiesce();
    world.end("worker-0", 0);
    // Its node is late by two seconds.
    let end = at(98);
    world.pod("worker-0").exit.as_mut().unwrap().finished_at = Some(end);
    world.quiesce();
    world.reap();
    world.spec["suspend"] = json!(false);
    world.quiesce();
    assert_eq!(world.alive().len(), 2);
}
