//! Pod groups, against golden files, and the actions on them.

use std::path::Path;

use mxjob_api::Role;
use serde_json::json;

use super::member::{mark, names_another_scheduler};
use super::*;
use crate::scheduling::PodGroups;

/// A job of one scheduler, one server and two workers, after `change`.
fn job(change: impl FnOnce(&mut Value)) -> Value {
    let replica = |count: u32, resources: Value| {
        json!({ "replicas": count, "template": { "spec": {
            "initContainers": [{ "name": "fetch", "resources": { "requests": { "cpu": "64" } } }],
            "containers": [{ "name": "mxnet", "image": "mxnet", "resources": resources }],
        } } })
    };
    let mut object = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "team", "uid": "u1", "annotations": {
            "owner": "mia", "kubectl.kubernetes.io/last-applied-configuration": "{}",
        } },
        "spec": { "mxReplicaSpecs": {
            "Scheduler": replica(1, json!({ "requests": { "cpu": "250m", "memory": "128Mi" } })),
            "Server": replica(1, json!({ "limits": { "cpu": "1", "memory": "1Gi" } })),
            "Worker": replica(2, json!({ "requests": { "cpu": "2", "memory": "1536Mi" }, "limits": { "nvidia.com/gpu": 1 } })),
        } },
    });
    change(&mut object);
    object
}

fn decided(
    kind: Kind,
    object: &Value,
    group: Option<&Value>,
    has_pods: bool,
) -> (GroupAction, SchedulingState) {
    decided_among(kind, object, group, has_pods, false)
}

fn decided_among(
    kind: Kind,
    object: &Value,
    group: Option<&Value>,
    has_pods: bool,
    has_unmarked_pods: bool,
) -> (GroupAction, SchedulingState) {
    let job = Job::from_value(object).unwrap();
    let memory = Memory::read(object.get("status").unwrap_or(&Value::Null));
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object).cloned();
    let annotations = annotations.unwrap_or_default();
    let context = GroupContext {
        job: &job,
        annotations: &annotations,
        memory: &memory,
        has_pods,
        has_unmarked_pods,
    };
    let view = group.map(|group| PodGroupView::read(group).unwrap());
    decide(kind, context, view.as_ref())
}

/// The group that is created for a job.
fn made(kind: Kind, object: &Value) -> Value {
    match decided(kind, object, None, false).0 {
        GroupAction::Create(group) => group,
        other => panic!("{other:?}"),
    }
}

/// The same group as the server stores it, with a status of its scheduler.
fn stored(kind: Kind, object: &Value, phase: &str) -> Value {
    let mut group = made(kind, object);
    group["metadata"]["uid"] = json!("g1");
    group["status"] = json!({ "phase": phase });
    group
}

fn nothing(_: &mut Value) {}

fn policy(policy: Value) -> impl FnOnce(&mut Value) {
    |job| job["spec"]["schedulingPolicy"] = policy
}

fn waits(state: &SchedulingState) -> &str {
    state.waiting().map_or("", |waiting| waiting.message.as_str())
}

#[test]
fn groups_match_their_golden_files() {
    let full = || {
        policy(json!({
            "minAvailable": 3, "queue": "night", "priorityClass": "high", "scheduleTimeoutSeconds": 60,
            "minResources": { "cpu": "3000m", "memory": "1e9" },
        }))
    };
    for (name, kind, object) in [
        ("volcano", Kind::Volcano, job(nothing)),
        ("volcano-policy", Kind::Volcano, job(full())),
        ("scheduler-plugins", Kind::SchedulerPlugins, job(nothing)),
        ("scheduler-plugins-policy", Kind::SchedulerPlugins, job(full())),
    ] {
        let made = serde_json::to_string_pretty(&made(kind, &object)).unwrap() + "\n";
        let file = format!("tests/data/pod-groups/{name}.json");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &made).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(golden, made, "{name}: UPDATE_GOLDEN=1 updates it");
    }
}

#[test]
fn min_resources_sum_the_first_replicas_by_priority() {
    let minimum = |change: fn(&mut Value), members: u32| {
        let job = Job::from_value(&job(change)).unwrap();
        Value::Object(minimum::resources(&job, members, |replica| replica.count))
    };
    let urgent_workers: fn(&mut Value) = |job| {
        job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["priority"] = json!(10);
    };
    let plain: fn(&mut Value) = nothing;
    for (change, members, expect) in [
        (plain, 1, json!({ "cpu": "250m", "memory": "128Mi" })),
        (plain, 2, json!({ "cpu": "1250m", "memory": "1152Mi" })),
        (plain, 4, json!({ "cpu": "5250m", "memory": "4224Mi", "nvidia.com/gpu": "2" })),
        (plain, 9, json!({ "cpu": "5250m", "memory": "4224Mi", "nvidia.com/gpu": "2" })),
        (urgent_workers, 2, json!({ "cpu": "4", "memory": "3Gi", "nvidia.com/gpu": "2" })),
    ] {
        assert_eq!(minimum(change, members), expect, "{members}");
    }
}

#[test]
fn pods_are_marked_as_members_and_keep_another_scheduler() {
    let plugins = PodGroups::SchedulerPlugins { scheduler: "gangs".to_owned() };
    let typed = Job::from_value(&job(nothing)).unwrap();
    let marked = |scheduler: &PodGroups, pod: Value| {
        let mut pod = pod;
        mark(scheduler, &typed, Role::Worker, &mut pod);
        pod
    };
    assert_eq!(
        marked(&PodGroups::Volcano, json!({ "metadata": {}, "spec": { "schedulerName": "" } })),
        json!({
            "metadata": { "annotations": { "scheduling.k8s.io/group-name": "digits", "volcano.sh/task-spec": "worker" } },
            "spec": { "schedulerName": "volcano" },
        })
    );
    assert_eq!(
        marked(&plugins, json!({ "metadata": { "labels": { "a": "b" } }, "spec": {} })),
        json!({
            "metadata": { "labels": { "a": "b", "scheduling.x-k8s.io/pod-group": "digits" } },
            "spec": { "schedulerName": "gangs" },
        })
    );
    let other = marked(&plugins, json!({ "metadata": {}, "spec": { "schedulerName": "mine" } }));
    assert_eq!(other["spec"]["schedulerName"], "mine");
    let names = |name: &str| {
        let job = job(|job| {
            job["spec"]["mxReplicaSpecs"]["Server"]["template"]["spec"]["schedulerName"] =
                json!(name);
        });
        names_another_scheduler(&plugins, &Job::from_value(&job).unwrap())
    };
    assert_eq!([names("mine"), names("gangs"), names("")], [true, false, false]);
}

#[test]
fn volcano_decides_before_the_first_pod_and_only_then() {
    let started = |job: &mut Value| job["status"] = json!({ "startTime": "2026-11-24T08:00:00Z" });
    for (phase, is_started, has_pods, may_start) in [
        ("", false, false, false),
        ("Pending", false, false, false),
        ("Inqueue", false, false, true),
        ("Running", false, false, true),
        ("Unknown", false, false, true),
        ("Pending", true, false, true),
        ("Pending", false, true, true),
    ] {
        let object = if is_started { job(started) } else { job(nothing) };
        let group = stored(Kind::Volcano, &object, phase);
        let (step, state) = decided(Kind::Volcano, &object, Some(&group), has_pods);
        assert_eq!(step, GroupAction::Keep, "{phase}");
        assert_eq!(state.waiting().is_none(), may_start, "{phase} {is_started} {has_pods}");
    }
    let (_, state) = decided(Kind::Volcano, &job(nothing), None, false);
    assert_eq!(waits(&state), "waits for Volcano to admit it to queue default");
    let (_, state) = decided(Kind::SchedulerPlugins, &job(nothing), None, false);
    assert_eq!(state, SchedulingState::MayStart, "its pods are created immediately");
}

#[test]
fn the_schedulers_reason_is_reported_and_changed_numbers_alone_are_not() {
    let object = job(nothing);
    let unschedulable = |message: &str| json!({ "type": "Unschedulable", "status": "True", "message": message, "lastTransitionTime": "2026-11-24T08:00:00Z" });
    let scheduled =
        |time: &str| json!({ "type": "Scheduled", "status": "True", "lastTransitionTime": time });
    let mut group = stored(Kind::Volcano, &object, "Pending");
    group["status"]["conditions"] = json!([unschedulable("queue resource quota insufficient.")]);
    let (_, state) = decided(Kind::Volcano, &object, Some(&group), false);
    let message =
        "waits for Volcano to admit it to queue default: queue resource quota insufficient";
    assert_eq!(waits(&state), message);
    // Its pods exist, and there is no node for them.
    group["status"]["phase"] = json!("Inqueue");
    for (conditions, expect) in [
        (
            json!([unschedulable("3/4 tasks unschedulable")]),
            Some("waits for its pods to be scheduled: 3/4 tasks unschedulable"),
        ),
        (json!([unschedulable("3/4"), scheduled("2026-11-24T08:00:01Z")]), None),
        (
            json!([unschedulable("3/4"), scheduled("2026-11-24T07:00:00Z")]),
            Some("waits for its pods to be scheduled: 3/4"),
        ),
        (json!([]), None),
    ] {
        group["status"]["conditions"] = conditions;
        let (_, state) = decided(Kind::Volcano, &object, Some(&group), true);
        assert_eq!(state.waiting(), None);
        assert_eq!(state.pending().map(|waiting| waiting.message.as_str()), expect);
    }
    let message =
        "MXJob digits is created. MXJob digits waits for its pods to be scheduled: 1/4 fit.";
    let with_message = job(|job| {
        job["status"] = json!({ "conditions": [{ "type": "Created", "status": "True", "reason": "MXJobWaiting", "message": message }] });
    });
    for (message, expect) in [("3/4 fit", "1/4 fit"), ("3/4 are", "3/4 are")] {
        group["status"]["conditions"] = json!([unschedulable(message)]);
        let (_, state) = decided(Kind::Volcano, &with_message, Some(&group), true);
        let waiting = state.pending().unwrap().message.clone();
        assert_eq!(waiting, format!("waits for its pods to be scheduled: {expect}"));
    }
}

#[test]
fn a_group_is_deleted_with_its_job_or_suspension_and_recreated_on_resume() {
    let suspended = |job: &mut Value| job["spec"]["suspend"] = json!(true);
    let finished = |job: &mut Value| {
        job["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
    };
    let remove = GroupAction::Remove(Target { name: "digits".to_owned(), uid: "g1".to_owned() });
    for object in [job(suspended), job(finished)] {
        let mut group = stored(Kind::Volcano, &job(nothing), "Running");
        assert_eq!(decided(Kind::Volcano, &object, Some(&group), false).0, remove);
        group["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:00:00Z");
        assert_eq!(decided(Kind::Volcano, &object, Some(&group), false).0, GroupAction::Keep);
        assert_eq!(decided(Kind::Volcano, &object, None, false).0, GroupAction::Keep);
    }
    let deleted = job(|job| job["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:00:00Z"));
    let group = stored(Kind::Volcano, &job(nothing), "Running");
    assert_eq!(decided(Kind::Volcano, &deleted, Some(&group), false).0, GroupAction::Keep);
    let mut terminating = group;
    terminating["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:00:00Z");
    for kind in [Kind::Volcano, Kind::SchedulerPlugins] {
        let (step, state) = decided(kind, &job(nothing), Some(&terminating), false);
        assert_eq!(
            (step, waits(&state)),
            (GroupAction::Keep, "waits for its previous PodGroup to be deleted")
        );
    }
}

#[test]
fn a_group_is_changed_only_where_it_differs() {
    let object =
        job(policy(json!({ "minResources": { "cpu": "3000m" }, "priorityClass": "high" })));
    for (change, expect) in [
        (json!({}), None),
        // Equal values in another notation.
        (json!({ "minResources": { "cpu": "3" } }), None),
        (json!({ "queue": "elsewhere" }), None),
        (json!({ "queue": "" }), Some(json!({ "queue": "default" }))),
        (json!({ "theirs": 1 }), None),
        (
            json!({ "minResources": { "cpu": "4" } }),
            Some(json!({ "minResources": { "cpu": "3000m" } })),
        ),
        (
            json!({ "minResources": { "cpu": "3", "memory": "1Gi" } }),
            Some(json!({ "minResources": { "cpu": "3000m", "memory": null } })),
        ),
        (json!({ "minMember": 2 }), Some(json!({ "minMember": 4 }))),
        (json!({ "minMember": 9 }), Some(json!({ "minMember": 4 }))),
        (json!({ "priorityClassName": "low" }), Some(json!({ "priorityClassName": "high" }))),
    ] {
        let mut group = stored(Kind::Volcano, &object, "Running");
        for (field, value) in change.as_object().unwrap() {
            group["spec"][field] = value.clone();
        }
        let (step, _) = decided(Kind::Volcano, &object, Some(&group), true);
        let expect = expect.map_or(GroupAction::Keep, |spec| GroupAction::Change {
            name: "digits".to_owned(),
            patch: json!({ "metadata": { "uid": "g1" }, "spec": spec }),
        });
        assert_eq!(step, expect, "{change}");
    }
}

#[test]
fn succeeded_replicas_do_not_change_the_group_and_a_new_group_does_not_wait_for_them() {
    let done = |job: &mut Value| job["status"] = json!({ "completedIndexes": { "Worker": "0" } });
    let group = stored(Kind::Volcano, &job(nothing), "Running");
    assert_eq!(decided(Kind::Volcano, &job(done), Some(&group), true).0, GroupAction::Keep);
    let recreated = made(Kind::Volcano, &job(done));
    assert_eq!(recreated["spec"]["minMember"], 3);
    let recreated = stored(Kind::Volcano, &job(done), "Running");
    assert_eq!(decided(Kind::Volcano, &job(done), Some(&recreated), true).0, GroupAction::Keep);
}

#[test]
fn scheduler_plugins_waits_only_for_remaining_replicas() {
    let kind = Kind::SchedulerPlugins;
    let given = || policy(json!({ "minAvailable": 4, "minResources": { "cpu": "9" } }));
    for (policy, object, resources) in [
        (false, job(nothing), json!({ "cpu": "3250m", "memory": "2688Mi", "nvidia.com/gpu": "1" })),
        (true, job(given()), json!({ "cpu": "3250m", "memory": "2688Mi", "nvidia.com/gpu": "1" })),
    ] {
        let group = stored(kind, &object, "Running");
        let mut done = object.clone();
        done["status"] = json!({ "completedIndexes": { "Worker": "0" } });
        let (step, _) = decided(kind, &done, Some(&group), true);
        let GroupAction::Change { patch, .. } = step else { panic!("{step:?}") };
        let patch = &patch["spec"];
        assert_eq!(patch["minMember"], 3);
        for (name, amount) in resources.as_object().unwrap() {
            // A patch leaves out what does not change.
            let there = patch["minResources"].get(name);
            assert!(there.is_none_or(|there| there == amount), "{policy} {name} {patch}");
        }
        let less = made(kind, &done);
        assert_eq!(less["spec"]["minResources"], resources);
        // Restarted as a whole, it needs all of them.
        let less = stored(kind, &done, "Running");
        let (step, _) = decided(kind, &object, Some(&less), true);
        let GroupAction::Change { patch, .. } = step else { panic!("{step:?}") };
        assert_eq!(patch["spec"]["minMember"], 4);
    }
}

#[test]
fn no_group_is_created_or_changed_for_a_job_with_unmarked_pods() {
    for kind in [Kind::Volcano, Kind::SchedulerPlugins] {
        let (step, state) = decided_among(kind, &job(nothing), None, true, true);
        assert_eq!((step, state), (GroupAction::Keep, SchedulingState::MayStart));
        let mut group = stored(kind, &job(nothing), "Running");
        group["spec"]["minMember"] = json!(1);
        assert_eq!(
            decided_among(kind, &job(nothing), Some(&group), true, true).0,
            GroupAction::Keep
        );
    }
    let pod = |phase: &str, metadata: Value| {
        let mut pod = json!({ "metadata": { "name": "digits-worker-0", "uid": "p", "labels": {
            "training.kubeflow.org/job-name": "digits",
        } }, "status": { "phase": phase } });
        for (field, value) in metadata.as_object().unwrap() {
            if let (Some(entries), Some(more)) =
                (pod["metadata"][field].as_object_mut(), value.as_object())
            {
                entries.extend(more.clone());
            } else {
                pod["metadata"][field] = value.clone();
            }
        }
        vec![Arc::new(PodView::read(&pod).unwrap())]
    };
    let volcano = |group: &str| json!({ "annotations": { "scheduling.k8s.io/group-name": group } });
    let plugins = json!({ "labels": { "scheduling.x-k8s.io/pod-group": "digits" } });
    let gone = json!({ "deletionTimestamp": "2026-11-24T08:00:00Z" });
    for (phase, metadata, of_volcano, of_plugins) in [
        ("Running", json!({}), true, true),
        ("Pending", json!({}), true, true),
        ("Succeeded", json!({}), false, false),
        ("Running", gone, false, false),
        ("Running", volcano("digits"), false, true),
        ("Running", volcano("podgroup-7"), true, true),
        ("Running", plugins, true, false),
    ] {
        let pods = pod(phase, metadata.clone());
        let found =
            [Kind::Volcano, Kind::SchedulerPlugins].map(|kind| has_unmarked_pods(kind, &pods));
        assert_eq!(found, [of_volcano, of_plugins], "{phase} {metadata}");
    }
}

#[test]
fn a_resumed_job_does_not_start_with_its_previous_group() {
    let resumed = job(|job| {
        job["spec"]["suspend"] = json!(false);
        job["status"] = json!({ "startTime": "2026-11-24T08:00:00Z", "conditions": [{ "type": "Suspended", "status": "True" }] });
    });
    for kind in [Kind::Volcano, Kind::SchedulerPlugins] {
        let mut group = stored(kind, &job(nothing), "Running");
        let remove =
            GroupAction::Remove(Target { name: "digits".to_owned(), uid: "g1".to_owned() });
        assert_eq!(decided(kind, &resumed, Some(&group), false).0, remove);
        group["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:00:00Z");
        let (step, state) = decided(kind, &resumed, Some(&group), false);
        assert_eq!(
            (step, waits(&state)),
            (GroupAction::Keep, "waits for its previous PodGroup to be deleted")
        );
        assert!(matches!(decided(kind, &resumed, None, false).0, GroupAction::Create(_)));
    }
}
