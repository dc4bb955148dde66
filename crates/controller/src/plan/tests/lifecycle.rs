//! From created to succeeded.

use std::sync::Arc;

use mxjob_api::Role;
use serde_json::{Value, json};

use super::world::{World, at, distributed, workers};
use crate::plan::{Problem, ReplicaId, plan};
use crate::view::{PodView, ServiceView};

#[test]
fn a_new_job_gets_its_services_its_pods_and_its_first_status() {
    let mut world = distributed(&json!({}));
    let plan = world.step();
    let replicas = [(Role::Scheduler, 0), (Role::Server, 0), (Role::Worker, 0), (Role::Worker, 1)]
        .map(|(role, index)| ReplicaId { role, index });
    assert_eq!(plan.create_services, replicas);
    assert_eq!(plan.create_pods, replicas);
    assert_eq!((plan.attempt, plan.wake_at, plan.delete_job), (0, None, false));
    assert_eq!(
        world.status,
        json!({
            "conditions": [{
                "type": "Created", "status": "True", "reason": "MXJobCreated", "message": "MXJob digits is created.",
                "lastUpdateTime": "2026-11-24T08:00:00Z", "lastTransitionTime": "2026-11-24T08:00:00Z",
            }],
            "mxReplicaStatuses": { "Scheduler": {}, "Server": {}, "Worker": {} },
            "replicaStatuses": { "Scheduler": {}, "Server": {}, "Worker": {} },
            "startTime": "2026-11-24T08:00:00Z",
            "lastReconcileTime": "2026-11-24T08:00:00Z",
        })
    );
    assert!(world.step().is_empty());
}

#[test]
fn a_restart_policy_in_a_template_is_warned_about_once() {
    for (policy, count) in [("Always", 1), ("Never", 0)] {
        let mut world = workers(&json!({}));
        world.spec["mxReplicaSpecs"]["Worker"]["template"]["spec"]["restartPolicy"] = json!(policy);
        let mut world = world.started();
        world.quiesce();
        let warnings =
            world.events.iter().filter(|event| event.starts_with("SetPodTemplateRestartPolicy"));
        assert_eq!(warnings.count(), count, "{policy}");
    }
}

#[test]
fn keys_that_a_server_drops_cause_no_endless_writes() {
    let mut world = workers(&json!({})).started();
    world.observe_end("worker-0", 0);
    world.status.as_object_mut().unwrap().remove("completedIndexes");
    world.advance(100);
    let next = world.plan().status.unwrap();
    world.status["completedIndexes"] = json!({ "Worker": "0" });
    assert_eq!(next.to_value(), world.status, "what is left of the patch is nothing");
}

#[test]
fn an_unchanged_status_is_not_written() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    world.advance(100);
    let before = world.status.clone();
    assert!(world.step().is_empty());
    assert_eq!(world.status, before);
}

#[test]
fn only_counts_of_running_pods_may_be_deferred() {
    let is_minor = |world: &World| {
        let snapshot = world.snapshot();
        world.plan().is_minor(&snapshot.job, &snapshot.memory)
    };
    let mut world = workers(&json!({}));
    assert!(!is_minor(&world), "it is created");
    world.quiesce();
    assert!(!is_minor(&world), "there is nothing to write");
    world.run("worker-0");
    assert!(is_minor(&world));
    world.run("worker-1");
    assert!(!is_minor(&world), "it is running");
    world.quiesce();
    world.end("worker-0", 0);
    assert!(!is_minor(&world), "a success is to be remembered");
}

#[test]
fn only_missing_objects_are_created() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    world.pods.remove("digits-worker-1");
    world.services.remove("digits-server-0");
    let plan = world.step();
    assert_eq!(plan.create_pods, [ReplicaId { role: Role::Worker, index: 1 }]);
    assert_eq!(plan.create_services, [ReplicaId { role: Role::Server, index: 0 }]);
}

#[test]
fn the_job_is_running_when_every_replica_is() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    for (replica, state) in [
        ("scheduler-0", "Created"),
        ("worker-0", "Created"),
        ("worker-1", "Created"),
        ("server-0", "Running"),
    ] {
        world.run(replica);
        world.quiesce();
        assert_eq!(world.state(), state, "{replica}");
    }
    assert_eq!(world.message(), "MXJob digits is running.");
    assert_eq!(world.counts("Worker"), json!({ "active": 2 }));
    assert_eq!(world.events, ["MXJobRunning: MXJob digits is running."]);
}

#[test]
fn success_is_decided_by_the_role_in_the_contract() {
    // Roles and counts, more of the spec, which replicas end with 0, the resulting state.
    let train = [("Scheduler", 1), ("Server", 1), ("Worker", 2)];
    let alone = [("Scheduler", 0), ("Server", 0), ("Worker", 2)];
    let tune = [("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)];
    let mx_tune = json!({ "jobMode": "MXTune" });
    let all = json!({ "successPolicy": "AllWorkers" });
    let none = json!({});
    type Case<'a> = (&'a [(&'a str, u32)], &'a Value, &'a [&'a str], &'a str);
    let cases: [Case<'_>; 11] = [
        (&train, &none, &["scheduler-0", "worker-0", "worker-1"], "Succeeded"),
        (&train, &none, &["worker-0", "worker-1"], "Running"),
        (&train, &none, &["server-0"], "Running"),
        (&train, &all, &["scheduler-0"], "Running"),
        (&train, &all, &["scheduler-0", "worker-0"], "Running"),
        (&train, &all, &["worker-0", "worker-1"], "Succeeded"),
        (&alone, &none, &["worker-0"], "Running"),
        (&alone, &none, &["worker-0", "worker-1"], "Succeeded"),
        (&tune, &mx_tune, &["tuner-0"], "Succeeded"),
        (&tune, &mx_tune, &["tunerserver-0", "tunerserver-1"], "Running"),
        (&tune, &mx_tune, &["tunertracker-0"], "Running"),
    ];
    for (roles, spec, ended, state) in cases {
        let mut world = World::new(roles, spec).started();
        for replica in ended {
            world.end(replica, 0);
        }
        world.quiesce();
        assert_eq!(world.state(), state, "{roles:?} {spec} {ended:?}");
    }
}

#[test]
fn roles_without_replicas_never_decide() {
    // mxnet-operator 32: a scheduler role with 0 replicas made the job succeed immediately.
    let mut world = World::new(&[("Scheduler", 0), ("Server", 0), ("Worker", 1)], &json!({}));
    world.quiesce();
    assert_eq!(world.state(), "Created");
    assert_eq!(world.pod_names(), ["worker-0"]);
    world.run_all();
    assert_eq!(world.state(), "Running");
}

#[test]
fn success_completes_the_status() {
    let mut world = distributed(&json!({})).started();
    world.advance(60);
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        world.end(replica, 0);
    }
    world.quiesce();
    assert_eq!(world.conditions(), "Created !Running Succeeded");
    assert_eq!(world.message(), "MXJob digits is successfully completed.");
    assert_eq!(world.status["completionTime"], "2026-11-24T08:01:00Z");
    assert_eq!(world.counts("Worker"), json!({ "succeeded": 2 }));
    assert_eq!(
        world.events.last().unwrap(),
        "MXJobSucceeded: MXJob digits is successfully completed."
    );
}

#[test]
fn workers_may_end_after_their_scheduler() {
    let mut world = distributed(&json!({})).started();
    world.observe_end("scheduler-0", 0);
    assert_eq!(world.state(), "Running");
    assert_eq!(world.plan().wake_at, Some(at(10)));
    world.end("worker-0", 0);
    world.observe_end("worker-1", 3);
    assert_eq!(world.state(), "Failed");
}

#[test]
fn a_worker_not_started_when_its_scheduler_ends_may_still_run() {
    let mut world = distributed(&json!({}));
    world.quiesce();
    for replica in ["scheduler-0", "server-0", "worker-0"] {
        world.run(replica);
    }
    world.quiesce();
    world.end("scheduler-0", 0);
    world.observe_end("worker-0", 0);
    assert_eq!((world.state().as_str(), world.plan().wake_at), ("Created", Some(at(10))));
    world.run("worker-1");
    world.quiesce();
    world.observe_end("worker-1", 0);
    assert_eq!(
        (world.state().as_str(), world.counts("Worker")),
        ("Succeeded", json!({ "succeeded": 2 }))
    );
}

#[test]
fn a_worker_that_never_starts_does_not_delay_success_for_long() {
    let mut world = distributed(&json!({})).started();
    world.pod("worker-1").phase = crate::view::Phase::Pending;
    world.end("worker-0", 0);
    world.observe_end("scheduler-0", 0);
    assert_eq!(world.state(), "Running");
    world.wait(10);
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn a_worker_that_never_ends_does_not_delay_success_for_long() {
    let mut world = distributed(&json!({})).started();
    world.observe_end("scheduler-0", 0);
    world.wait(10);
    assert_eq!(world.state(), "Succeeded");
    assert_eq!(world.alive(), Vec::<String>::new());
}

#[test]
fn a_succeeded_replica_is_never_created_again() {
    let mut world = workers(&json!({})).started();
    world.observe_end("worker-0", 0);
    assert_eq!(world.status["completedIndexes"], json!({ "Worker": "0" }));
    world.pods.remove("digits-worker-0");
    world.quiesce();
    assert_eq!(world.pod_names(), ["worker-1"]);
    assert_eq!(world.counts("Worker"), json!({ "active": 1, "succeeded": 1 }));
    world.observe_end("worker-1", 0);
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn a_succeeded_pod_counts_even_while_it_terminates() {
    let mut world = workers(&json!({})).started();
    world.end("worker-0", 0);
    world.advance(5);
    world.tell_to_leave("worker-0");
    world.quiesce();
    world.observe_removal();
    assert_eq!(world.counts("Worker"), json!({ "active": 1, "succeeded": 1 }));
}

#[test]
fn a_pod_that_ends_with_zero_because_of_its_deletion_has_not_succeeded() {
    // The end has whole seconds: within the same second, the signal precedes its effect.
    for (after, finished) in [(0, true), (1, true), (0, false)] {
        let mut world = workers(&json!({})).started();
        world.tell_to_leave("worker-0");
        world.advance(after);
        world.end("worker-0", 0);
        if !finished {
            world.pod("worker-0").exit = None;
        }
        world.quiesce();
        assert_eq!(world.counts("Worker"), json!({ "active": 1 }), "{after} {finished}");
        world.observe_removal();
        assert_eq!(world.alive().len(), 2, "it is made again");
    }
}

#[test]
fn objects_that_cannot_be_created_are_reported_until_they_can() {
    let mut world = workers(&json!({}));
    world.quiesce();
    world.problems = vec![Problem {
        object: "pod digits-worker-0".to_owned(),
        message: "quota is used up".to_owned(),
    }];
    world.quiesce();
    assert_eq!(
        world.message(),
        "MXJob digits is created. The pod digits-worker-0 cannot be created: quota is used up"
    );
    world.problems.clear();
    world.quiesce();
    assert_eq!(world.message(), "MXJob digits is created.");
}

#[test]
fn objects_of_other_names_are_ignored() {
    let mut world = workers(&json!({ "cleanPodPolicy": "All" })).started();
    let name = "helper".to_owned();
    world.pods.insert(
        name.clone(),
        PodView { name: name.clone(), uid: "x".to_owned(), ..PodView::default() },
    );
    world
        .services
        .insert(name.clone(), ServiceView { name, uid: "y".to_owned(), terminating: false });
    world.observe_end("worker-0", 1);
    world.reap();
    assert_eq!((world.pod_names(), world.service_names()), (vec!["helper"], vec!["helper"]));
}

#[test]
fn a_job_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let world = distributed(&json!({})).started();
    let mut snapshot = world.snapshot();
    Arc::make_mut(&mut snapshot.job).deletion_timestamp = Some(at(1));
    snapshot.pods.clear();
    assert_eq!(plan(&snapshot, at(2)), crate::Plan::default());
}
