//! Replaceable failures: one replica or all, counts, delays and the limit.

use serde_json::json;

use super::world::{World, at, distributed, workers};
use crate::view::{Exit, Phase};

#[test]
fn one_replica_is_replaced_after_its_delay() {
    for policy in ["OnFailure", "Always", "ExitCode"] {
        let mut world = workers(&json!({})).restarting(policy).started();
        world.observe_end("worker-1", 137);
        assert_eq!(world.conditions(), "Created Restarting", "{policy}");
        assert_eq!(
            world.message(),
            "MXJob digits is restarting because worker-1 exited with exit code 137, signal 9 (Error)."
        );
        assert_eq!(world.counts("Worker"), json!({ "active": 1, "restarts": 1 }));
        world.observe_removal();
        assert_eq!((world.pod_names(), world.plan().wake_at), (vec!["worker-0"], Some(at(1))));
        world.wait(1);
        assert_eq!(world.pod_names(), ["worker-0", "worker-1"]);
        world.run_all();
        assert_eq!(world.conditions(), "Created Running");
        assert_eq!(world.counts("Worker"), json!({ "active": 2, "restarts": 1 }));
    }
}

#[test]
fn a_failure_is_counted_once_however_often_it_is_seen() {
    let mut world = workers(&json!({})).restarting("OnFailure").started();
    world.end("worker-1", 1);
    let plan = world.step();
    assert_eq!(plan.delete_pods.len(), 1);
    // The deletion did not reach the server: the failed pod still exists.
    world.pod("worker-1").terminating = false;
    let plan = world.step();
    assert_eq!((plan.status, plan.events), (None, vec![]));
    assert_eq!(plan.delete_pods.len(), 1);
    assert_eq!(world.counts("Worker"), json!({ "active": 1, "restarts": 1 }));
    assert_eq!(world.status["restartState"]["replaced"], json!(["u4"]));
    world.observe_removal();
    assert_eq!(
        world.status["restartState"].get("replaced"),
        None,
        "a pod that is gone is forgotten"
    );
}

#[test]
fn restarts_in_place_are_counted_and_carry_over_to_the_next_pod() {
    let mut world = workers(&json!({})).restarting("OnFailure").started();
    for (restarts, counted) in [(2, 2), (3, 3)] {
        world.pod("worker-0").restarts = restarts;
        world.quiesce();
        assert_eq!(world.state(), "Running");
        assert_eq!(world.counts("Worker")["restarts"], counted);
    }
    world.observe_end("worker-0", 1);
    assert_eq!(world.counts("Worker")["restarts"], 4);
    world.reap();
    world.wait(1);
    world.pod("worker-0").restarts = 1;
    world.quiesce();
    assert_eq!(world.counts("Worker")["restarts"], 5);
}

#[test]
fn with_a_scheduler_all_replicas_restart_together() {
    let mut world = distributed(&json!({})).restarting("OnFailure").started();
    world.end("worker-0", 137);
    world.observe_end("worker-1", 137);
    assert_eq!(world.conditions(), "Created Restarting");
    assert!(world.pods.values().all(|pod| pod.terminating));
    assert_eq!(world.counts("Worker"), json!({ "restarts": 1 }), "counted once");
    world.advance(10);
    // They disappear one after another; nothing is created before the last one is gone.
    for name in ["digits-worker-1", "digits-scheduler-0", "digits-server-0"] {
        world.pods.remove(name);
        world.quiesce();
        assert_eq!(world.pods.values().filter(|pod| !pod.terminating).count(), 0);
    }
    world.observe_removal();
    assert_eq!(world.pod_names(), ["scheduler-0", "server-0", "worker-0", "worker-1"]);
    assert!(world.pods.values().all(|pod| pod.attempt == 1));
    world.run_all();
    assert_eq!(world.conditions(), "Created Running");
    assert_eq!(world.service_names().len(), 4, "services stay");
}

#[test]
fn the_restart_scope_can_be_chosen() {
    let mut world =
        distributed(&json!({ "restartScope": "Replica" })).restarting("OnFailure").started();
    world.observe_end("worker-0", 137);
    assert_eq!(world.alive(), ["scheduler-0", "server-0", "worker-1"]);
    let mut world = workers(&json!({ "restartScope": "Job" })).restarting("OnFailure").started();
    world.observe_end("worker-0", 137);
    assert_eq!(world.alive(), Vec::<String>::new());
}

#[test]
fn a_restart_of_the_whole_job_includes_succeeded_replicas() {
    let mut world = distributed(&json!({})).restarting("OnFailure").started();
    world.end("worker-0", 0);
    world.observe_end("worker-1", 137);
    world.reap();
    world.wait(1);
    assert_eq!(world.alive(), ["scheduler-0", "server-0", "worker-0", "worker-1"]);
    assert_eq!(world.status.get("completedIndexes"), None);
}

#[test]
fn a_replica_that_vanishes_from_a_running_rendezvous_restarts_it() {
    for is_gone in [false, true] {
        let mut world = distributed(&json!({})).started();
        world.pod("worker-1").terminating = true;
        if is_gone {
            world.reap();
        }
        world.quiesce();
        assert_eq!(world.conditions(), "Created Restarting");
        assert_eq!(world.message(), "MXJob digits is restarting because worker-1 was removed.");
        world.reap();
        world.wait(1);
        assert_eq!(world.alive().len(), 4);
        assert_eq!(world.counts("Worker"), json!({ "restarts": 1 }));
    }
}

#[test]
fn an_eviction_counts_although_it_hides_the_restarts_before_it() {
    let mut world = workers(&json!({ "backoffLimit": 3 })).restarting("OnFailure").started();
    world.pod("worker-0").restarts = 3;
    world.quiesce();
    assert_eq!(world.counts("Worker")["restarts"], 3);
    let pod = world.pod("worker-0");
    (pod.phase, pod.restarts, pod.reason) = (Phase::Failed, 0, Some("Evicted".to_owned()));
    world.quiesce();
    assert_eq!(world.state(), "Failed");
}

#[test]
fn a_replica_deleted_from_a_rendezvous_restarts_it_even_before_all_run() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    world.run("scheduler-0");
    world.run("server-0");
    world.quiesce();
    world.pod("server-0").terminating = true;
    world.quiesce();
    assert_eq!(world.message(), "MXJob digits is restarting because server-0 was removed.");
    world.reap();
    world.wait(1);
    world.run_all();
    assert_eq!(world.conditions(), "Created Running");
    assert_eq!(world.counts("Server"), json!({ "active": 1, "restarts": 1 }));
}

#[test]
fn before_the_rendezvous_a_lost_replica_is_replaced_alone() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    world.pod("worker-1").terminating = true;
    world.quiesce();
    world.observe_removal();
    assert_eq!(world.conditions(), "Created");
    assert_eq!(world.alive().len(), 4);
}

#[test]
fn no_rendezvous_starts_beside_a_pod_of_the_last_one() {
    let mut world = distributed(&json!({})).restarting("OnFailure").started();
    world.observe_end("worker-0", 137);
    // The deletion of one pod did not reach the server, and the others are gone.
    world.pod("server-0").terminating = false;
    world.reap();
    world.advance(10);
    let plan = world.step();
    assert_eq!((plan.create_pods.len(), plan.delete_pods.len()), (0, 1));
}

#[test]
fn no_rendezvous_starts_while_one_of_its_pods_terminates() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    world.pod("worker-1").terminating = true;
    world.pods.remove("digits-server-0");
    world.quiesce();
    assert_eq!(world.alive(), ["scheduler-0", "worker-0"]);
}

#[test]
fn no_pod_is_created_while_a_service_terminates() {
    let mut world = workers(&json!({}));
    world.quiesce();
    world.pods.remove("digits-worker-1");
    world.services.get_mut("digits-worker-0").unwrap().terminating = true;
    world.quiesce();
    assert_eq!(world.alive(), ["worker-0"]);
    world.services.remove("digits-worker-0");
    world.quiesce();
    assert_eq!((world.alive().len(), world.service_names().len()), (2, 2));
}

#[test]
fn delays_double_and_a_long_run_resets_them() {
    let mut world = workers(&json!({})).restarting("OnFailure").started();
    for (ran, wait) in [(5, 1), (5, 2), (599, 4), (5, 8), (600, 1), (5, 2)] {
        world.advance(ran);
        world.observe_end("worker-0", 1);
        world.observe_removal();
        let until = world.plan().wake_at.unwrap();
        assert_eq!(until.duration_since(world.now).as_secs(), wait, "after {ran} s");
        world.wait(wait);
        world.run_all();
    }
}

#[test]
fn a_delay_is_not_shortened_by_rounding() {
    let mut world = workers(&json!({})).restarting("OnFailure").started();
    world.now += jiff::SignedDuration::from_millis(900);
    world.observe_end("worker-0", 1);
    world.observe_removal();
    assert_eq!(world.plan().wake_at, Some(at(2)));
}

#[test]
fn restarts_of_the_whole_job_are_delayed_too() {
    let mut world = distributed(&json!({})).restarting("ExitCode").started();
    for (ran, wait) in [(5, 1), (5, 2), (700, 1)] {
        world.advance(ran);
        world.observe_end("server-0", 139);
        world.observe_removal();
        let until = world.plan().wake_at.unwrap();
        assert_eq!(until.duration_since(world.now).as_secs(), wait, "after {ran} s");
        world.wait(wait);
        world.run_all();
    }
    assert_eq!(world.counts("Server"), json!({ "active": 1, "restarts": 3 }));
}

#[test]
fn the_job_fails_when_the_restarts_would_exceed_the_limit() {
    for (limit, mut world) in [
        (0, workers(&json!({ "backoffLimit": 0 }))),
        (2, workers(&json!({ "backoffLimit": 2 }))),
        (2, distributed(&json!({ "backoffLimit": 2 }))),
    ] {
        world = world.restarting("ExitCode").started();
        for _ in 0..limit {
            world.observe_end("worker-0", 137);
            assert_eq!(world.state(), "Restarting");
            world.reap();
            world.wait(10);
            world.run_all();
        }
        world.observe_end("worker-0", 137);
        assert_eq!(world.conditions(), "Created !Running Failed");
        assert_eq!(
            world.message(),
            format!(
                "MXJob digits is failed because it has reached the backoff limit of {limit} and worker-0 exited with exit code 137, signal 9 (Error)."
            )
        );
        assert_eq!(world.counts("Worker")["failed"], 1);
        assert_eq!(world.alive(), Vec::<String>::new());
    }
}

#[test]
fn restarts_in_place_count_towards_the_limit() {
    let mut world = workers(&json!({ "backoffLimit": 2 })).restarting("OnFailure").started();
    world.pod("worker-0").restarts = 1;
    world.pod("worker-1").restarts = 1;
    world.quiesce();
    assert_eq!(world.state(), "Running");
    world.pod("worker-1").restarts = 2;
    world.quiesce();
    assert_eq!(
        world.message(),
        "MXJob digits is failed because it has reached the backoff limit of 2: its containers were restarted more often."
    );
}

#[test]
fn a_restart_in_place_beyond_the_limit_is_prevented() {
    for (policy, remains) in [("All", false), ("Running", true), ("None", true)] {
        let spec = json!({ "backoffLimit": 2, "cleanPodPolicy": policy });
        let mut world = workers(&spec).restarting("OnFailure").started();
        let crash = |code| Exit {
            code,
            reason: Some("Error".to_owned()),
            message: Some("reading\nValueError: bad shape".to_owned()),
            ..Exit::default()
        };
        let crashes = |world: &mut World, restarts| {
            let pod = world.pod("worker-0");
            pod.restarts = restarts;
            pod.crash = Some(("mxnet".to_owned(), crash(3)));
            world.quiesce();
        };
        crashes(&mut world, 0);
        crashes(&mut world, 1);
        assert_eq!(world.state(), "Running");
        crashes(&mut world, 2);
        assert_eq!(
            world.message(),
            "MXJob digits is failed because it has reached the backoff limit of 2 and worker-0 exited with exit code 3 (Error): ValueError: bad shape"
        );
        assert_eq!(world.counts("Worker")["restarts"], 2);
        assert_eq!(world.pod("worker-0").stopping, remains);
        assert_eq!(world.pod("worker-0").terminating, !remains);
        assert!(world.pod("worker-1").terminating);
        if remains {
            // Its node has stopped it.
            let pod = world.pod("worker-0");
            pod.phase = Phase::Failed;
            pod.crash = None;
            world.quiesce();
            assert!(!world.pod("worker-0").terminating);
            assert_eq!(world.counts("Worker")["failed"], 1);
        }
    }
}

#[test]
fn restarts_in_place_shortly_before_the_end_are_counted() {
    for (code, state) in [(0, "Succeeded"), (1, "Failed")] {
        let mut world = workers(&json!({ "activeDeadlineSeconds": 60 })).restarting("OnFailure");
        world = world.started();
        // It failed, was restarted and succeeded between two plans.
        for worker in ["worker-0", "worker-1"] {
            world.pod(worker).restarts = 1;
        }
        world.end("worker-0", 0);
        if code == 0 {
            world.end("worker-1", 0);
        } else {
            world.advance(60);
        }
        world.quiesce();
        assert_eq!(world.state(), state);
        assert_eq!(world.counts("Worker")["restarts"], 2, "{state}");
        world.quiesce();
        assert_eq!(world.counts("Worker")["restarts"], 2, "{state}");
    }
}

#[test]
fn a_succeeded_replica_stays_succeeded_while_another_is_replaced() {
    let mut world = World::new(&[("Worker", 3)], &json!({})).restarting("OnFailure").started();
    world.observe_end("worker-2", 0);
    world.pods.remove("digits-worker-2");
    world.observe_end("worker-0", 1);
    world.reap();
    world.wait(1);
    assert_eq!(world.pod_names(), ["worker-0", "worker-1"]);
    assert_eq!(world.counts("Worker"), json!({ "active": 1, "succeeded": 1, "restarts": 1 }));
}

#[test]
fn a_template_copied_from_a_pod_creates_pods_of_this_attempt() {
    for attempt in ["0", "7"] {
        let mut world = distributed(&json!({})).restarting("ExitCode");
        for (_, replica) in world.spec["mxReplicaSpecs"].as_object_mut().unwrap() {
            replica["template"]["metadata"] =
                json!({ "annotations": { "kubeflow.org/attempt": attempt, "team": "a" } });
        }
        let mut world = world.started();
        assert_eq!(world.state(), "Running");
        let uid = world.pod("worker-0").uid.clone();
        world.quiesce();
        assert_eq!(world.pod("worker-0").uid, uid);
        world.observe_end("worker-0", 137);
        world.reap();
        world.wait(600);
        assert_eq!((world.pod("worker-0").attempt, world.alive().len()), (1, 4));
    }
}
