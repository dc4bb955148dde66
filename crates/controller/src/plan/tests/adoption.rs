//! Jobs that an older operator started: their objects are kept, and nothing is restarted or created
//! twice.
//!
//! Statuses are as training-operator 1.5 to 1.8 wrote them: `replicaStatuses`, none of our own
//! keys, and its own messages.

use serde_json::{Value, json};

use super::world::{World, at, distributed, workers};
use crate::view::{Exit, Phase, PodView, ServiceView};

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": format!("MXJob{kind}"), "message": message,
        "lastUpdateTime": "2026-11-24T07:00:00Z", "lastTransitionTime": "2026-11-24T07:00:00Z",
    })
}

#[allow(clippy::needless_pass_by_value)] // reads better with a literal
fn status(conditions: &[Value], counts: Value) -> Value {
    json!({
        "conditions": conditions, "replicaStatuses": counts, "startTime": "2026-11-24T07:00:00Z",
    })
}

fn created() -> Value {
    condition("Created", "True", "MXJob digits is created.")
}

fn running() -> Value {
    condition("Running", "True", "MXJob digits is running.")
}

/// A world with a pod and a service for each of these replicas.
fn left_behind(mut world: World, status: Value, pods: &[(&str, Phase)]) -> World {
    world.status = status;
    for (replica, phase) in pods {
        let name = format!("digits-{replica}");
        let pod = PodView {
            name: name.clone(),
            uid: format!("old-{replica}"),
            phase: *phase,
            started_at: Some(at(-3600)),
            exit: (*phase == Phase::Succeeded)
                .then(|| Exit { finished_at: Some(at(-60)), ..Exit::default() }),
            ..PodView::default()
        };
        world.pods.insert(name.clone(), pod);
        world.services.insert(
            name.clone(),
            ServiceView { uid: format!("old-{name}"), name, terminating: false },
        );
    }
    world
}

fn training() -> World {
    let counts = json!({ "Scheduler": { "active": 1 }, "Server": { "active": 1 }, "Worker": { "active": 2 } });
    left_behind(
        distributed(&json!({ "runPolicy": { "cleanPodPolicy": "None" } })),
        status(&[created(), running()], counts),
        &["scheduler-0", "server-0", "worker-0", "worker-1"]
            .map(|replica| (replica, Phase::Running)),
    )
}

#[test]
fn a_running_job_continues_to_its_end() {
    let mut world = training();
    let plan = world.step();
    assert_eq!(plan.create_pods.len() + plan.create_services.len(), 0);
    assert_eq!(plan.delete_pods.len() + plan.delete_services.len(), 0);
    world.quiesce();
    assert_eq!(world.conditions(), "Created Running");
    assert_eq!(world.status["startTime"], "2026-11-24T07:00:00Z");
    assert_eq!(world.events, Vec::<String>::new(), "nothing has happened");
    for replica in ["worker-0", "worker-1", "server-0", "scheduler-0"] {
        world.observe_end(replica, 0);
    }
    assert_eq!(world.conditions(), "Created !Running Succeeded");
    assert_eq!(world.pods.len(), 4);
    assert!(world.pods.values().all(|pod| pod.uid.starts_with("old-")), "no pod was made again");
}

#[test]
fn missing_services_are_created() {
    let mut world = training();
    world.services.clear();
    world.quiesce();
    assert_eq!(world.service_names(), ["scheduler-0", "server-0", "worker-0", "worker-1"]);
    assert_eq!(world.alive().len(), 4);
}

#[test]
fn a_starting_job_gets_its_missing_objects() {
    let mut world = left_behind(
        workers(&json!({})),
        json!({ "conditions": [created()], "replicaStatuses": { "Worker": {} } }),
        &[("worker-0", Phase::Pending)],
    );
    world.quiesce();
    assert_eq!(world.pod_names(), ["worker-0", "worker-1"]);
    assert_eq!(world.pods["digits-worker-0"].uid, "old-worker-0");
    assert_eq!(
        world.status["startTime"], "2026-11-24T08:00:00Z",
        "it had none: operators up to 1.5 lost it"
    );
}

#[test]
fn a_replica_that_succeeded_and_whose_pod_is_gone_is_not_run_again() {
    for (succeeded, pods, made) in [
        (1, vec![("worker-1", Phase::Running)], 0),
        (1, vec![("worker-0", Phase::Succeeded), ("worker-1", Phase::Running)], 0),
        // One succeeded and one was lost, and nobody knows which: the one with a pod continues.
        (0, vec![("worker-1", Phase::Running)], 1),
        (1, vec![("worker-0", Phase::Succeeded)], 1),
    ] {
        let counts = json!({ "Worker": { "active": 1, "succeeded": succeeded } });
        let before = pods.len();
        let mut world =
            left_behind(workers(&json!({})), status(&[created(), running()], counts), &pods);
        world.quiesce();
        assert_eq!(world.pods.len() - before, made, "{succeeded} {pods:?}");
        assert_eq!(world.pods["digits-worker-1"].name, "digits-worker-1");
    }
}

#[test]
fn a_failure_under_the_new_operator_is_a_failure() {
    let mut world = training().restarting("ExitCode");
    world.quiesce();
    world.observe_end("worker-1", 2);
    assert_eq!(world.state(), "Failed");
}

#[test]
fn a_restart_in_progress_is_completed() {
    let restarting = condition(
        "Restarting",
        "True",
        "mxjob digits is restarting because 1 Worker replica(s) failed.",
    );
    let counts = json!({ "Worker": { "active": 1, "failed": 1 } });
    let mut world = left_behind(
        workers(&json!({})).restarting("ExitCode"),
        status(&[created(), restarting], counts),
        &[("worker-0", Phase::Running)],
    );
    world.quiesce();
    assert_eq!(world.alive(), ["worker-0", "worker-1"]);
    world.run_all();
    assert_eq!(world.conditions(), "Created Running");
}

#[test]
fn a_suspended_job_stays_suspended_and_is_resumed() {
    let mut suspended = condition("Suspended", "True", "MXJob digits is suspended.");
    suspended["reason"] = json!("MXJobSuspended");
    let mut was_running = running();
    was_running["status"] = json!("False");
    let mut world = left_behind(
        workers(&json!({ "runPolicy": { "suspend": true } })),
        status(&[created(), was_running, suspended], json!({ "Worker": {} })),
        &[],
    );
    world.quiesce();
    assert_eq!((world.state().as_str(), world.pods.len()), ("Suspended", 0));
    assert_eq!(world.events, Vec::<String>::new());
    world.spec["runPolicy"]["suspend"] = json!(false);
    world.quiesce();
    assert_eq!(world.alive().len(), 2);
}

#[test]
fn the_ttl_applies_to_a_finished_job_without_a_completion_time() {
    for kind in ["Succeeded", "Failed"] {
        let mut was_running = running();
        was_running["status"] = json!("False");
        let end = condition(kind, "True", "mxjob digits is over.");
        let more =
            json!({ "runPolicy": { "ttlSecondsAfterFinished": 3700, "cleanPodPolicy": "None" } });
        let mut world = left_behind(
            workers(&more),
            status(&[created(), was_running, end], json!({ "Worker": { "succeeded": 2 } })),
            &[("worker-0", Phase::Succeeded), ("worker-1", Phase::Succeeded)],
        );
        let before = world.status.clone();
        world.quiesce();
        assert_eq!(world.plan().wake_at, Some(at(100)), "{kind}");
        assert_eq!(world.status["conditions"], before["conditions"]);
        world.wait(100);
        assert!(world.is_deleted, "{kind}");
    }
}
