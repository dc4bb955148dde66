//! The cost of a plan when the spec and the status claim more than any cluster has. In a binary of
//! its own, because it counts every allocation.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::alloc::System;
use std::sync::Arc;

use jiff::Timestamp;
use mxjob_api::Job;
use mxjob_controller::memory::Memory;
use mxjob_controller::plan::{Plan, Snapshot, plan};
use mxjob_controller::view::{PodView, ServiceView};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A plan for a few pods takes a few kilobytes in a few hundred allocations.
const MAX_BYTES: usize = 256 * 1024;
const MAX_ALLOCATIONS: usize = 4096;

fn now() -> Timestamp {
    "2026-11-24T08:00:00Z".parse().unwrap()
}

fn conditions(kinds: &[&str]) -> Value {
    let condition = |kind: &&str| {
        json!({ "type": kind, "status": "True", "reason": format!("MXJob{kind}"), "message": "",
                "lastUpdateTime": "2026-11-24T07:00:00Z", "lastTransitionTime": "2026-11-24T07:00:00Z" })
    };
    kinds.iter().map(condition).collect()
}

/// A job of two roles with that many replicas each, of which three workers exist.
fn snapshot(count: i32, change: impl FnOnce(&mut Value)) -> Snapshot {
    let replica = json!({
        "replicas": count,
        "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } },
    });
    let mut object = json!({
        "metadata": { "name": "digits", "namespace": "default", "uid": "job" },
        "spec": { "mxReplicaSpecs": { "Scheduler": replica, "Server": replica, "Worker": replica } },
    });
    change(&mut object);
    let read = |index: i32, phase: &str| {
        let name = format!("digits-worker-{index}");
        json!({ "metadata": { "name": name, "uid": name }, "status": { "phase": phase } })
    };
    let objects = [read(0, "Running"), read(7, "Succeeded"), read(count - 1, "Failed")];
    Snapshot {
        job: Arc::new(Job::from_value(&object).unwrap()),
        memory: Memory::read(object.get("status").unwrap_or(&Value::Null)),
        pods: objects.iter().map(|pod| Arc::new(PodView::read(pod).unwrap())).collect(),
        services: objects.iter().map(|it| Arc::new(ServiceView::read(it).unwrap())).collect(),
        problems: Vec::new(),
        scheduling: mxjob_controller::SchedulingState::MayStart,
    }
}

fn check(what: &str, snapshot: &Snapshot) -> Plan {
    let region = Region::new(ALLOCATOR);
    let plan = plan(snapshot, now());
    let used = region.change();
    assert!(used.bytes_allocated < MAX_BYTES, "{what}: {used:?}");
    assert!(used.allocations < MAX_ALLOCATIONS, "{what}: {used:?}");
    assert!(plan.create_pods.is_empty() && plan.create_services.is_empty(), "{what}: {plan:?}");
    plan
}

fn removed(plan: &Plan) -> Vec<&str> {
    plan.delete_pods.iter().map(|pod| pod.name.as_str()).collect()
}

#[test]
fn the_cost_of_a_plan_depends_on_existing_objects() {
    for count in [10_000, i32::MAX] {
        let last = format!("digits-worker-{}", count - 1);
        let running = ["digits-worker-0"];

        for (what, status) in [
            ("new", json!({})),
            ("created", json!({ "conditions": conditions(&["Created"]) })),
            (
                "running",
                json!({ "conditions": conditions(&["Created", "Running"]), "startTime": "2026-11-24T07:00:00Z",
                        "replicaStatuses": { "Worker": { "active": i32::MAX, "succeeded": i32::MAX, "restarts": i32::MAX } } }),
            ),
            ("restarting", json!({ "conditions": conditions(&["Created", "Restarting"]) })),
            ("suspended", json!({ "conditions": conditions(&["Created", "Suspended"]) })),
            (
                "remembering",
                json!({ "conditions": conditions(&["Created"]), "completedIndexes": { "Worker": "0-2147483647" } }),
            ),
        ] {
            for suspend in [false, true] {
                let snapshot = snapshot(count, |job| {
                    job["status"] = status.clone();
                    job["spec"]["suspend"] = suspend.into();
                    job["spec"]["activeDeadlineSeconds"] = 60.into();
                });
                let plan = check(what, &snapshot);
                let next = &plan.status.as_ref().unwrap().status;
                let newest = next.conditions.last().unwrap();
                assert_eq!(newest.reason, "MXJobFailedValidation", "{what}");
                let total = u64::from(count.unsigned_abs()) * 3;
                let counts = format!(
                    "spec.mxReplicaSpecs: Invalid value: {}: a job has at most 10000 replicas in all",
                    total.min(u64::from(u32::MAX))
                );
                assert!(newest.message.contains(&counts), "{}", newest.message);
                assert_eq!(plan.events.last().unwrap().reason, "MXJobFailedValidation");
                assert_eq!(removed(&plan), running, "{what}");
            }
        }

        for kind in ["Succeeded", "Failed"] {
            for (policy, pods) in [
                ("All", vec!["digits-worker-0", "digits-worker-7", last.as_str()]),
                ("Running", running.to_vec()),
                ("None", if kind == "Failed" { running.to_vec() } else { vec![] }),
            ] {
                let finished = |ttl: Value| {
                    snapshot(count, |job| {
                        job["spec"]["cleanPodPolicy"] = policy.into();
                        job["spec"]["ttlSecondsAfterFinished"] = ttl;
                        job["status"] = json!({
                            "conditions": conditions(&["Created", kind]), "completionTime": "2026-11-24T07:00:00Z",
                        });
                    })
                };
                let plan = check(kind, &finished(Value::Null));
                assert_eq!(removed(&plan), pods, "{kind} {policy}");
                assert!(!plan.delete_job);
                assert!(check(kind, &finished(60.into())).delete_job);
            }
        }

        let deleting = snapshot(count, |job| {
            job["metadata"]["deletionTimestamp"] = "2026-11-24T07:00:00Z".into();
        });
        assert_eq!(check("deleting", &deleting), Plan::default());
    }
}
