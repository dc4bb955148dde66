//! The test suites of older operators, ported name by name so that none of their guarantees is
//! lost: the unit tests of mxnet-operator, and those of training-operator for its TFJob with our
//! roles. A test says so where the contract differs.
//!
//! Their tests of other layers are in those layers: `TestValidate…`, `TestSetDefaults_MXJob`,
//! `TestGenLabels`, `TestGenOwnerReference`, `TestBytPSEnv`, `TestCopyLabelsAndAnnotation` and
//! `TestRestartPolicy` in `mxjob-api`, `TestAdd…` and `ControllerExpectations` in the local cache
//! and the work queue of the executor.

use serde_json::{Value, json};

use super::world::{World, at, distributed, workers};
use crate::view::Phase;

const ROLES: [(&str, u32); 3] = [("Scheduler", 1), ("Server", 2), ("Worker", 4)];

/// The job of the operators' tables: its first plan is carried out, and then the pods of scheduler,
/// servers and workers get these states: pending, running, succeeded or failed, by first letter.
fn table(spec: &Value, policy: &str, states: &str) -> World {
    let mut world = World::new(&ROLES, spec).restarting(policy);
    world.quiesce();
    for ((role, _), states) in ROLES.iter().zip(states.split(' ')) {
        for (index, state) in states.chars().enumerate().filter(|(_, state)| *state != 'p') {
            let replica = format!("{}-{index}", role.to_lowercase());
            world.run(&replica);
            if state != 'r' {
                world.end(&replica, i32::from(state == 'f'));
            }
        }
    }
    world
}

fn counts(active: u32, succeeded: u32, failed: u32) -> Value {
    let mut counts = json!({});
    for (key, count) in [("active", active), ("succeeded", succeeded), ("failed", failed)] {
        if count > 0 {
            counts[key] = count.into();
        }
    }
    counts
}

#[test]
fn test_normal_path() {
    // Nothing exists: everything is created.
    let mut world = World::new(&ROLES, &json!({}));
    let plan = world.step();
    assert_eq!((plan.create_pods.len(), plan.create_services.len()), (7, 7));
    assert_eq!(world.conditions(), "Created");
    // All pending: nothing is created.
    assert!(world.step().is_empty());
    // Some exist: the rest is created.
    for replica in ["worker-1", "worker-3", "server-0"] {
        world.pods.remove(&format!("digits-{replica}"));
        world.services.remove(&format!("digits-{replica}"));
    }
    let plan = world.step();
    assert_eq!((plan.create_pods.len(), plan.create_services.len()), (3, 3));
    // All running.
    world.run_all();
    assert_eq!(world.conditions(), "Created Running");
    for (role, active) in [("Scheduler", 1), ("Server", 2), ("Worker", 4)] {
        assert_eq!(world.counts(role), counts(active, 0, 0), "{role}");
    }
    // All succeeded.
    for replica in world.alive() {
        world.end(&replica, 0);
    }
    world.quiesce();
    assert_eq!(world.conditions(), "Created !Running Succeeded");
    assert_eq!(world.counts("Worker"), counts(0, 4, 0));
}

#[test]
fn test_status() {
    let (always, never) = ("OnFailure", "Never");
    let (none, all) = (&json!({}), &json!({ "successPolicy": "AllWorkers" }));
    for (name, spec, policy, states, conditions) in [
        ("all pending", none, never, "p pp pppp", "Created"),
        ("the scheduler runs", none, never, "r pp pppp", "Created"),
        ("some run", none, never, "r rp rrrp", "Created"),
        ("all run", none, never, "r rr rrrr", "Created Running"),
        ("some workers ended", none, never, "r rr rrss", "Created Running"),
        ("all workers ended", none, never, "r rr ssss", "Created Running"),
        ("the scheduler ended", none, never, "s rr ssss", "Created Succeeded"),
        ("all ended", none, never, "s ss ssss", "Created Succeeded"),
        ("a worker failed", none, never, "r rr rrrf", "Created Failed"),
        ("a worker failed, others are pending", none, never, "p pp rrrf", "Created Failed"),
        ("a server failed", none, never, "r rf rrrr", "Created Failed"),
        ("the scheduler failed", none, never, "f rr rrrr", "Created Failed"),
        ("all failed", none, never, "f ff ffff", "Created Failed"),
        ("a worker failed, the scheduler ended", none, never, "s rr sssf", "Created Failed"),
        ("a worker restarts", none, always, "r rr rrrf", "Created Restarting"),
        ("all workers, by policy", all, never, "r rr ssss", "Created Succeeded"),
        ("the scheduler, by policy", all, never, "s rr rrrr", "Created Running"),
    ] {
        let mut world = table(spec, policy, states);
        world.quiesce();
        assert_eq!(world.conditions(), conditions, "{name}");
        let is_over = conditions.ends_with("Succeeded") || conditions.ends_with("Failed");
        if conditions.ends_with("Restarting") {
            continue; // all of them leave: nothing is active
        }
        for ((role, _), states) in ROLES.iter().zip(states.split(' ')) {
            let count = |state: &str| u32::try_from(states.matches(state).count()).unwrap();
            let active = if is_over { 0 } else { count("r") };
            assert_eq!(
                world.counts(role),
                counts(active, count("s"), count("f")),
                "{name}: {role}"
            );
        }
    }
}

#[test]
fn test_delete_pods_and_services() {
    let left = |policy: &str, is_done: bool| {
        let mut world = World::new(&ROLES, &json!({ "cleanPodPolicy": policy })).started();
        for replica in world.alive() {
            // The job ends with its scheduler; the others still run, or have ended too.
            if is_done || replica == "scheduler-0" {
                world.end(&replica, 0);
            }
        }
        world.wait(10);
        world.observe_removal();
        assert_eq!(world.pods.len(), world.services.len(), "{policy} {is_done}");
        world.pods.len()
    };
    for (policy, is_done, pods) in [
        ("All", false, 0),
        ("All", true, 0),
        ("Running", false, 1),
        ("Running", true, 7),
        ("None", false, 7),
        ("None", true, 7),
    ] {
        assert_eq!(left(policy, is_done), pods, "{policy} {is_done}");
    }
}

#[test]
fn test_cleanup_mxjob() {
    for (ttl, lives) in [(Value::Null, None), (json!(0), Some(0)), (json!(2), Some(2))] {
        let mut world = workers(&json!({ "ttlSecondsAfterFinished": ttl })).started();
        world.end("worker-0", 0);
        world.observe_end("worker-1", 0);
        match lives {
            None => {
                world.wait(1_000_000);
                assert!(!world.is_deleted);
            }
            Some(seconds) => {
                assert_eq!(world.is_deleted, seconds == 0);
                world.wait(seconds);
                assert!(world.is_deleted);
            }
        }
    }
}

#[test]
fn test_active_deadline_seconds() {
    for (deadline, removed) in [(Value::Null, 0), (json!(2), 7)] {
        let mut world = World::new(
            &ROLES,
            &json!({ "activeDeadlineSeconds": deadline, "cleanPodPolicy": "All" }),
        )
        .started();
        world.advance(1);
        assert_eq!(world.step().delete_pods.len(), 0);
        world.advance(1);
        assert_eq!(world.step().delete_pods.len(), removed, "{deadline}");
    }
}

#[test]
fn test_past_active_deadline() {
    for (deadline, is_past) in [(1, true), (2, true), (3, false)] {
        let mut world = workers(&json!({ "activeDeadlineSeconds": deadline })).started();
        world.wait(2);
        assert_eq!(world.state() == "Failed", is_past, "{deadline}");
    }
}

#[test]
fn test_backoff_for_on_failure() {
    // Four workers that were restarted once each. The older operators failed the job at a limit of
    // 4; under the contract it may reach its limit.
    for (limit, state) in [(4, "Running"), (3, "Failed")] {
        let spec =
            json!({ "backoffLimit": limit, "restartScope": "Replica", "cleanPodPolicy": "All" });
        let mut world = World::new(&ROLES, &spec).restarting("OnFailure").started();
        for worker in 0..4 {
            world.pod(&format!("worker-{worker}")).restarts = 1;
        }
        let plan = world.step();
        assert_eq!(plan.delete_pods.len(), if state == "Failed" { 7 } else { 0 }, "{limit}");
        assert_eq!(world.state(), state, "{limit}");
    }
}

#[test]
fn test_past_backoff_limit() {
    for (restarts, is_past) in [(0, false), (1, false), (2, true)] {
        let mut world = workers(&json!({ "backoffLimit": 1 })).restarting("Always").started();
        world.pod("worker-0").restarts = restarts;
        world.quiesce();
        assert_eq!(world.state() == "Failed", is_past, "{restarts}");
    }
}

#[test]
fn test_exit_code() {
    let mut world = workers(&json!({})).restarting("ExitCode").started();
    world.end("worker-0", 130);
    let plan = world.step();
    assert_eq!(
        plan.delete_pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(),
        ["digits-worker-0"]
    );
}

#[test]
fn test_unretryable_exit_code() {
    let mut world = workers(&json!({})).restarting("ExitCode").started();
    world.observe_end("worker-0", 1);
    assert_eq!(world.state(), "Failed");
    assert!(!world.pod("worker-0").terminating, "it stays, with its log");
}

#[test]
fn test_is_retryable_exit_code() {
    for (code, is_retryable) in [(1, false), (2, false), (3, false), (130, true), (138, true)] {
        let mut world = workers(&json!({})).restarting("ExitCode").started();
        world.observe_end("worker-0", code);
        assert_eq!(world.state() == "Restarting", is_retryable, "{code}");
    }
}

#[test]
fn test_filter_pods_for_replica_type_and_scale_down() {
    // The number of replicas cannot change, so a pod beyond it is not one of the job's replicas.
    let mut world = workers(&json!({})).started();
    let mut pod = world.pod("worker-1").clone();
    (pod.name, pod.uid) = ("digits-worker-2".to_owned(), "beyond".to_owned());
    world.pods.insert(pod.name.clone(), pod);
    assert!(world.step().is_empty());
    assert_eq!(world.counts("Worker"), counts(2, 0, 0));
}

#[test]
fn test_update_job_replica_statuses() {
    for (phase, expected) in [
        (Phase::Pending, counts(1, 0, 0)),
        (Phase::Unknown, counts(1, 0, 0)),
        (Phase::Running, counts(2, 0, 0)),
        (Phase::Succeeded, counts(1, 1, 0)),
        (Phase::Failed, counts(0, 0, 1)),
    ] {
        let mut world = workers(&json!({})).started();
        world.pod("worker-0").phase = phase;
        world.quiesce();
        assert_eq!(world.counts("Worker"), expected, "{phase:?}");
    }
}

#[test]
fn test_update_job_conditions() {
    let mut world = distributed(&json!({})).restarting("OnFailure");
    world.quiesce();
    assert_eq!(world.conditions(), "Created");
    world.run_all();
    assert_eq!(world.conditions(), "Created Running");
    world.observe_end("worker-0", 1);
    assert_eq!(world.conditions(), "Created Restarting");
    world.reap();
    world.wait(1);
    world.run_all();
    assert_eq!(world.conditions(), "Created Running");
    for replica in world.alive() {
        world.end(&replica, 0);
    }
    world.quiesce();
    assert_eq!(world.conditions(), "Created !Running Succeeded");
}

#[test]
fn test_duration_until_expire_time() {
    for (ttl, passed, wake) in
        [(10, 0, Some(at(10))), (10, 9, Some(at(10))), (10, 10, None), (0, 0, None)]
    {
        let mut world = workers(&json!({})).started();
        world.observe_end("worker-0", 1);
        world.spec["ttlSecondsAfterFinished"] = json!(ttl);
        world.advance(passed);
        assert_eq!(world.plan().wake_at, wake, "{ttl} {passed}");
        assert_eq!(world.plan().delete_job, wake.is_none(), "{ttl} {passed}");
    }
}

#[test]
fn envtest_a_job_created_suspended_has_no_start_time_and_creates_nothing() {
    let mut world = World::new(&ROLES, &json!({ "runPolicy": { "suspend": true } }));
    world.quiesce();
    assert_eq!(world.conditions(), "Created Suspended");
    assert_eq!(world.status.get("startTime"), None);
    assert!(world.pods.is_empty() && world.services.is_empty());
    world.spec["runPolicy"]["suspend"] = json!(false);
    world.quiesce();
    assert_eq!((world.pods.len(), world.services.len()), (7, 7));
}

#[test]
fn envtest_a_running_job_is_suspended_and_resumed() {
    let reason = |world: &World, kind: &str| {
        let conditions = world.status["conditions"].as_array().unwrap();
        let condition = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        (
            condition["status"].as_str().unwrap().to_owned(),
            condition["reason"].as_str().unwrap().to_owned(),
        )
    };
    let mut world = World::new(&ROLES, &json!({ "runPolicy": { "suspend": false } })).started();
    let started = world.status["startTime"].clone();
    world.advance(5);
    world.spec["runPolicy"]["suspend"] = json!(true);
    world.quiesce();
    world.reap();
    assert!(world.pods.is_empty() && world.services.is_empty());
    assert_eq!(world.status["startTime"], started);
    assert_eq!(world.conditions(), "Created !Running Suspended");
    assert_eq!(reason(&world, "Running"), ("False".to_owned(), "MXJobSuspended".to_owned()));
    for role in ["Scheduler", "Server", "Worker"] {
        assert_eq!(world.counts(role), json!({}));
    }
    world.advance(5);
    world.spec["runPolicy"]["suspend"] = json!(false);
    world.quiesce();
    world.run_all();
    assert_eq!((world.pods.len(), world.services.len()), (7, 7));
    assert_eq!(reason(&world, "Suspended"), ("False".to_owned(), "MXJobResumed".to_owned()));
    assert_eq!(world.state(), "Running");
    assert_eq!(world.status["startTime"], at(10).to_string());
}
