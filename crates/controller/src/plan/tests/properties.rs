//! Invariants of every history. A random sequence of changes happens to the job; after each, plans
//! are carried out until there is nothing to do. [`World::step`](super::world::World::step) itself
//! panics if an object is created twice or a foreign object is deleted.

use mxjob_api::ConditionType;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::World;
use crate::plan::plan;
use crate::view::{Phase, PodView, ServiceView};

/// A pod and a service that are owned by the job but are none of its replicas.
const FOREIGN: &str = "helper";

#[derive(Clone, Debug)]
enum Happening {
    Run(usize),
    End(usize, i32),
    RestartInPlace(usize),
    Remove(usize),
    Reap,
    Advance(i64),
    Suspend(bool),
    ChangePolicy(&'static str),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0..6_usize).prop_map(Happening::Run),
        4 => (0..6_usize, prop_oneof![4 => Just(0), 1 => Just(1), 2 => Just(137)]).prop_map(|(pod, code)| Happening::End(pod, code)),
        1 => (0..6_usize).prop_map(Happening::RestartInPlace),
        1 => (0..6_usize).prop_map(Happening::Remove),
        4 => Just(Happening::Reap),
        3 => (0..400_i64).prop_map(Happening::Advance),
        1 => any::<bool>().prop_map(Happening::Suspend),
        1 => prop_oneof![Just("All"), Just("Running"), Just("None")].prop_map(Happening::ChangePolicy),
    ]
}

fn world() -> impl Strategy<Value = World> {
    let roles = prop_oneof![
        Just(vec![("Scheduler", 1), ("Server", 1), ("Worker", 2)]),
        Just(vec![("Scheduler", 0), ("Server", 0), ("Worker", 3)]),
        Just(vec![("Worker", 1)]),
        Just(vec![("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)]),
    ];
    let policy = prop_oneof![Just("Never"), Just("OnFailure"), Just("Always"), Just("ExitCode")];
    let scope = prop_oneof![Just(Value::Null), Just(json!("Job")), Just(json!("Replica"))];
    let limit = prop_oneof![Just(Value::Null), (0..4).prop_map(|limit| json!(limit))];
    let deadline =
        prop_oneof![3 => Just(Value::Null), 1 => (1..1000).prop_map(|seconds| json!(seconds))];
    (roles, policy, scope, limit, deadline).prop_map(|(roles, policy, scope, limit, deadline)| {
        let mode = if roles.iter().any(|(role, _)| *role == "Tuner") { "MXTune" } else { "MXTrain" };
        let spec = json!({ "jobMode": mode, "restartScope": scope, "backoffLimit": limit, "activeDeadlineSeconds": deadline });
        World::new(&roles, &spec).restarting(policy)
    })
}

fn apply(world: &mut World, happening: &Happening) {
    let name = |world: &World, pod: usize| {
        let ours = world.pod_names().into_iter().filter(|name| *name != FOREIGN);
        let names: Vec<String> = ours.map(str::to_owned).collect();
        (!names.is_empty()).then(|| names[pod % names.len()].clone())
    };
    match happening {
        Happening::Run(pod) => {
            if let Some(name) = name(world, *pod)
                && world.pod(&name).phase == Phase::Pending
            {
                world.run(&name);
            }
        }
        Happening::End(pod, code) => {
            if let Some(name) = name(world, *pod)
                && world.pod(&name).phase == Phase::Running
            {
                world.end(&name, *code);
            }
        }
        Happening::RestartInPlace(pod) => {
            if let Some(name) = name(world, *pod) {
                world.pod(&name).restarts += 1;
            }
        }
        Happening::Remove(pod) => {
            if let Some(name) = name(world, *pod) {
                world.pod(&name).terminating = true;
            }
        }
        Happening::Reap => world.reap(),
        Happening::Advance(seconds) => world.advance(*seconds),
        Happening::Suspend(suspend) => world.spec["suspend"] = json!(suspend),
        Happening::ChangePolicy(policy) => world.spec["cleanPodPolicy"] = json!(policy),
    }
}

/// Values that may not decrease within one attempt of the job.
fn counts(world: &World) -> (u32, Vec<(u32, u32, u32)>) {
    let snapshot = world.snapshot();
    let is_finished = snapshot.job.status.is_finished();
    let counts = snapshot.job.status.replicas.values();
    let failed = |failed: u32| if is_finished { failed } else { 0 };
    (
        snapshot.memory.restarts.attempt,
        counts.map(|role| (role.restarts, role.succeeded, failed(role.failed))).collect(),
    )
}

fn terminal(world: &World) -> Option<Value> {
    world
        .snapshot()
        .job
        .status
        .is_finished()
        .then(|| json!([world.status["conditions"], world.status["completionTime"]]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_invariants(mut world in world(), history in proptest::collection::vec(happening(), 0..40)) {
        let (name, uid) = (FOREIGN.to_owned(), "foreign".to_owned());
        let pod = PodView { name: name.clone(), uid: uid.clone(), phase: Phase::Succeeded, ..PodView::default() };
        world.pods.insert(name.clone(), pod);
        world.services.insert(name.clone(), ServiceView { name, uid, terminating: false });
        world.quiesce();
        for happening in history {
            let (finished, before, restarts) = (terminal(&world), counts(&world), world.events.len());
            apply(&mut world, &happening);

            // The result does not depend on the order in which pods are listed.
            let mut shuffled = world.snapshot();
            shuffled.pods.reverse();
            shuffled.services.reverse();
            prop_assert_eq!(plan(&shuffled, world.now), world.plan());

            world.quiesce();
            let snapshot = world.snapshot();
            let status = &snapshot.job.status;
            let after = counts(&world);
            for (role, (now, then)) in after.1.iter().zip(&before.1).enumerate() {
                prop_assert!(now.0 >= then.0, "restarts of role {} went back", role);
                prop_assert!(after.0 != before.0 || now.1 >= then.1, "successes of role {} went back", role);
                prop_assert!(finished.is_none() || now.2 >= then.2, "failures of role {} went back", role);
            }
            if let Some(finished) = finished {
                prop_assert_eq!(terminal(&world), Some(finished), "what is finished stays finished");
                prop_assert_eq!(world.events.len(), restarts, "and says no more");
            }
            let last = status.conditions.last().unwrap();
            prop_assert!(status.is_true(&last.kind), "the newest condition holds");
            let running = status.is_true(&ConditionType::Running);
            prop_assert!(!(running && status.is_finished()));
            if status.is_true(&ConditionType::Failed) || status.is_true(&ConditionType::Suspended) {
                prop_assert_eq!(world.alive(), Vec::<String>::new(), "nothing is left waiting");
            }
            prop_assert!(!world.pods[FOREIGN].terminating && world.services.contains_key(FOREIGN), "what is not ours stays");
            prop_assert_eq!(world.plan().wake_at.is_some_and(|at| at <= world.now), false, "a timer is in the future");
        }
    }
}
