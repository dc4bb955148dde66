//! Bugs in limits, clean-up and suspension.

use serde_json::json;

use super::super::world::{at, distributed, workers};

#[test]
fn the_ttl_needs_no_other_event__1533_and_1614() {
    let mut world = workers(&json!({ "ttlSecondsAfterFinished": 7200 })).started();
    world.end("worker-0", 0);
    world.observe_end("worker-1", 0);
    assert_eq!(world.plan().wake_at, Some(at(7200)), "its own timer");
    world.wait(7200);
    assert!(world.is_deleted);
}

#[test]
fn a_deadline_needs_no_other_event__3358() {
    let world = workers(&json!({ "activeDeadlineSeconds": 3600 })).started();
    assert_eq!(world.plan().wake_at, Some(at(3600)));
}

#[test]
fn a_limit_and_a_ttl_work_together__994() {
    let spec = json!({ "activeDeadlineSeconds": 10, "ttlSecondsAfterFinished": 5 });
    let mut world = workers(&spec).started();
    world.wait(10);
    assert_eq!((world.state().as_str(), world.is_deleted), ("Failed", false));
    assert_eq!(world.plan().wake_at, Some(at(15)));
}

#[test]
fn the_ttl_does_not_apply_to_a_suspended_job__2239_and_2158_and_2159_and_2243_and_kueue_2923() {
    let spec = json!({ "suspend": true, "ttlSecondsAfterFinished": 0 });
    let mut world = workers(&spec);
    world.quiesce();
    world.advance(100);
    assert!(world.step().is_empty());
    assert_eq!((world.plan().wake_at, world.is_deleted), (None, false));
}

#[test]
fn services_do_not_outlive_their_pods__1191_and_1989() {
    let mut world = distributed(&json!({ "cleanPodPolicy": "All" })).started();
    world.end("worker-0", 1);
    world.pods.retain(|name, _| name == "digits-worker-0");
    world.quiesce();
    assert!(world.services.is_empty());
}

#[test]
fn a_limit_honours_the_clean_pod_policy__operators_until_1_6_and_since() {
    // One operator left everything running under `None`; the next one deleted everything under any
    // policy.
    let kept = |policy: &str| {
        let spec = json!({ "activeDeadlineSeconds": 10, "cleanPodPolicy": policy });
        let mut world = workers(&spec).started();
        world.observe_end("worker-0", 0);
        world.wait(10);
        world.reap();
        world.pod_names().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kept("All"), Vec::<String>::new());
    assert_eq!(kept("Running"), ["worker-0"]);
    assert_eq!(kept("None"), ["worker-0"]);
}

#[test]
fn a_pod_that_keeps_restarting_is_deleted_with_the_job__pr_4063() {
    let mut world = workers(&json!({ "restartScope": "Replica", "backoffLimit": 2 }));
    world = world.restarting("OnFailure").started();
    // The kubelet restarts its container again and again: the pod never leaves `Running`.
    world.pod("worker-0").restarts = 3;
    world.quiesce();
    assert_eq!(world.state(), "Failed");
    assert_eq!(world.alive(), Vec::<String>::new());
}

#[test]
fn pending_pods_are_deleted_under_running__operators_before_1_3() {
    let mut world = workers(&json!({ "activeDeadlineSeconds": 10 }));
    world.quiesce();
    world.wait(10);
    world.reap();
    assert!(world.pods.is_empty());
}

#[test]
fn both_layouts_mean_the_same__1241_and_1331_and_1401() {
    for spec in [
        json!({ "activeDeadlineSeconds": 10, "cleanPodPolicy": "All", "backoffLimit": 0 }),
        json!({ "runPolicy": { "activeDeadlineSeconds": 10, "cleanPodPolicy": "All", "backoffLimit": 0 } }),
    ] {
        let mut world = workers(&spec).restarting("OnFailure").started();
        assert_eq!(world.plan().wake_at, Some(at(10)), "{spec}");
        world.observe_end("worker-0", 1);
        world.reap();
        assert_eq!((world.state().as_str(), world.pods.len()), ("Failed", 0), "{spec}");
    }
}

#[test]
fn no_process_waits_for_a_dead_rendezvous__ps_lite_148() {
    for policy in ["All", "Running", "None"] {
        for lost in ["scheduler-0", "server-0", "worker-1"] {
            let mut world = distributed(&json!({ "cleanPodPolicy": policy })).started();
            world.observe_end(lost, 1);
            world.reap();
            assert_eq!(world.alive(), Vec::<String>::new(), "{policy} {lost}");
        }
    }
}

#[test]
fn changes_by_replace_take_effect_on_a_live_job() {
    let mut world = distributed(&json!({ "activeDeadlineSeconds": 1000 })).started();
    world.advance(100);
    world.spec["activeDeadlineSeconds"] = json!(50);
    world.quiesce();
    assert_eq!(world.state(), "Failed");
    assert!(!world.services.is_empty() || world.pods.values().all(|pod| pod.terminating));
    world.reap();
    world.spec["ttlSecondsAfterFinished"] = json!(60);
    assert_eq!(world.plan().wake_at, Some(at(160)));
    let mut kept = distributed(&json!({ "cleanPodPolicy": "None" })).started();
    for replica in ["scheduler-0", "worker-0", "worker-1"] {
        kept.end(replica, 0);
    }
    kept.quiesce();
    assert_eq!(kept.alive(), ["server-0"]);
    kept.spec["cleanPodPolicy"] = json!("Running");
    kept.quiesce();
    kept.reap();
    assert_eq!(kept.pod_names(), ["scheduler-0", "worker-0", "worker-1"]);
    kept.spec["cleanPodPolicy"] = json!("All");
    kept.quiesce();
    kept.reap();
    assert!(kept.pods.is_empty() && kept.services.is_empty());
}
