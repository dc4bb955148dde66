//! The queue, by table and by property.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_764_000_000 + seconds).unwrap()
}

#[allow(clippy::needless_pass_by_value)] // reads better with a literal
fn resources(list: Value) -> Resources {
    Resources::from_list(Some(&list))
}

fn node(allocatable: Value) -> NodeCapacity {
    NodeCapacity {
        name: "machine".to_owned(),
        allocatable: resources(allocatable),
        is_schedulable: true,
        ..NodeCapacity::default()
    }
}

fn request(cpu: i64) -> Arc<PodRequest> {
    let mut requests = Resources::default();
    requests.set("cpu", cpu * 1000);
    requests.set("pods", 1);
    Arc::new(PodRequest { requests, ..PodRequest::default() })
}

/// A job of some replicas with that many CPUs each, created at that second.
fn job(name: &str, replicas: u32, cpu: i64, came: i64) -> QueuedJob {
    QueuedJob {
        uid: name.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        queue: DEFAULT_QUEUE.to_owned(),
        priority: 0,
        since: Some(at(came)),
        timeout_seconds: None,
        min_available: replicas,
        min_resources: Resources::default(),
        replicas: vec![(request(cpu), replicas)],
    }
}

fn allocated(cpu: i64, count: u32) -> Allocation {
    Allocation { node: Some("machine".to_owned()), request: request(cpu), count }
}

/// A machine of 8 CPUs and 100 pods.
fn machine(allocations: Vec<Allocation>, jobs: Vec<QueuedJob>) -> QueueSnapshot {
    QueueSnapshot { nodes: vec![node(json!({ "cpu": 8, "pods": 100 }))], allocations, jobs }
}

fn describe(admission: &SchedulingState) -> String {
    match admission {
        SchedulingState::MayStart | SchedulingState::Placing(_) => "starts".to_owned(),
        SchedulingState::Waiting(waiting) => waiting.message.clone(),
    }
}

/// `a: starts; b: waits for …`.
fn states(snapshot: &QueueSnapshot, now: i64) -> String {
    let decision = decide(snapshot, at(now));
    let states = decision.states.iter().map(|(uid, one)| format!("{uid}: {}", describe(one)));
    states.collect::<Vec<_>>().join("; ")
}

#[test]
fn a_job_starts_with_all_its_replicas_or_not_at_all() {
    let jobs = || vec![job("a", 4, 2, 0)];
    assert_eq!(states(&machine(vec![], jobs()), 0), "a: starts");
    assert_eq!(states(&machine(vec![allocated(1, 1)], jobs()), 0), "a: waits for cpu 8 for 4 pods");
    assert_eq!(
        states(&machine(vec![], vec![job("a", 2, 3, 0), job("b", 1, 2, 1)]), 0),
        "a: starts; b: starts"
    );
}

#[test]
fn min_available_replicas_are_enough_and_the_rest_is_claimed() {
    let mut elastic = job("a", 6, 2, 0);
    elastic.min_available = 2;
    let snapshot = machine(vec![allocated(1, 3)], vec![elastic, job("b", 1, 1, 1)]);
    assert_eq!(states(&snapshot, 0), "a: starts; b: waits for cpu 1 for 1 pod");
}

#[test]
fn no_job_overtakes_another_in_its_queue() {
    let jobs = vec![job("big", 1, 8, 0), job("small", 1, 1, 1)];
    assert_eq!(
        states(&machine(vec![allocated(1, 1)], jobs), 2),
        "big: waits for cpu 8 for 1 pod; small: waits for its turn in queue default"
    );
}

#[test]
fn jobs_are_ordered_by_priority_then_age_then_name() {
    let mut urgent = job("urgent", 1, 6, 9);
    urgent.priority = 10;
    let jobs = vec![job("old", 1, 6, 0), urgent];
    assert_eq!(states(&machine(vec![], jobs), 9), "old: waits for cpu 6 for 1 pod; urgent: starts");
    let jobs = vec![job("b", 1, 6, 0), job("a", 1, 6, 0)];
    assert_eq!(states(&machine(vec![], jobs), 9), "a: starts; b: waits for cpu 6 for 1 pod");
}

#[test]
fn a_queue_is_independent_until_another_head_has_waited_long() {
    let mut other = job("other", 1, 1, 1);
    other.queue = "trials".to_owned();
    let snapshot = machine(vec![allocated(1, 1)], vec![job("big", 1, 8, 0), other]);
    let limit = BLOCK_ALL_QUEUES_AFTER.as_secs();
    assert_eq!(states(&snapshot, limit - 1), "big: waits for cpu 8 for 1 pod; other: starts");
    assert_eq!(
        states(&snapshot, limit),
        "big: waits for cpu 8 for 1 pod; other: waits for its turn in queue trials"
    );
}

#[test]
fn a_job_that_can_never_fit_says_why_and_blocks_nobody() {
    let selector: BTreeMap<String, String> = [("zone".to_owned(), "a".to_owned())].into();
    let gpu = |count: i64| {
        let requests = resources(json!({ "nvidia.com/gpu": count, "pods": 1 }));
        vec![(Arc::new(PodRequest { requests, ..PodRequest::default() }), 2)]
    };
    let labelled = vec![(Arc::new(PodRequest { selector, ..PodRequest::default() }), 1)];
    let mut needs_all = job("a", 1, 1, 0);
    needs_all.min_resources = resources(json!({ "memory": "1Gi" }));
    for (candidate, expect) in [
        (job("a", 1, 9, 0), "it requests 9 of cpu in total and the nodes have 8"),
        (job("a", 101, 0, 0), "it requests 101 of pods in total and the nodes have 100"),
        (
            QueuedJob { replicas: gpu(2), ..job("a", 2, 0, 0) },
            "it requests 4 of nvidia.com/gpu in total and the nodes have 0",
        ),
        (QueuedJob { replicas: labelled, ..job("a", 1, 0, 0) }, "no node has the labels zone=a"),
        (needs_all, "it requests 1Gi of memory in total and the nodes have 0"),
    ] {
        let snapshot = machine(vec![], vec![candidate, job("b", 1, 1, 1)]);
        assert_eq!(states(&snapshot, 2), format!("a: can never start here: {expect}; b: starts"));
    }
}

#[test]
fn a_replica_must_fit_one_node() {
    let mut snapshot = machine(vec![], vec![job("a", 1, 10, 0)]);
    snapshot.nodes.push(NodeCapacity { name: "other".to_owned(), ..snapshot.nodes[0].clone() });
    assert_eq!(
        states(&snapshot, 0),
        "a: can never start here: one of its replicas needs 10 of cpu, more than a node has"
    );
    snapshot.jobs = vec![job("a", 3, 5, 0)];
    assert_eq!(
        states(&snapshot, 0),
        "a: can never start here: its replicas do not fit the nodes together"
    );
    snapshot.jobs = vec![job("a", 2, 5, 0)];
    assert_eq!(states(&snapshot, 0), "a: starts");
}

#[test]
fn a_cordoned_node_takes_no_job_and_without_nodes_jobs_wait() {
    let mut snapshot = machine(vec![], vec![job("a", 1, 1, 0)]);
    snapshot.nodes[0].is_schedulable = false;
    assert_eq!(states(&snapshot, 0), "a: waits for cpu 1 for 1 pod");
    snapshot.nodes.clear();
    assert_eq!(states(&snapshot, 0), "a: waits for cpu 1 for 1 pod");
}

#[test]
fn a_node_without_reported_resources_makes_no_job_unschedulable() {
    let mut snapshot = machine(vec![], vec![job("a", 1, 1, 0)]);
    snapshot.nodes = vec![node(json!({}))];
    assert_eq!(states(&snapshot, 0), "a: waits for cpu 1 for 1 pod");
}

#[test]
fn a_schedule_timeout_unblocks_others_and_does_not_fail_the_job() {
    let mut with_timeout = job("a", 1, 8, 0);
    with_timeout.timeout_seconds = Some(60);
    let mut snapshot = machine(vec![allocated(1, 1)], vec![with_timeout, job("b", 1, 1, 1)]);
    let decision = decide(&snapshot, at(59));
    assert_eq!(decision.recheck_at, Some(at(60)));
    assert_eq!(describe(&decision.states["b"]), "waits for its turn in queue default");
    let timed_out =
        "a: exceeded its schedule timeout of 60 s and starts as soon as there is cpu 8 for 1 pod";
    assert_eq!(states(&snapshot, 60), format!("{timed_out}; b: starts"));
    assert_eq!(decide(&snapshot, at(60)).recheck_at, None);
    snapshot.allocations.clear();
    assert_eq!(states(&snapshot, 61), "a: starts; b: waits for cpu 1 for 1 pod");
}

#[test]
fn replicas_of_started_jobs_keep_their_capacity_without_a_pod() {
    let unbound = Allocation { node: None, request: request(4), count: 1 };
    assert_eq!(
        states(&machine(vec![allocated(4, 1), unbound], vec![job("a", 1, 1, 0)]), 0),
        "a: waits for cpu 1 for 1 pod"
    );
}

#[test]
fn pods_too_large_for_every_node_take_no_capacity() {
    let waiting = |cpu| Allocation { node: None, ..allocated(cpu, 1) };
    for (allocations, expect) in [
        (vec![waiting(9)], "starts"),
        (vec![waiting(9), waiting(2)], "waits for cpu 8 for 1 pod"),
        (vec![waiting(8)], "waits for cpu 8 for 1 pod"),
        (vec![allocated(1, 1), waiting(8)], "waits for cpu 8 for 1 pod"),
    ] {
        let count = allocations.len();
        let snapshot = machine(allocations, vec![job("a", 1, 8, 0)]);
        assert_eq!(describe(&decide(&snapshot, at(1)).states["a"]), expect, "{count}");
    }
}

#[test]
fn jobs_without_requests_start_while_nodes_accept_pods() {
    let nothing =
        Arc::new(PodRequest { requests: resources(json!({ "pods": 1 })), ..PodRequest::default() });
    let mut trivial = job("a", 2, 0, 0);
    trivial.replicas = vec![(nothing, 2)];
    assert_eq!(states(&machine(vec![allocated(8, 1)], vec![trivial.clone()]), 0), "a: starts");
    assert_eq!(
        states(&machine(vec![allocated(0, 99)], vec![trivial]), 0),
        "a: waits for places for 2 pods"
    );
}

// === Properties ===

/// Replicas, CPUs, arrival, minimum, priority, queue, schedule timeout.
type Traits = (u32, i64, i64, u32, i32, usize, Option<i32>);

fn jobs() -> impl Strategy<Value = Vec<QueuedJob>> {
    let one = (
        1_u32..4,
        0_i64..10,
        0_i64..2000,
        0_u32..4,
        -1_i32..2,
        0_usize..2,
        proptest::option::of(0_i32..900),
    );
    proptest::collection::vec(one, 0..12).prop_map(|all| {
        let make = |(number, traits): (usize, Traits)| {
            let (replicas, cpu, came, min, priority, queue, timeout) = traits;
            let name = format!("j{number:02}");
            QueuedJob {
                min_available: u32::min(min, replicas),
                priority,
                queue: ["default", "trials"][queue].to_owned(),
                timeout_seconds: timeout,
                ..job(&name, replicas, cpu, came)
            }
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

fn world() -> impl Strategy<Value = QueueSnapshot> {
    let allocations = proptest::collection::vec((0_i64..4, 0_u32..3, any::<bool>()), 0..3);
    (jobs(), allocations, 1_i64..16).prop_map(|(jobs, allocations, cpu)| QueueSnapshot {
        nodes: vec![node(json!({ "cpu": cpu, "pods": 12 }))],
        allocations: allocations
            .into_iter()
            .map(|(cpu, count, is_bound)| Allocation {
                node: is_bound.then(|| "machine".to_owned()),
                ..allocated(cpu, count)
            })
            .collect(),
        jobs,
    })
}

fn starts(decision: &QueueDecision, job: &QueuedJob) -> bool {
    decision.states[&job.uid] == SchedulingState::MayStart
}

fn minimum(job: &QueuedJob) -> Resources {
    job.replicas[0].0.requests.times(job.min_available)
}

proptest! {
    #[test]
    fn nodes_are_never_oversubscribed(snapshot in world()) {
        let decision = decide(&snapshot, at(1000));
        let started: Vec<_> = snapshot.jobs.iter().filter(|job| starts(&decision, job)).collect();
        let mut free = snapshot.nodes[0].allocatable.clone();
        for allocation in &snapshot.allocations {
            // Pods that no node could ever hold are not on this machine.
            if allocation.node.is_some() || allocation.request.requests.fits(&snapshot.nodes[0].allocatable) {
                free.subtract(&allocation.request.requests.times(allocation.count));
            }
        }
        for job in &started {
            free.subtract(&minimum(job));
        }
        // A started job requests nothing of a resource that is exceeded.
        for job in started {
            for (name, amount) in minimum(job).iter() {
                prop_assert!(amount == 0 || free.get(name) >= 0, "{} of {name} for {}", amount, job.name);
            }
        }
    }

    #[test]
    fn no_job_starts_before_a_waiting_job_in_front_of_it(snapshot in world()) {
        let decision = decide(&snapshot, at(1000));
        for front in &snapshot.jobs {
            let Some(waiting) = decision.states[&front.uid].waiting() else { continue };
            if waiting.kind != WaitKind::Queued {
                continue;
            }
            for behind in snapshot.jobs.iter().filter(|behind| behind.queue == front.queue) {
                let is_behind = behind.priority < front.priority
                    || (behind.priority == front.priority && behind.since > front.since);
                prop_assert!(!is_behind || !starts(&decision, behind), "{} past {}", behind.name, front.name);
            }
        }
    }

    #[test]
    fn the_order_of_lists_does_not_matter(snapshot in world(), turn in 0_usize..12) {
        let mut turned = snapshot.clone();
        let length = turned.jobs.len().max(1);
        turned.jobs.rotate_left(turn % length);
        turned.jobs.reverse();
        prop_assert_eq!(decide(&snapshot, at(1000)), decide(&turned, at(1000)));
    }

    #[test]
    fn every_schedulable_job_starts_eventually(jobs in jobs(), cpu in 1_i64..16) {
        // Every round takes a minute: started jobs finish after two, and a small job arrives in the
        // other queue.
        let nodes = vec![node(json!({ "cpu": cpu, "pods": 12 }))];
        let mut waiting: Vec<QueuedJob> = jobs.into_iter().map(|job| QueuedJob { priority: 0, ..job }).collect();
        let mut open: BTreeSet<String> = waiting.iter().map(|job| job.uid.clone()).collect();
        let mut running: Vec<(i64, QueuedJob)> = Vec::new();
        for round in 0_i64..120 {
            let mut trial = job(&format!("t{round:03}"), 1, 1, 2000 + round * 60);
            trial.queue = "endless".to_owned();
            waiting.push(trial);
            running.retain(|(end, _)| *end > round);
            let allocations = running.iter().map(|(_, job)| allocated(job.replicas[0].0.requests.get("cpu") / 1000, job.replicas[0].1));
            let snapshot = QueueSnapshot { nodes: nodes.clone(), allocations: allocations.collect(), jobs: waiting.clone() };
            let decision = decide(&snapshot, at(2000 + round * 60));
            for job in &snapshot.jobs {
                match &decision.states[&job.uid] {
                    SchedulingState::MayStart | SchedulingState::Placing(_) => running.push((round + 2, job.clone())),
                    // A job that timed out requested no more than what is free by chance.
                    SchedulingState::Waiting(waiting) if waiting.kind == WaitKind::Queued => continue,
                    SchedulingState::Waiting(_) => {}
                }
                open.remove(&job.uid);
            }
            waiting.retain(|job| !starts(&decision, job));
            if open.is_empty() {
                break;
            }
        }
        prop_assert!(open.is_empty(), "{open:?} never started");
    }
}
