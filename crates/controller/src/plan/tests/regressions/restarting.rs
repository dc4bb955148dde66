//! Bugs in what was recreated, when, and how often.

use serde_json::json;

use super::super::world::{World, distributed, workers};
use crate::view::Phase;

/// One more replaceable failure of worker 0, until its replacement runs.
fn fail_and_come_back(world: &mut World, code: i32) {
    world.observe_end("worker-0", code);
    world.reap();
    world.wait(600);
    world.run_all();
}

#[test]
fn a_completed_replica_whose_pod_is_gone_is_not_run_again__1186_and_1997_and_2454() {
    let mut world = workers(&json!({})).started();
    world.observe_end("worker-0", 0);
    world.pods.remove("digits-worker-0");
    world.services.remove("digits-worker-0");
    world.quiesce();
    assert_eq!(world.pod_names(), ["worker-1"]);
    assert_eq!(world.service_names(), ["worker-1"]);
}

#[test]
fn a_finished_job_does_not_run_again_when_its_objects_are_deleted__3737_and_2981_and_2991() {
    for code in [0, 1] {
        let mut world = workers(&json!({})).started();
        world.end("worker-0", code);
        world.observe_end("worker-1", code);
        world.pods.clear();
        world.services.clear();
        world.advance(1000);
        assert!(world.step().is_empty(), "{code}");
    }
}

#[test]
fn the_limit_counts_pods_that_exit_code_replaced__2045_and_common_167_and_common_168() {
    let mut world = workers(&json!({ "backoffLimit": 3 })).restarting("ExitCode").started();
    for restarts in 1..=3 {
        fail_and_come_back(&mut world, 137);
        assert_eq!(world.counts("Worker")["restarts"], restarts);
    }
    fail_and_come_back(&mut world, 137);
    assert_eq!(world.state(), "Failed");
}

#[test]
fn the_limit_bounds_every_policy_that_restarts__2342_and_1589() {
    for policy in ["OnFailure", "Always", "ExitCode"] {
        for mut world in
            [workers(&json!({ "backoffLimit": 1 })), distributed(&json!({ "backoffLimit": 1 }))]
        {
            world = world.restarting(policy).started();
            fail_and_come_back(&mut world, 137);
            assert_eq!(world.state(), "Running", "{policy}");
            fail_and_come_back(&mut world, 137);
            assert_eq!(world.state(), "Failed", "{policy}");
        }
    }
}

#[test]
fn without_a_limit_restarts_never_fail_the_job() {
    let mut world = workers(&json!({})).restarting("ExitCode").started();
    for _ in 0..50 {
        fail_and_come_back(&mut world, 137);
    }
    assert_eq!(world.state(), "Running");
    assert_eq!(world.counts("Worker")["restarts"], 50);
}

#[test]
fn a_failed_pod_is_replaced_under_on_failure_and_always__1570_and_1572_and_1605_and_1649() {
    // Eviction, a deadline of the node, a lost node: the pod itself has failed, and one pass both
    // restarted and failed the job.
    for policy in ["OnFailure", "Always"] {
        for reason in ["Evicted", "NodeLost", "DeadlineExceeded", "Shutdown"] {
            let mut world = workers(&json!({})).restarting(policy).started();
            let pod = world.pod("worker-1");
            pod.phase = Phase::Failed;
            pod.reason = Some(reason.to_owned());
            world.quiesce();
            assert_eq!(world.conditions(), "Created Restarting", "{policy} {reason}");
            world.reap();
            world.wait(1);
            world.run_all();
            assert_eq!(world.conditions(), "Created Running", "{policy} {reason}");
        }
    }
}

#[test]
fn exit_codes_from_128_are_retried__518_and_website_443_and_common_190() {
    for code in [1, 2, 3, 126, 127, 128, 129, 130, 134, 137, 138, 139, 143, 255] {
        let mut world = workers(&json!({})).restarting("ExitCode").started();
        world.observe_end("worker-0", code);
        assert_eq!(world.state(), if code < 128 { "Failed" } else { "Restarting" }, "{code}");
    }
}

#[test]
fn a_deleted_pod_has_not_failed__common_186_and_2124() {
    for policy in ["Never", "OnFailure", "ExitCode"] {
        let mut world = workers(&json!({})).restarting(policy).started();
        // A deletion as seen from outside: requested, then ended by the signal, then gone.
        world.pod("worker-0").terminating = true;
        world.quiesce();
        world.observe_end("worker-0", 137);
        assert_eq!(world.state(), "Running", "{policy}");
        assert_eq!(world.counts("Worker"), json!({ "active": 1 }), "{policy}");
        world.observe_removal();
        assert_eq!(world.alive(), ["worker-0", "worker-1"], "{policy}");
    }
}

#[test]
fn one_failed_pod_restarts_the_whole_rendezvous__2000_and_2269() {
    let mut world = World::new(&[("Scheduler", 1), ("Server", 8), ("Worker", 24)], &json!({}));
    world = world.restarting("ExitCode").started();
    world.observe_end("worker-17", 139);
    assert_eq!(world.alive(), Vec::<String>::new());
    world.reap();
    world.wait(1);
    assert_eq!(world.alive().len(), 33);
    assert_eq!(world.counts("Worker")["restarts"], 1);
}

#[test]
fn restarting_does_not_outlast_the_restart__operators_until_1_8() {
    let mut world = workers(&json!({})).restarting("OnFailure").started();
    fail_and_come_back(&mut world, 1);
    assert_eq!(world.conditions(), "Created Running");
    // It does not outlast a suspension either.
    world.observe_end("worker-0", 1);
    world.suspend(true);
    world.reap();
    world.spec["suspend"] = json!(false);
    world.wait(600);
    assert_eq!(world.state(), "Created");
    world.run_all();
    assert_eq!(world.conditions(), "Created !Suspended Running");
}

#[test]
fn a_job_of_the_same_name_starts_immediately__1306_and_461_and_1221() {
    // No expectation of the predecessor delays it: a snapshot contains its own pods alone.
    let mut world = workers(&json!({}));
    assert_eq!(world.step().create_pods.len(), 2);
}

#[test]
fn a_failed_worker_is_not_ignored_while_another_restarts() {
    let mut world = World::new(&[("Worker", 3)], &json!({})).restarting("ExitCode").started();
    world.end("worker-0", 137);
    world.observe_end("worker-1", 2);
    assert_eq!(world.state(), "Failed");
    assert_eq!(world.counts("Worker").get("restarts"), None);
}

#[test]
fn a_restart_of_the_whole_job_includes_all_roles() {
    // The policy of the failed role decides, not that of other roles.
    let mut world = distributed(&json!({}));
    world.spec["mxReplicaSpecs"]["Worker"]["restartPolicy"] = json!("OnFailure");
    let mut world = world.started();
    world.observe_end("worker-0", 1);
    assert_eq!(world.state(), "Restarting");
    let mut other = distributed(&json!({}));
    other.spec["mxReplicaSpecs"]["Worker"]["restartPolicy"] = json!("OnFailure");
    let mut other = other.started();
    other.end("server-0", 1);
    other.quiesce();
    assert_eq!(other.state(), "Failed");
}
