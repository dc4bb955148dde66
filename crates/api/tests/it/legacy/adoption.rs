//! The patches, put on pods and services as each operator made them.

use super::{NOW, check, status, stored};
use mxjob_api::legacy::{self, Children, Era, Legacy, Patch, Target, Weight};
use mxjob_api::{Job, Role, labels, names, pods};
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

fn owned(name: &str, labels: &Value) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "training", "uid": format!("uid-of-{name}"), "labels": labels,
            "ownerReferences": [{
                "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "digits", "uid": "7d1f", "controller": true, "blockOwnerDeletion": true,
            }],
        },
    })
}

pub(super) fn pod(name: &str, labels: &Value) -> Value {
    merge_patch(
        &owned(name, labels),
        &json!({ "spec": { "containers": [] }, "status": { "phase": "Running" } }),
    )
}

fn service(name: &str, labels: &Value, spec: &Value) -> Value {
    merge_patch(&owned(name, labels), &json!({ "spec": spec }))
}

/// The labels of an operator's pods and services.
fn family(era: Era, role: Role, index: u32) -> Value {
    let (role, index) = (role.lower(), index.to_string());
    match era {
        Era::A => {
            json!({ "group-name": "kubeflow.org", "mxnet-job-name": "digits", "mxnet-replica-type": role, "mxnet-replica-index": index })
        }
        Era::B => {
            json!({ "group-name": "kubeflow.org", "job-name": "digits", "replica-type": role, "replica-index": index })
        }
        _ => json!({
            "training.kubeflow.org/operator-name": "mxjob-controller", "training.kubeflow.org/job-name": "digits",
            "training.kubeflow.org/replica-type": role, "training.kubeflow.org/replica-index": index,
        }),
    }
}

const REPLICAS: [(Role, u32); 4] =
    [(Role::Scheduler, 0), (Role::Server, 0), (Role::Worker, 0), (Role::Worker, 1)];

fn pods_and_services(era: Era) -> (Vec<Value>, Vec<Value>) {
    let ports = match era {
        Era::A => {
            json!([{ "name": "mxjob-port", "port": 9091, "targetPort": 9091, "protocol": "TCP" }])
        }
        Era::B => Value::Null,
        _ => json!([{ "name": "metrics", "port": 8000 }, { "name": "mxjob-port", "port": 9091 }]),
    };
    REPLICAS
        .map(|(role, index)| {
            let (name, labels) = (names::pod_name("digits", role, index), family(era, role, index));
            let spec = json!({ "clusterIP": "None", "selector": labels, "ports": ports });
            (pod(&name, &labels), service(&name, &labels, &spec))
        })
        .into_iter()
        .unzip()
}

fn read(job: &Value, pods: &[Value], services: &[Value]) -> Legacy {
    legacy::read(job, Some(&Children { pods, services }), NOW.parse().unwrap())
}

/// The object that a patch is for, with the patch put on it.
fn patched(legacy: &Legacy, target: Target, object: &Value) -> Value {
    let patch = legacy
        .patches
        .iter()
        .find(|patch| patch.target == target && patch.name == object["metadata"]["name"]);
    patch.map_or_else(
        || object.clone(),
        |patch| {
            assert_eq!(
                (&patch.body["metadata"]["uid"], &*patch.namespace),
                (&object["metadata"]["uid"], "training")
            );
            merge_patch(object, &patch.body)
        },
    )
}

#[test]
fn pods_and_services_of_every_operator_become_as_ours_are() {
    for era in [Era::A, Era::B, Era::CLate] {
        let stored = stored(&json!({}), &status(era, "Running"));
        let job = Job::from_value(&stored).unwrap();
        let (pods, services) = pods_and_services(era);
        let legacy = read(&stored, &pods, &services);
        assert_eq!(legacy.era, era);
        for ((role, index), (pod, service)) in REPLICAS.into_iter().zip(pods.iter().zip(&services))
        {
            let new_pod = patched(&legacy, Target::Pod, pod);
            let new_service = patched(&legacy, Target::Service, service);
            for (label, value) in labels::for_replica(&job, role, index) {
                assert_eq!(
                    (
                        &new_pod["metadata"]["labels"][&label],
                        &new_service["metadata"]["labels"][&label]
                    ),
                    (&json!(value), &json!(value))
                );
            }
            // What the old operator wrote stays, and of a pod nothing but labels is touched.
            for (label, value) in pod["metadata"]["labels"].as_object().unwrap() {
                assert_eq!(new_pod["metadata"]["labels"][label], *value);
            }
            assert_eq!((&new_pod["spec"], &new_pod["status"]), (&pod["spec"], &pod["status"]));
            let ours = pods::service(&job, role, index).unwrap();
            for field in ["selector", "publishNotReadyAddresses", "clusterIP"] {
                assert_eq!(new_service["spec"][field], ours["spec"][field], "{era:?} {field}");
            }
            let ports = new_service["spec"]["ports"].as_array().unwrap();
            assert_eq!(ports.iter().filter(|port| port["name"] == "mxjob-port").count(), 1);
            if era == Era::CLate {
                assert_eq!(ports.len(), 2);
            }
        }
        // A service must not select what its pod does not have yet.
        let rank = |patch: &Patch| {
            [Target::Pod, Target::Service, Target::JobStatus]
                .iter()
                .position(|target| *target == patch.target)
        };
        assert!(legacy.patches.iter().is_sorted_by_key(rank));
        check(&legacy, Weight::Note, "4 pods and 4 services");
        // Once it is done there is nothing left to do.
        let pods: Vec<_> = pods.iter().map(|pod| patched(&legacy, Target::Pod, pod)).collect();
        let services: Vec<_> =
            services.iter().map(|service| patched(&legacy, Target::Service, service)).collect();
        let again = read(&stored, &pods, &services);
        assert!(
            again.patches.iter().all(|patch| patch.target == Target::JobStatus),
            "{:?}",
            again.patches
        );
    }
}

#[test]
fn only_what_stays_and_what_the_job_controls_is_adopted() {
    let stored = stored(&json!({}), &status(Era::B, "Running"));
    let labels = family(Era::B, Role::Worker, 0);
    let mut leaving = pod("digits-worker-0", &labels);
    leaving["metadata"]["deletionTimestamp"] = json!(NOW);
    let mut stranger = pod("digits-worker-1", &labels);
    stranger["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let spare = pod("digits-worker-01", &labels);
    let beyond = pod("digits-worker-2", &labels);
    let legacy = read(&stored, &[leaving, stranger, spare, beyond], &[]);
    assert!(
        legacy.patches.iter().all(|patch| patch.target == Target::JobStatus),
        "{:?}",
        legacy.patches
    );
    check(&legacy, Weight::Danger, "stand in their way: digits-worker-1.");
    check(&legacy, Weight::Note, "left alone: digits-worker-01, digits-worker-2.");
    check(
        &legacy,
        Weight::Danger,
        "restarted as a whole: digits-scheduler-0, digits-server-0, digits-worker-1.",
    );
}

#[test]
fn a_status_gets_the_names_and_the_time_that_it_lacks() {
    for (era, lacks) in [(Era::A, "replicaStatuses"), (Era::CLate, "mxReplicaStatuses")] {
        let mut status = status(era, "Failed");
        if era == Era::CLate {
            status["replicaStatuses"]["Worker"] =
                json!({ "active": 2, "labelSelector": { "matchLabels": {} }, "selector": "a=b" });
        }
        let stored = stored(&json!({}), &status);
        let legacy = legacy::read(&stored, None, NOW.parse().unwrap());
        let [patch] = &legacy.patches[..] else { panic!("{:?}", legacy.patches) };
        assert_eq!((patch.target, patch.target.resource().3), (Target::JobStatus, Some("status")));
        let new = merge_patch(&stored, &patch.body);
        assert_eq!(new["status"][lacks]["Worker"], json!({ "active": 2 }));
        assert_eq!(new["status"]["completionTime"], "2026-11-24T07:00:00Z");
        assert_eq!(mxjob_api::admission::update_status(&stored, &new).to_string(), "[]");
        let (before, after) = (Job::from_value(&stored).unwrap(), Job::from_value(&new).unwrap());
        assert_eq!(before.status.replicas, after.status.replicas);
        let again = legacy::read(&new, None, NOW.parse().unwrap());
        assert_eq!(again.patches, []);
    }
}

#[test]
fn what_is_left_of_a_finished_job_is_told() {
    let finished = |policy: &str| {
        let spec = if policy.is_empty() {
            json!({})
        } else {
            json!({ "runPolicy": { "cleanPodPolicy": policy } })
        };
        let (mut pods, services) = pods_and_services(Era::CLate);
        pods[2]["status"]["phase"] = json!("Succeeded");
        read(&stored(&spec, &status(Era::CLate, "Succeeded")), &pods, &services)
    };
    check(&finished(""), Weight::Danger, "3 pods that are left of the finished job are deleted");
    check(&finished("All"), Weight::Danger, "4 pods that are left");
    super::check_silent(&finished("None"), "that are left");
}

#[test]
fn restarts_so_far_count_where_replicas_restart_alone() {
    let alone =
        json!({ "backoffLimit": 1, "mxReplicaSpecs": { "Scheduler": null, "Server": null } });
    let worker = |restarts: u32| {
        let mut pod = pod("digits-worker-0", &family(Era::B, Role::Worker, 0));
        pod["status"]["containerStatuses"] = json!([{ "name": "mxnet", "restartCount": restarts }]);
        read(&stored(&alone, &status(Era::B, "Running")), &[pod], &[])
    };
    check(&worker(1), Weight::Change, "in all roles (so far 1); the one after");
    check(&worker(2), Weight::Danger, "restarted 2 times, more often than its backoffLimit of 1");
}

#[test]
fn a_gang_is_told() {
    let mut pod = pod("digits-worker-0", &family(Era::CLate, Role::Worker, 0));
    pod["metadata"]["annotations"] = json!({ "scheduling.k8s.io/group-name": "digits" });
    check(
        &read(&stored(&json!({}), &status(Era::CLate, "Running")), &[pod], &[]),
        Weight::Note,
        "--gang-scheduler",
    );
}

#[test]
fn pods_of_a_job_that_was_restarted_without_them_belong_to_its_attempt() {
    let annotation = |status: &Value, pod: &Value| {
        let legacy = read(&stored(&json!({}), status), std::slice::from_ref(pod), &[]);
        patched(&legacy, Target::Pod, pod)["metadata"]["annotations"]
            .get(labels::ATTEMPT_ANNOTATION)
            .cloned()
    };
    let old = pod("digits-worker-0", &family(Era::CLate, Role::Worker, 0));
    let running = status(Era::CLate, "Running");
    assert_eq!(annotation(&running, &old), None);
    let mut restarted = status(Era::Current, "Restarting");
    restarted["restartState"] = json!({ "attempt": 2 });
    assert_eq!(annotation(&restarted, &old), Some(json!("2")));
    // A template that was copied from a pod of ours.
    let copied = merge_patch(
        &old,
        &json!({ "metadata": { "annotations": { "kubeflow.org/attempt": "7" } } }),
    );
    assert_eq!(annotation(&running, &copied), None);
    assert_eq!(annotation(&restarted, &copied), Some(json!("2")));
    // A pod of the controller's own says itself to which attempt it belongs.
    let job = stored(&json!({}), &restarted);
    let ours = labels::for_replica(&Job::from_value(&job).unwrap(), Role::Worker, 0);
    assert_eq!(annotation(&restarted, &pod("digits-worker-0", &json!(ours))), None);
}

#[test]
fn what_the_controller_did_without_the_pods_is_told() {
    let (pods, services) = pods_and_services(Era::CLate);
    let mut restarted = status(Era::Current, "Restarting");
    restarted["restartState"] = json!({ "attempt": 1 });
    let legacy = read(&stored(&json!({}), &restarted), &pods, &services);
    assert_eq!(legacy.era, Era::CLate);
    check(
        &legacy,
        Weight::Danger,
        "mxjob has restarted the job already (attempt 1), before its 4 pods were adopted",
    );
    let mut failed = stored(&json!({}), &status(Era::Current, "Failed"));
    super::check_silent(&read(&failed, &pods, &services), "mxjob has");
    failed["metadata"]["managedFields"] =
        json!([{ "manager": "mxjob-controller", "operation": "Update", "subresource": "status" }]);
    check(&read(&failed, &pods, &services), Weight::Danger, "mxjob has failed the job already");
    super::check_silent(&read(&failed, &[], &[]), "mxjob has");
}

#[test]
fn a_status_that_is_complete_does_not_hide_pods_that_are_not_adopted() {
    let job = stored(&json!({}), &status(Era::Current, "Running"));
    for era in [Era::A, Era::B, Era::CLate] {
        let (mut pods, _) = pods_and_services(era);
        assert_eq!(read(&job, &pods, &[]).era, era);
        for pod in &mut pods {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
        }
        assert_eq!(read(&job, &pods, &[]).era, Era::Current);
    }
}
