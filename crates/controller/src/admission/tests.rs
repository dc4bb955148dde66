//! The line, by table and by property.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_764_000_000 + seconds).unwrap()
}

#[allow(clippy::needless_pass_by_value)] // reads better with a literal
fn resources(list: Value) -> Resources {
    Resources::from_list(Some(&list))
}

fn node(allocatable: Value) -> Node {
    Node {
        name: "machine".to_owned(),
        allocatable: resources(allocatable),
        is_open: true,
        ..Node::default()
    }
}

fn ask(cpu: i64) -> Arc<Ask> {
    let mut requests = Resources::default();
    requests.set("cpu", cpu * 1000);
    requests.set("pods", 1);
    Arc::new(Ask { requests, ..Ask::default() })
}

/// A job of some replicas of so many CPUs each that came at that second.
fn job(name: &str, replicas: u32, cpu: i64, came: i64) -> Candidate {
    Candidate {
        uid: name.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        queue: DEFAULT_QUEUE.to_owned(),
        priority: 0,
        since: Some(at(came)),
        timeout_seconds: None,
        min_available: replicas,
        min_resources: Resources::default(),
        replicas: vec![(ask(cpu), replicas)],
    }
}

fn held(cpu: i64, count: u32) -> Holding {
    Holding { node: Some("machine".to_owned()), ask: ask(cpu), count }
}

/// A machine of 8 CPUs and 100 pods.
fn machine(holdings: Vec<Holding>, candidates: Vec<Candidate>) -> Snapshot {
    Snapshot { nodes: vec![node(json!({ "cpu": 8, "pods": 100 }))], holdings, candidates }
}

fn word(admission: &Admission) -> String {
    match admission {
        Admission::Admitted | Admission::Placing(_) => "starts".to_owned(),
        Admission::Waiting(waiting) => waiting.message.clone(),
    }
}

/// `a: starts; b: waits for …`.
fn told(snapshot: &Snapshot, now: i64) -> String {
    let decision = decide(snapshot, at(now));
    let words = decision.admissions.iter().map(|(uid, one)| format!("{uid}: {}", word(one)));
    words.collect::<Vec<_>>().join("; ")
}

#[test]
fn a_job_starts_with_all_its_replicas_or_not_at_all() {
    let jobs = || vec![job("a", 4, 2, 0)];
    assert_eq!(told(&machine(vec![], jobs()), 0), "a: starts");
    assert_eq!(
        told(&machine(vec![held(1, 1)], jobs()), 0),
        "a: waits for cpu 8 for 4 pods at once"
    );
    assert_eq!(
        told(&machine(vec![], vec![job("a", 2, 3, 0), job("b", 1, 2, 1)]), 0),
        "a: starts; b: starts"
    );
}

#[test]
fn a_minimum_of_replicas_is_enough_and_the_rest_is_claimed() {
    let mut elastic = job("a", 6, 2, 0);
    elastic.min_available = 2;
    let snapshot = machine(vec![held(1, 3)], vec![elastic, job("b", 1, 1, 1)]);
    assert_eq!(told(&snapshot, 0), "a: starts; b: waits for cpu 1 for 1 pod");
}

#[test]
fn nobody_overtakes_in_a_queue_however_small() {
    let jobs = vec![job("big", 1, 8, 0), job("small", 1, 1, 1)];
    assert_eq!(
        told(&machine(vec![held(1, 1)], jobs), 2),
        "big: waits for cpu 8 for 1 pod; small: waits for its turn in queue default"
    );
}

#[test]
fn a_higher_priority_goes_first_and_equals_by_age_then_by_name() {
    let mut urgent = job("urgent", 1, 6, 9);
    urgent.priority = 10;
    let jobs = vec![job("old", 1, 6, 0), urgent];
    assert_eq!(told(&machine(vec![], jobs), 9), "old: waits for cpu 6 for 1 pod; urgent: starts");
    let jobs = vec![job("b", 1, 6, 0), job("a", 1, 6, 0)];
    assert_eq!(told(&machine(vec![], jobs), 9), "a: starts; b: waits for cpu 6 for 1 pod");
}

#[test]
fn a_queue_is_a_line_of_its_own_until_another_head_has_waited_for_long() {
    let mut other = job("other", 1, 1, 1);
    other.queue = "trials".to_owned();
    let snapshot = machine(vec![held(1, 1)], vec![job("big", 1, 8, 0), other]);
    let patience = PATIENCE.as_secs();
    assert_eq!(told(&snapshot, patience - 1), "big: waits for cpu 8 for 1 pod; other: starts");
    assert_eq!(
        told(&snapshot, patience),
        "big: waits for cpu 8 for 1 pod; other: waits for its turn in queue trials"
    );
}

#[test]
fn what_can_never_fit_says_why_and_holds_nobody_up() {
    let selector: BTreeMap<String, String> = [("zone".to_owned(), "a".to_owned())].into();
    let gpu = |count: i64| {
        let requests = resources(json!({ "nvidia.com/gpu": count, "pods": 1 }));
        vec![(Arc::new(Ask { requests, ..Ask::default() }), 2)]
    };
    let labelled = vec![(Arc::new(Ask { selector, ..Ask::default() }), 1)];
    let mut needs_all = job("a", 1, 1, 0);
    needs_all.min_resources = resources(json!({ "memory": "1Gi" }));
    for (candidate, expect) in [
        (job("a", 1, 9, 0), "it needs 9 of cpu at once and the nodes have 8 in all"),
        (job("a", 101, 0, 0), "it needs 101 of pods at once and the nodes have 100 in all"),
        (
            Candidate { replicas: gpu(2), ..job("a", 2, 0, 0) },
            "it needs 4 of nvidia.com/gpu at once and the nodes have 0 in all",
        ),
        (Candidate { replicas: labelled, ..job("a", 1, 0, 0) }, "no node has the labels zone=a"),
        (needs_all, "it needs 1Gi of memory at once and the nodes have 0 in all"),
    ] {
        let snapshot = machine(vec![], vec![candidate, job("b", 1, 1, 1)]);
        assert_eq!(told(&snapshot, 2), format!("a: can never start here: {expect}; b: starts"));
    }
}

#[test]
fn a_replica_must_fit_one_node() {
    let mut snapshot = machine(vec![], vec![job("a", 1, 10, 0)]);
    snapshot.nodes.push(Node { name: "other".to_owned(), ..snapshot.nodes[0].clone() });
    assert_eq!(
        told(&snapshot, 0),
        "a: can never start here: one of its replicas needs 10 of cpu, more than a node has"
    );
    snapshot.candidates = vec![job("a", 3, 5, 0)];
    assert_eq!(
        told(&snapshot, 0),
        "a: can never start here: its replicas do not fit the nodes together"
    );
    snapshot.candidates = vec![job("a", 2, 5, 0)];
    assert_eq!(told(&snapshot, 0), "a: starts");
}

#[test]
fn a_closed_node_takes_nobody_and_no_node_is_no_reason_to_give_up() {
    let mut snapshot = machine(vec![], vec![job("a", 1, 1, 0)]);
    snapshot.nodes[0].is_open = false;
    assert_eq!(told(&snapshot, 0), "a: waits for cpu 1 for 1 pod");
    snapshot.nodes.clear();
    assert_eq!(told(&snapshot, 0), "a: waits for cpu 1 for 1 pod");
}

#[test]
fn a_node_that_has_not_said_what_it_has_is_no_reason_to_give_up() {
    let mut snapshot = machine(vec![], vec![job("a", 1, 1, 0)]);
    snapshot.nodes = vec![node(json!({}))];
    assert_eq!(told(&snapshot, 0), "a: waits for cpu 1 for 1 pod");
}

#[test]
fn a_schedule_timeout_gives_up_the_turn_and_not_the_job() {
    let mut impatient = job("a", 1, 8, 0);
    impatient.timeout_seconds = Some(60);
    let mut snapshot = machine(vec![held(1, 1)], vec![impatient, job("b", 1, 1, 1)]);
    let decision = decide(&snapshot, at(59));
    assert_eq!(decision.again_at, Some(at(60)));
    assert_eq!(word(&decision.admissions["b"]), "waits for its turn in queue default");
    let gave_up = "a: has given up its turn after its schedule timeout of 60 s and starts when there is cpu 8 for 1 pod to spare";
    assert_eq!(told(&snapshot, 60), format!("{gave_up}; b: starts"));
    assert_eq!(decide(&snapshot, at(60)).again_at, None);
    snapshot.holdings.clear();
    assert_eq!(told(&snapshot, 61), "a: starts; b: waits for cpu 1 for 1 pod");
}

#[test]
fn replicas_of_started_jobs_without_a_pod_keep_their_room() {
    let unbound = Holding { node: None, ask: ask(4), count: 1 };
    assert_eq!(
        told(&machine(vec![held(4, 1), unbound], vec![job("a", 1, 1, 0)]), 0),
        "a: waits for cpu 1 for 1 pod"
    );
}

#[test]
fn what_waits_for_a_larger_machine_takes_no_room_of_this_one() {
    let waiting = |cpu| Holding { node: None, ..held(cpu, 1) };
    for (holdings, expect) in [
        (vec![waiting(9)], "starts"),
        (vec![waiting(9), waiting(2)], "waits for cpu 8 for 1 pod"),
        (vec![waiting(8)], "waits for cpu 8 for 1 pod"),
        (vec![held(1, 1), waiting(8)], "waits for cpu 8 for 1 pod"),
    ] {
        let count = holdings.len();
        let snapshot = machine(holdings, vec![job("a", 1, 8, 0)]);
        assert_eq!(word(&decide(&snapshot, at(1)).admissions["a"]), expect, "{count}");
    }
}

#[test]
fn jobs_that_ask_for_nothing_start_while_there_are_places_for_pods() {
    let nothing = Arc::new(Ask { requests: resources(json!({ "pods": 1 })), ..Ask::default() });
    let mut trivial = job("a", 2, 0, 0);
    trivial.replicas = vec![(nothing, 2)];
    assert_eq!(told(&machine(vec![held(8, 1)], vec![trivial.clone()]), 0), "a: starts");
    assert_eq!(
        told(&machine(vec![held(0, 99)], vec![trivial]), 0),
        "a: waits for places for 2 pods"
    );
}

// === Properties ===

/// Replicas, CPUs, arrival, minimum, priority, queue, schedule timeout.
type Traits = (u32, i64, i64, u32, i32, usize, Option<i32>);

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
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
            Candidate {
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

fn world() -> impl Strategy<Value = Snapshot> {
    let holdings = proptest::collection::vec((0_i64..4, 0_u32..3, any::<bool>()), 0..3);
    (candidates(), holdings, 1_i64..16).prop_map(|(candidates, holdings, cpu)| Snapshot {
        nodes: vec![node(json!({ "cpu": cpu, "pods": 12 }))],
        holdings: holdings
            .into_iter()
            .map(|(cpu, count, is_bound)| Holding {
                node: is_bound.then(|| "machine".to_owned()),
                ..held(cpu, count)
            })
            .collect(),
        candidates,
    })
}

fn starts(decision: &Decision, job: &Candidate) -> bool {
    decision.admissions[&job.uid] == Admission::Admitted
}

fn minimum(job: &Candidate) -> Resources {
    job.replicas[0].0.requests.times(job.min_available)
}

proptest! {
    #[test]
    fn the_machine_is_never_oversubscribed(snapshot in world()) {
        let decision = decide(&snapshot, at(1000));
        let started: Vec<_> = snapshot.candidates.iter().filter(|job| starts(&decision, job)).collect();
        let mut free = snapshot.nodes[0].allocatable.clone();
        for holding in &snapshot.holdings {
            // What waits for a larger machine is not on this one.
            if holding.node.is_some() || holding.ask.requests.fits(&snapshot.nodes[0].allocatable) {
                free.subtract(&holding.ask.requests.times(holding.count));
            }
        }
        for job in &started {
            free.subtract(&minimum(job));
        }
        // Whoever started asks for nothing of what is short.
        for job in started {
            for (name, amount) in minimum(job).iter() {
                prop_assert!(amount == 0 || free.get(name) >= 0, "{} of {name} for {}", amount, job.name);
            }
        }
    }

    #[test]
    fn nobody_starts_past_somebody_who_waits_in_front(snapshot in world()) {
        let decision = decide(&snapshot, at(1000));
        for front in &snapshot.candidates {
            let Some(waiting) = decision.admissions[&front.uid].waiting() else { continue };
            if waiting.kind != WaitKind::Line {
                continue;
            }
            for behind in snapshot.candidates.iter().filter(|behind| behind.queue == front.queue) {
                let is_behind = behind.priority < front.priority
                    || (behind.priority == front.priority && behind.since > front.since);
                prop_assert!(!is_behind || !starts(&decision, behind), "{} past {}", behind.name, front.name);
            }
        }
    }

    #[test]
    fn the_order_of_listing_decides_nothing(snapshot in world(), turn in 0_usize..12) {
        let mut turned = snapshot.clone();
        let length = turned.candidates.len().max(1);
        turned.candidates.rotate_left(turn % length);
        turned.candidates.reverse();
        prop_assert_eq!(decide(&snapshot, at(1000)), decide(&turned, at(1000)));
    }

    #[test]
    fn everybody_who_can_start_starts_in_the_end_whoever_else_keeps_coming(jobs in candidates(), cpu in 1_i64..16) {
        // Every round takes a minute: those that started are done after two, and a small job comes to the other queue.
        let nodes = vec![node(json!({ "cpu": cpu, "pods": 12 }))];
        let mut waiting: Vec<Candidate> = jobs.into_iter().map(|job| Candidate { priority: 0, ..job }).collect();
        let mut open: BTreeSet<String> = waiting.iter().map(|job| job.uid.clone()).collect();
        let mut running: Vec<(i64, Candidate)> = Vec::new();
        for round in 0_i64..120 {
            let mut trial = job(&format!("t{round:03}"), 1, 1, 2000 + round * 60);
            trial.queue = "endless".to_owned();
            waiting.push(trial);
            running.retain(|(end, _)| *end > round);
            let holdings = running.iter().map(|(_, job)| held(job.replicas[0].0.requests.get("cpu") / 1000, job.replicas[0].1));
            let snapshot = Snapshot { nodes: nodes.clone(), holdings: holdings.collect(), candidates: waiting.clone() };
            let decision = decide(&snapshot, at(2000 + round * 60));
            for job in &snapshot.candidates {
                match &decision.admissions[&job.uid] {
                    Admission::Admitted | Admission::Placing(_) => running.push((round + 2, job.clone())),
                    // Whoever gave up a turn asked for no more than what happens to be free.
                    Admission::Waiting(waiting) if waiting.kind == WaitKind::Line => continue,
                    Admission::Waiting(_) => {}
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
