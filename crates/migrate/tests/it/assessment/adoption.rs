//! The patches, applied to pods and services as each operator created them.

use mxjob_api::{Job, Role, labels, names, pods};
use mxjob_machinery::patch::merge_patch;
use mxjob_migrate::Operator::{MxnetOperator1_0, MxnetOperator1_1, TrainingOperator1_8};
use mxjob_migrate::Weight::{Change, Danger, Note};
use mxjob_migrate::{Assessment, Children, Operator, Patch, Target, assess};
use serde_json::{Value, json};

use super::{NOW, check, running, status, stored};

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
fn labels_of(operator: Operator, role: Role, index: u32) -> Value {
    let (role, index) = (role.lower(), index.to_string());
    match operator {
        MxnetOperator1_0 => {
            json!({ "group-name": "kubeflow.org", "mxnet-job-name": "digits", "mxnet-replica-type": role, "mxnet-replica-index": index })
        }
        MxnetOperator1_1 => {
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

fn pods_and_services(operator: Operator) -> (Vec<Value>, Vec<Value>) {
    let ports = match operator {
        MxnetOperator1_0 => {
            json!([{ "name": "mxjob-port", "port": 9091, "targetPort": 9091, "protocol": "TCP" }])
        }
        MxnetOperator1_1 => Value::Null,
        _ => json!([{ "name": "metrics", "port": 8000 }, { "name": "mxjob-port", "port": 9091 }]),
    };
    REPLICAS
        .map(|(role, index)| {
            let (name, labels) =
                (names::pod_name("digits", role, index), labels_of(operator, role, index));
            let spec = json!({ "clusterIP": "None", "selector": labels, "ports": ports });
            (pod(&name, &labels), service(&name, &labels, &spec))
        })
        .into_iter()
        .unzip()
}

fn read(job: &Value, pods: &[Value], services: &[Value]) -> Assessment {
    assess(job, Some(&Children { pods, services }), NOW.parse().unwrap())
}

/// The object with its patch applied.
fn patched(assessment: &Assessment, target: Target, object: &Value) -> Value {
    let patch = assessment
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
fn adopted_pods_and_services_match_those_of_mxjob() {
    for operator in [MxnetOperator1_0, MxnetOperator1_1, TrainingOperator1_8] {
        let stored = running(operator, &json!({}));
        let job = Job::from_value(&stored).unwrap();
        let (pods, services) = pods_and_services(operator);
        let assessment = read(&stored, &pods, &services);
        assert_eq!(assessment.operator, operator);
        for ((role, index), (pod, service)) in REPLICAS.into_iter().zip(pods.iter().zip(&services))
        {
            let new_pod = patched(&assessment, Target::Pod, pod);
            let new_service = patched(&assessment, Target::Service, service);
            for (label, value) in labels::for_replica(&job, role, index) {
                assert_eq!(
                    (
                        &new_pod["metadata"]["labels"][&label],
                        &new_service["metadata"]["labels"][&label]
                    ),
                    (&json!(value), &json!(value))
                );
            }
            // Labels of the old operator stay, and nothing but labels of a pod changes.
            for (label, value) in pod["metadata"]["labels"].as_object().unwrap() {
                assert_eq!(new_pod["metadata"]["labels"][label], *value);
            }
            assert_eq!((&new_pod["spec"], &new_pod["status"]), (&pod["spec"], &pod["status"]));
            let ours = pods::service(&job, role, index).unwrap();
            for field in ["selector", "publishNotReadyAddresses", "clusterIP"] {
                assert_eq!(new_service["spec"][field], ours["spec"][field], "{operator:?} {field}");
            }
            let ports = new_service["spec"]["ports"].as_array().unwrap();
            assert_eq!(ports.iter().filter(|port| port["name"] == "mxjob-port").count(), 1);
            if operator == TrainingOperator1_8 {
                assert_eq!(ports.len(), 2);
            }
        }
        // A service must not select labels that its pod does not have yet.
        let rank = |patch: &Patch| {
            [Target::Pod, Target::Service, Target::JobStatus]
                .iter()
                .position(|target| *target == patch.target)
        };
        assert!(assessment.patches.iter().is_sorted_by_key(rank));
        check(&assessment, Note, "4 pods and 4 services");
        // After the adoption nothing is left to patch.
        let pods: Vec<_> = pods.iter().map(|pod| patched(&assessment, Target::Pod, pod)).collect();
        let services: Vec<_> =
            services.iter().map(|service| patched(&assessment, Target::Service, service)).collect();
        let again = read(&stored, &pods, &services);
        assert!(
            again.patches.iter().all(|patch| patch.target == Target::JobStatus),
            "{:?}",
            again.patches
        );
    }
}

#[test]
fn terminating_and_uncontrolled_pods_are_not_adopted() {
    let stored = running(MxnetOperator1_1, &json!({}));
    let labels = labels_of(MxnetOperator1_1, Role::Worker, 0);
    let mut leaving = pod("digits-worker-0", &labels);
    leaving["metadata"]["deletionTimestamp"] = json!(NOW);
    let mut uncontrolled = pod("digits-worker-1", &labels);
    uncontrolled["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let spare = pod("digits-worker-01", &labels);
    let beyond = pod("digits-worker-2", &labels);
    let assessment = read(&stored, &[leaving, uncontrolled, spare, beyond], &[]);
    assert!(
        assessment.patches.iter().all(|patch| patch.target == Target::JobStatus),
        "{:?}",
        assessment.patches
    );
    check(&assessment, Danger, "the names of its replicas and block them: digits-worker-1.");
    check(&assessment, Note, "left alone: digits-worker-01, digits-worker-2.");
    check(
        &assessment,
        Danger,
        "the whole job is restarted: digits-scheduler-0, digits-server-0, digits-worker-1.",
    );
}

#[test]
fn status_gets_missing_counts_and_completion_time() {
    for (operator, lacks) in
        [(MxnetOperator1_0, "replicaStatuses"), (TrainingOperator1_8, "mxReplicaStatuses")]
    {
        let mut status = status(operator, "Failed");
        if operator == TrainingOperator1_8 {
            status["replicaStatuses"]["Worker"] =
                json!({ "active": 2, "labelSelector": { "matchLabels": {} }, "selector": "a=b" });
        }
        let stored = stored(&json!({}), &status);
        let assessment = assess(&stored, None, NOW.parse().unwrap());
        let [patch] = &assessment.patches[..] else { panic!("{:?}", assessment.patches) };
        assert_eq!((patch.target, patch.target.resource().3), (Target::JobStatus, Some("status")));
        let new = merge_patch(&stored, &patch.body);
        assert_eq!(new["status"][lacks]["Worker"], json!({ "active": 2 }));
        assert_eq!(new["status"]["completionTime"], "2026-11-24T07:00:00Z");
        assert_eq!(mxjob_api::admission::update_status(&stored, &new).to_string(), "[]");
        let (before, after) = (Job::from_value(&stored).unwrap(), Job::from_value(&new).unwrap());
        assert_eq!(before.status.replicas, after.status.replicas);
        let again = assess(&new, None, NOW.parse().unwrap());
        assert_eq!(again.patches, []);
    }
}

#[test]
fn remaining_pods_of_a_finished_job_are_reported() {
    let finished = |policy: &str| {
        let spec = if policy.is_empty() {
            json!({})
        } else {
            json!({ "runPolicy": { "cleanPodPolicy": policy } })
        };
        let (mut pods, services) = pods_and_services(TrainingOperator1_8);
        pods[2]["status"]["phase"] = json!("Succeeded");
        read(&stored(&spec, &status(TrainingOperator1_8, "Succeeded")), &pods, &services)
    };
    check(&finished(""), Danger, "3 remaining pods of the finished job are deleted");
    check(&finished("All"), Danger, "4 remaining pods");
    super::check_silent(&finished("None"), "remaining pods");
}

#[test]
fn earlier_container_restarts_count_towards_the_backoff_limit() {
    let alone =
        json!({ "backoffLimit": 1, "mxReplicaSpecs": { "Scheduler": null, "Server": null } });
    let worker = |restarts: u32| {
        let mut pod = pod("digits-worker-0", &labels_of(MxnetOperator1_1, Role::Worker, 0));
        pod["status"]["containerStatuses"] = json!([{ "name": "mxnet", "restartCount": restarts }]);
        read(&running(MxnetOperator1_1, &alone), &[pod], &[])
    };
    check(&worker(1), Change, "in all roles (so far 1); one more");
    check(&worker(2), Danger, "restarted 2 times, which exceeds its backoffLimit of 1");
}

#[test]
fn pod_group_is_reported() {
    let mut pod = pod("digits-worker-0", &labels_of(TrainingOperator1_8, Role::Worker, 0));
    pod["metadata"]["annotations"] = json!({ "scheduling.k8s.io/group-name": "digits" });
    check(&read(&running(TrainingOperator1_8, &json!({})), &[pod], &[]), Note, "--gang-scheduler");
}

#[test]
fn pods_adopted_after_a_restart_get_the_current_attempt() {
    let annotation = |status: &Value, pod: &Value| {
        let assessment = read(&stored(&json!({}), status), std::slice::from_ref(pod), &[]);
        patched(&assessment, Target::Pod, pod)["metadata"]["annotations"]
            .get(labels::ATTEMPT_ANNOTATION)
            .cloned()
    };
    let old = pod("digits-worker-0", &labels_of(TrainingOperator1_8, Role::Worker, 0));
    let running = status(TrainingOperator1_8, "Running");
    assert_eq!(annotation(&running, &old), None);
    let mut restarted = status(Operator::Mxjob, "Restarting");
    restarted["restartState"] = json!({ "attempt": 2 });
    assert_eq!(annotation(&restarted, &old), Some(json!("2")));
    // A template that was copied from a pod of ours.
    let copied = merge_patch(
        &old,
        &json!({ "metadata": { "annotations": { "kubeflow.org/attempt": "7" } } }),
    );
    assert_eq!(annotation(&running, &copied), None);
    assert_eq!(annotation(&restarted, &copied), Some(json!("2")));
    // A pod that the controller created already has its attempt.
    let job = stored(&json!({}), &restarted);
    let ours = labels::for_replica(&Job::from_value(&job).unwrap(), Role::Worker, 0);
    assert_eq!(annotation(&restarted, &pod("digits-worker-0", &json!(ours))), None);
}

#[test]
fn restart_and_failure_before_adoption_are_reported() {
    let (pods, services) = pods_and_services(TrainingOperator1_8);
    let mut restarted = status(Operator::Mxjob, "Restarting");
    restarted["restartState"] = json!({ "attempt": 1 });
    let assessment = read(&stored(&json!({}), &restarted), &pods, &services);
    assert_eq!(assessment.operator, TrainingOperator1_8);
    check(
        &assessment,
        Danger,
        "mxjob has already restarted the job (attempt 1), before its 4 pods were adopted",
    );
    let mut failed = stored(&json!({}), &status(Operator::Mxjob, "Failed"));
    super::check_silent(&read(&failed, &pods, &services), "mxjob has already");
    failed["metadata"]["managedFields"] =
        json!([{ "manager": "mxjob-controller", "operation": "Update", "subresource": "status" }]);
    check(&read(&failed, &pods, &services), Danger, "mxjob has already failed the job");
    super::check_silent(&read(&failed, &[], &[]), "mxjob has already");
}

#[test]
fn complete_status_does_not_hide_unadopted_pods() {
    let job = running(Operator::Mxjob, &json!({}));
    for operator in [MxnetOperator1_0, MxnetOperator1_1, TrainingOperator1_8] {
        let (mut pods, _) = pods_and_services(operator);
        assert_eq!(read(&job, &pods, &[]).operator, operator);
        for pod in &mut pods {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
        }
        assert_eq!(read(&job, &pods, &[]).operator, Operator::Mxjob);
    }
}
