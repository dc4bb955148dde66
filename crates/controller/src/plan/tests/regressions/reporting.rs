//! Bugs in statuses and events.

use serde_json::json;

use super::super::world::{World, at, distributed, workers};
use crate::event::EventKind;
use crate::plan::Problem;
use crate::view::{Exit, Phase};

#[test]
fn a_job_without_scheduler_and_servers_does_not_succeed_immediately__mxnet_operator_32() {
    let spec = json!({});
    let mut world = World::new(&[("Scheduler", 0), ("Server", 0), ("Worker", 1)], &spec).started();
    assert_eq!(world.state(), "Running");
    world.observe_end("worker-0", 0);
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn a_crashed_worker_dominates_a_scheduler_that_exits_zero__mxnet_operator_38() {
    // The result depended on the random order of a map: here on nothing, so any order of the two
    // ends works.
    for order in [["scheduler-0", "worker-0"], ["worker-0", "scheduler-0"]] {
        let mut world = distributed(&json!({})).started();
        for replica in order {
            world.end(replica, i32::from(replica == "worker-0"));
        }
        world.quiesce();
        assert_eq!(world.conditions(), "Created !Running Failed", "{order:?}");
        let count =
            |reason: &str| world.events.iter().filter(|event| event.starts_with(reason)).count();
        assert_eq!((count("MXJobFailed"), count("MXJobSucceeded")), (1, 0), "{order:?}");
    }
}

#[test]
fn a_single_worker_is_a_complete_job__mxnet_operator_31_and_1644() {
    let mut world = World::new(&[("Worker", 1)], &json!({})).started();
    assert_eq!(world.conditions(), "Created Running");
    world.observe_end("worker-0", 0);
    assert_eq!(world.conditions(), "Created !Running Succeeded");
}

#[test]
fn a_succeeded_job_never_reads_running_again__1650_and_community_568() {
    let mut world = distributed(&json!({ "cleanPodPolicy": "None" })).started();
    for replica in ["scheduler-0", "worker-0", "worker-1"] {
        world.end(replica, 0);
    }
    world.quiesce();
    // The server still runs, and its pod keeps changing.
    world.pod("server-0").restarts += 1;
    world.quiesce();
    assert_eq!(world.conditions(), "Created !Running Succeeded");
}

#[test]
fn a_succeeded_server_does_not_end_the_job__1650() {
    let mut world = distributed(&json!({})).started();
    world.observe_end("server-0", 0);
    assert_eq!(world.state(), "Running");
}

#[test]
fn start_and_completion_are_written__1643() {
    for code in [0, 1] {
        let mut world = workers(&json!({})).started();
        world.advance(7);
        world.end("worker-0", code);
        world.observe_end("worker-1", code);
        assert_eq!(world.status["startTime"], at(0).to_string(), "{code}");
        assert_eq!(world.status["completionTime"], at(7).to_string(), "{code}");
    }
}

#[test]
fn every_end_has_a_completion_time__994_and_1223_and_1150_and_2071() {
    let over = json!({ "activeDeadlineSeconds": 1 });
    let restarted = json!({ "backoffLimit": 0 });
    for (spec, policy, code) in [
        (&json!({}), "Never", 1),
        (&json!({}), "ExitCode", 1),
        (&restarted, "OnFailure", 1),
        (&restarted, "ExitCode", 137),
        (&over, "Never", 0),
    ] {
        let mut world = workers(spec).restarting(policy).started();
        world.end("worker-0", code);
        world.wait(2);
        assert_eq!(world.state(), "Failed", "{spec} {policy}");
        assert_eq!(world.status["completionTime"], at(2).to_string(), "{spec} {policy}");
    }
}

#[test]
fn a_lost_parameter_server_fails_the_job__881() {
    let mut world = distributed(&json!({})).started();
    world.observe_end("server-0", 1);
    assert_eq!(world.state(), "Failed");
}

#[test]
fn a_job_is_not_running_before_its_servers_and_workers_are__kueue_pods_ready() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    world.run("scheduler-0");
    world.quiesce();
    assert_eq!(world.conditions(), "Created");
}

#[test]
fn a_tuning_job_runs_and_finishes__operators_since_1_5() {
    let roles = [("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)];
    let mut world = World::new(&roles, &json!({ "jobMode": "MXTune" })).started();
    assert_eq!(world.state(), "Running");
    world.observe_end("tuner-0", 0);
    assert_eq!(world.conditions(), "Created !Running Succeeded");
    assert_eq!(world.alive(), Vec::<String>::new());
}

#[test]
fn a_job_whose_pods_are_refused_reports_it__2351_and_673_and_26_and_mxnet_operator_14() {
    let mut world = workers(&json!({}));
    world.problems =
        vec![Problem { object: "pod digits-worker-0".to_owned(), message: "quota".to_owned() }];
    world.quiesce();
    assert_eq!(
        world.message(),
        "MXJob digits is created. The pod digits-worker-0 cannot be created: quota"
    );
}

#[test]
fn the_reason_of_a_preempted_pod_is_reported__999() {
    let mut world = workers(&json!({})).started();
    let pod = world.pod("worker-0");
    pod.phase = Phase::Failed;
    pod.reason = Some("Preempted".to_owned());
    world.quiesce();
    assert_eq!(world.message(), "MXJob digits is failed because worker-0 failed (Preempted).");
}

#[test]
fn the_pod_the_code_and_the_last_log_line_are_reported__2220_and_1749_and_869() {
    let mut world = workers(&json!({})).started();
    world.end("worker-1", 3);
    world.pod("worker-1").exit.as_mut().unwrap().message = Some("no data".to_owned());
    let plan = world.step();
    assert!(plan.events.iter().any(|event| event.kind == EventKind::Warning
        && event.reason == "ExitedWithCode"
        && event.message == "Pod: default.digits-worker-1 exited with code 3"));
    assert_eq!(
        world.message(),
        "MXJob digits is failed because worker-1 exited with exit code 3 (Error): no data"
    );
}

#[test]
fn a_finished_job_causes_no_writes__997_and_1011_and_1426() {
    for policy in ["All", "Running", "None"] {
        let mut world = distributed(&json!({ "cleanPodPolicy": policy })).started();
        world.observe_end("worker-0", 1);
        // Nothing is requested twice while pods terminate, nor afterwards.
        assert!(world.step().is_empty(), "{policy}");
        world.observe_removal();
        let before = world.events.len();
        world.advance(100_000);
        assert!(world.step().is_empty(), "{policy}");
        assert_eq!(world.events.len(), before, "{policy}");
    }
}

#[test]
fn a_new_controller_does_not_report_created_again__mxnet_operator_status_order() {
    let mut world = distributed(&json!({})).started();
    let before = world.status.clone();
    // Nothing but the status outlives a controller.
    assert_eq!(world.plan().status, None);
    world.pod("server-0").restarts = 0;
    world.quiesce();
    assert_eq!(world.status, before);
    assert_eq!(world.conditions(), "Created Running");
}

#[test]
fn a_permanent_exit_code_is_a_failure_and_no_restart__2071() {
    let mut world = workers(&json!({})).restarting("ExitCode").started();
    world.observe_end("worker-0", 1);
    assert_eq!(world.conditions(), "Created !Running Failed");
    assert!(!world.events.iter().any(|event| event.starts_with("MXJobRestarting")));
    assert_eq!(world.counts("Worker").get("restarts"), None);
}

#[test]
fn a_killed_sidecar_does_not_hide_the_code_that_counts() {
    let mut world = workers(&json!({})).restarting("ExitCode").started();
    world.end("worker-0", 3);
    world.pod("worker-0").other_exit =
        Some(("metrics".to_owned(), Exit { code: 137, ..Exit::default() }));
    world.quiesce();
    assert_eq!(world.state(), "Failed");
}
