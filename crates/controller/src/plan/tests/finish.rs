//! Which objects of a finished job stay.

use serde_json::{Value, json};

use super::world::{World, at, distributed};

/// A finished job: it failed with worker 0 or succeeded, and server 0 still runs.
fn ended(spec: &Value, code: i32) -> World {
    let mut world = distributed(spec).started();
    for (replica, code) in [("scheduler-0", 0), ("worker-1", 0), ("worker-0", code)] {
        world.end(replica, code);
    }
    world.quiesce();
    world.observe_removal();
    world
}

#[test]
fn pods_and_services_follow_the_clean_pod_policy() {
    let all = ["scheduler-0", "server-0", "worker-0", "worker-1"];
    let finished = ["scheduler-0", "worker-0", "worker-1"];
    let cases: [(Value, i32, &[&str], &[&str]); 8] = [
        (json!({}), 0, &finished, &finished),
        (json!({ "cleanPodPolicy": "Running" }), 0, &finished, &finished),
        (json!({ "cleanPodPolicy": "Running" }), 1, &finished, &finished),
        (json!({ "cleanPodPolicy": "All" }), 0, &[], &[]),
        (json!({ "cleanPodPolicy": "All" }), 1, &[], &[]),
        (json!({ "cleanPodPolicy": "None" }), 0, &all, &all),
        // The dead rendezvous is stopped under any policy.
        (json!({ "cleanPodPolicy": "None" }), 1, &finished, &all),
        (json!({ "runPolicy": { "cleanPodPolicy": "All" } }), 0, &[], &[]),
    ];
    for (spec, code, pods, services) in cases {
        let world = ended(&spec, code);
        assert_eq!(world.pod_names(), pods, "{spec} {code}");
        assert_eq!(world.service_names(), services, "{spec} {code}");
    }
}

#[test]
fn services_are_deleted_even_if_their_pods_are_gone() {
    let mut world = distributed(&json!({ "cleanPodPolicy": "None" })).started();
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        world.end(replica, 0);
    }
    world.quiesce();
    world.pods.clear();
    world.quiesce();
    assert_eq!(world.service_names().len(), 4);
    world.spec["cleanPodPolicy"] = json!("Running");
    world.quiesce();
    assert!(world.services.is_empty());
}

#[test]
fn a_pending_pod_has_not_finished() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    world.run("worker-0");
    world.observe_end("worker-0", 2);
    world.reap();
    assert_eq!(world.pod_names(), ["worker-0"]);
}

#[test]
fn counts_survive_the_deletion_of_the_pods() {
    let world = ended(&json!({ "cleanPodPolicy": "All" }), 1);
    assert!(world.pods.is_empty());
    assert_eq!(world.counts("Worker"), json!({ "succeeded": 1, "failed": 1 }));
    assert_eq!(world.counts("Scheduler"), json!({ "succeeded": 1 }));
    assert_eq!(world.counts("Server"), json!({}));
}

#[test]
fn after_the_end_only_counts_change() {
    let mut world = ended(&json!({ "cleanPodPolicy": "None" }), 0);
    let conditions = world.status["conditions"].clone();
    assert_eq!(world.counts("Server"), json!({ "active": 1 }));
    world.advance(5);
    world.observe_end("server-0", 1);
    assert_eq!(world.counts("Server"), json!({ "failed": 1 }));
    assert_eq!(world.status["conditions"], conditions);
    assert_eq!(world.status["completionTime"], "2026-11-24T08:00:00Z");
}

#[test]
fn nothing_is_created_after_the_end() {
    let mut world = ended(&json!({}), 1);
    world.pods.clear();
    world.services.clear();
    world.quiesce();
    assert!(world.pods.is_empty() && world.services.is_empty());
}

#[test]
fn the_job_is_deleted_after_its_ttl_and_the_timer_follows_the_field() {
    let mut world = ended(&json!({ "ttlSecondsAfterFinished": 100 }), 0);
    assert_eq!(world.plan().wake_at, Some(at(100)));
    world.wait(99);
    assert!(!world.is_deleted);
    world.spec["ttlSecondsAfterFinished"] = json!(200);
    world.wait(1);
    assert!(!world.is_deleted);
    assert_eq!(world.plan().wake_at, Some(at(200)));
    world.spec["ttlSecondsAfterFinished"] = json!(50);
    world.quiesce();
    assert!(world.is_deleted);
}

#[test]
fn a_ttl_of_zero_expires_immediately() {
    for code in [0, 1] {
        let world = ended(&json!({ "ttlSecondsAfterFinished": 0 }), code);
        assert!(world.is_deleted);
    }
}

#[test]
fn the_ttl_does_not_apply_to_a_running_job() {
    let world = distributed(&json!({ "ttlSecondsAfterFinished": 0 })).started();
    assert_eq!(world.plan().wake_at, None);
}

#[test]
fn a_finished_status_without_completion_time_expires_by_its_condition() {
    let mut world = ended(&json!({ "ttlSecondsAfterFinished": 100 }), 0);
    world.status.as_object_mut().unwrap().remove("completionTime");
    assert_eq!(world.plan().wake_at, Some(at(100)));
}
