//! Failures that end the job, and their messages.

use serde_json::json;

use super::world::{World, at, distributed, workers};
use crate::event::EventKind;
use crate::view::{Exit, Phase, PodView};

/// Fails worker 1 of a running job with this pod status; returns the message.
fn message(change: impl FnOnce(&mut PodView)) -> String {
    let mut world = distributed(&json!({})).started();
    world.end("worker-1", 3);
    change(world.pod("worker-1"));
    world.quiesce();
    assert_eq!(world.conditions(), "Created !Running Failed");
    world.message()
}

fn exit(pod: &mut PodView) -> &mut Exit {
    pod.exit.as_mut().unwrap()
}

#[test]
fn the_message_names_replica_code_signal_reason_and_last_log_line() {
    let prefix = "MXJob digits is failed because";
    type Change = fn(&mut PodView);
    let cases: [(Change, &str); 9] = [
        (|_| (), "worker-1 exited with exit code 3 (Error)."),
        (
            |pod| exit(pod).message = Some("epoch=1\nno data\n\n".to_owned()),
            "worker-1 exited with exit code 3 (Error): no data",
        ),
        (|pod| exit(pod).reason = None, "worker-1 exited with exit code 3."),
        (
            |pod| {
                exit(pod).code = 137;
                exit(pod).reason = Some("OOMKilled".to_owned());
            },
            "worker-1 exited with exit code 137, signal 9 (OOMKilled).",
        ),
        (
            |pod| {
                pod.reason = Some("Evicted".to_owned());
                exit(pod).code = 143;
            },
            "worker-1 exited with exit code 143, signal 15 (Error, Evicted).",
        ),
        (
            |pod| {
                pod.exit = None;
                pod.reason = Some("Evicted".to_owned());
                pod.message = Some("The node was low on memory.".to_owned());
            },
            "worker-1 failed (Evicted): The node was low on memory.",
        ),
        (|pod| pod.exit = None, "worker-1 failed (no exit code is known)."),
        (
            |pod| {
                exit(pod).code = 0;
                pod.other_exit = Some(("sidecar".to_owned(), Exit { code: 7, ..Exit::default() }));
            },
            "container sidecar of worker-1 exited with exit code 7.",
        ),
        (
            |pod| {
                pod.other_exit = Some(("sidecar".to_owned(), Exit { code: 7, ..Exit::default() }))
            },
            "worker-1 exited with exit code 3 (Error).",
        ),
    ];
    for (change, end) in cases {
        assert_eq!(message(change), format!("{prefix} {end}"));
    }
}

#[test]
fn a_failure_is_reported_once_as_a_warning() {
    let mut world = distributed(&json!({})).started();
    world.advance(5);
    world.end("worker-1", 3);
    let plan = world.step();
    assert!(plan.events.iter().all(|event| event.kind == EventKind::Warning));
    world.observe_removal();
    let expected = [
        "MXJobRunning: MXJob digits is running.",
        "ExitedWithCode: Pod: default.digits-worker-1 exited with code 3",
        "MXJobFailed: MXJob digits is failed because worker-1 exited with exit code 3 (Error).",
    ];
    assert_eq!(world.events, expected);
    assert_eq!(world.status["completionTime"], "2026-11-24T08:00:05Z");
    assert_eq!(world.counts("Worker"), json!({ "failed": 1 }));
}

#[test]
fn a_final_failure_of_any_role_fails_the_job_and_stops_the_rest() {
    for policy in ["All", "Running", "None"] {
        for lost in ["scheduler-0", "server-0", "worker-0"] {
            let mut world = distributed(&json!({ "cleanPodPolicy": policy })).started();
            world.observe_end(lost, 1);
            assert_eq!(world.state(), "Failed", "{lost} {policy}");
            assert_eq!(world.alive(), Vec::<String>::new(), "{lost} {policy}");
        }
    }
}

#[test]
fn the_first_failure_is_reported() {
    let mut world = distributed(&json!({})).started();
    world.end("worker-1", 3);
    world.advance(1);
    world.end("worker-0", 1);
    world.observe_end("server-0", 143);
    assert_eq!(
        world.message(),
        "MXJob digits is failed because worker-1 exited with exit code 3 (Error), and 2 other replicas too."
    );
}

#[test]
fn among_failures_in_one_second_the_one_without_a_signal_is_first() {
    let mut world = distributed(&json!({})).started();
    world.end("server-0", 143);
    world.observe_end("worker-1", 3);
    assert!(
        world
            .message()
            .contains("worker-1 exited with exit code 3 (Error), and 1 other replica too")
    );
}

#[test]
fn failure_dominates_success_in_one_snapshot() {
    // mxnet-operator 38: the result depended on the order of roles.
    let mut world = distributed(&json!({})).started();
    world.end("scheduler-0", 0);
    world.end("worker-0", 0);
    world.observe_end("worker-1", 1);
    assert_eq!(world.conditions(), "Created !Running Failed");
    assert!(!world.events.iter().any(|event| event.starts_with("MXJobSucceeded")));
}

#[test]
fn a_pod_that_is_being_deleted_has_not_failed() {
    let mut world = workers(&json!({})).started();
    world.end("worker-1", 143);
    world.pod("worker-1").terminating = true;
    world.quiesce();
    assert_eq!(world.state(), "Running");
    assert_eq!(world.counts("Worker"), json!({ "active": 1 }));
    world.observe_removal();
    assert_eq!(world.pod_names(), ["worker-0", "worker-1"]);
}

#[test]
fn restart_policy_exit_code_decides_by_the_code() {
    let cases = [
        (Some(0), "Failed"), // by a sidecar
        (Some(1), "Failed"),
        (Some(127), "Failed"),
        (Some(128), "Restarting"),
        (Some(137), "Restarting"),
        (Some(139), "Restarting"),
        (Some(255), "Restarting"),
        (None, "Restarting"),
    ];
    for (code, state) in cases {
        let mut world = workers(&json!({})).restarting("ExitCode").started();
        world.end("worker-0", code.unwrap_or(1));
        world.pod("worker-0").phase = Phase::Failed;
        if code.is_none() {
            world.pod("worker-0").exit = None;
        }
        world.quiesce();
        assert_eq!(world.state(), state, "{code:?}");
    }
}

#[test]
fn a_job_fails_at_its_deadline_and_its_timer_follows_the_field() {
    let mut world = distributed(&json!({ "activeDeadlineSeconds": 60 })).started();
    assert_eq!(world.plan().wake_at, Some(at(60)));
    world.wait(59);
    assert_eq!(world.state(), "Running");
    world.spec["activeDeadlineSeconds"] = json!(100);
    assert_eq!(world.plan().wake_at, Some(at(100)));
    world.wait(41);
    assert_eq!(world.conditions(), "Created !Running Failed");
    assert_eq!(
        world.message(),
        "MXJob digits is failed because it was active longer than its deadline of 100 s."
    );
    assert_eq!(world.alive(), Vec::<String>::new());
    assert_eq!(world.status["completionTime"], "2026-11-24T08:01:40Z");
}

#[test]
fn a_deadline_beyond_the_range_of_time_never_comes() {
    let mut world =
        World::new(&[("Worker", 1)], &json!({ "activeDeadlineSeconds": i64::MAX })).started();
    world.advance(1_000_000);
    assert_eq!(world.plan().wake_at, None);
    assert_eq!(world.state(), "Running");
}
