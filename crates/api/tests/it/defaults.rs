//! Section 3 of the contract: the effective defaults, and both layouts read as one.

use mxjob_api::{
    CleanPodPolicy, Job, JobMode, RestartPolicy, RestartScope, Role, SuccessPolicy, job::Error,
};
use serde_json::json;

use crate::jobs::{alone, read, training, tuning, with, worker_patch};

#[test]
fn a_minimal_job_has_the_defaults() {
    let job = read(&training());
    assert_eq!(job.mode, JobMode::MXTrain);
    assert_eq!(
        (job.active_deadline_seconds, job.backoff_limit, job.ttl_seconds_after_finished),
        (None, None, None)
    );
    assert_eq!(job.clean_pod_policy, CleanPodPolicy::Running);
    assert!(!job.suspend);
    assert_eq!((job.scheduling.min_available, job.scheduling.queue.as_deref()), (3, None));
    assert_eq!(job.success_policy, SuccessPolicy::Default);
    assert_eq!(job.restart_scope, RestartScope::Job);
    for replica in &job.replicas {
        assert_eq!(
            (replica.count, replica.restart_policy, replica.port),
            (1, RestartPolicy::Never, 9091)
        );
        assert_eq!(replica.label, None);
    }
    assert_eq!(
        (job.name.as_str(), job.namespace.as_str(), job.uid.as_str(), job.generation),
        ("digits", "default", "7d1f", 1)
    );
    assert!(job.status.conditions.is_empty());
}

#[test]
fn no_default_is_written_into_the_object() {
    let object = training();
    let before = object.clone();
    read(&object);
    assert_eq!(object, before);
}

#[test]
fn a_restart_includes_the_whole_job_only_with_a_scheduler() {
    let none = json!({ "mxReplicaSpecs": { "Scheduler": { "replicas": 0 }, "Server": { "replicas": 0 } } });
    let cases = [
        (training(), RestartScope::Job),
        (alone(), RestartScope::Replica),
        (tuning(), RestartScope::Replica),
        (with(&training(), &none), RestartScope::Replica),
        (with(&training(), &json!({ "restartScope": "Replica" })), RestartScope::Replica),
        (with(&alone(), &json!({ "restartScope": "Job" })), RestartScope::Job),
    ];
    for (object, scope) in cases {
        assert_eq!(read(&object).restart_scope, scope, "{object}");
    }
}

#[test]
fn both_layouts_are_read_as_the_same_job() {
    let policies = json!({
        "activeDeadlineSeconds": 600, "backoffLimit": 2, "cleanPodPolicy": "None", "ttlSecondsAfterFinished": 60.0, "suspend": true,
        "schedulingPolicy": {
            "minAvailable": 2, "queue": "q", "minResources": { "cpu": "1" }, "priorityClass": "high", "scheduleTimeoutSeconds": 9,
        },
    });
    let flat = read(&with(&training(), &policies));
    let nested = read(&with(&training(), &json!({ "runPolicy": policies })));
    assert_eq!(flat, nested);
    assert_eq!(flat.active_deadline_seconds, Some(600));
    assert_eq!(flat.backoff_limit, Some(2));
    assert_eq!(flat.clean_pod_policy, CleanPodPolicy::None);
    assert_eq!(flat.ttl_seconds_after_finished, Some(60));
    assert!(flat.suspend);
    assert_eq!(flat.scheduling.min_available, 2);
    assert_eq!(flat.scheduling.queue.as_deref(), Some("q"));
    assert_eq!(flat.scheduling.priority_class.as_deref(), Some("high"));
    assert_eq!(flat.scheduling.schedule_timeout_seconds, Some(9));
    assert_eq!(flat.scheduling.min_resources.unwrap()["cpu"], "1");
}

#[test]
fn roles_are_case_insensitive_and_in_canonical_order() {
    let object = with(
        &training(),
        &json!({ "mxReplicaSpecs": { "Worker": null, "WORKER": { "replicas": 4, "template": {} }, "Server": null, "server": { "template": {} } } }),
    );
    let job = read(&object);
    let roles: Vec<_> = job.replicas.iter().map(|replica| (replica.role, replica.count)).collect();
    assert_eq!(roles, [(Role::Scheduler, 1), (Role::Server, 1), (Role::Worker, 4)]);
    assert_eq!((job.count(Role::Worker), job.count(Role::Tuner), job.total()), (4, 0, 6));
}

#[test]
fn the_tuner_key_is_the_label_or_the_annotation_of_the_template() {
    let annotated =
        json!({ "template": { "metadata": { "annotations": { "tuner-server-key": "2080ti" } } } });
    let cases = [
        (json!({ "label": "2080ti" }), Some("2080ti")),
        (annotated, Some("2080ti")),
        (json!({}), None),
        (json!({ "label": "" }), Some("")),
    ];
    for (patch, label) in cases {
        let job = read(&with(&tuning(), &json!({ "mxReplicaSpecs": { "TunerServer": patch } })));
        assert_eq!(job.replica(Role::TunerServer).unwrap().label.as_deref(), label);
    }
}

#[test]
fn the_port_is_that_of_the_training_container_by_name() {
    let port =
        |containers| worker_patch(&json!({ "template": { "spec": { "containers": containers } } }));
    let cases = [
        (
            json!([{ "name": "mxnet", "ports": [{ "name": "mxjob-port", "containerPort": 9991 }] }]),
            9991,
        ),
        (json!([{ "name": "mxnet", "ports": [{ "name": "web", "containerPort": 80 }] }]), 9091),
        (
            json!([{ "name": "side", "ports": [{ "name": "mxjob-port", "containerPort": 80 }] }, { "name": "mxnet" }]),
            9091,
        ),
        (
            json!([{ "name": "mxnet", "ports": [{ "containerPort": 1 }, { "name": "mxjob-port", "containerPort": 65535.0 }] }]),
            65535,
        ),
    ];
    for (containers, expected) in cases {
        let job = read(&with(&alone(), &port(containers)));
        assert_eq!(job.replica(Role::Worker).unwrap().port, expected);
    }
}

#[test]
fn an_invalid_object_is_an_error_that_names_it() {
    let read = |patch| Job::from_value(&with(&training(), &patch)).unwrap_err();
    let worker = |patch| json!({ "mxReplicaSpecs": { "Worker": patch } });
    assert!(matches!(read(json!({ "backoffLimit": "x" })), Error::Spec { .. }));
    assert!(matches!(read(json!({ "cleanPodPolicy": "x" })), Error::Spec { .. }));
    assert!(matches!(read(json!({ "backoffLimit": i64::MAX })), Error::Spec { .. }));
    assert!(matches!(
        read(worker(json!({ "replicas": -1 }))),
        Error::NegativeReplicas { replicas: -1, .. }
    ));
    assert!(matches!(
        read(json!({ "mxReplicaSpecs": { "Master": {} } })),
        Error::UnknownRole { .. }
    ));
    assert!(matches!(
        read(json!({ "mxReplicaSpecs": { "worker": {} } })),
        Error::RoleTwice { role: Role::Worker, .. }
    ));
    assert_eq!(read(json!({ "suspend": 1 })).to_string(), "reading the spec of MXJob digits");
    assert!(matches!(Job::from_value(&json!({ "metadata": {} })), Err(Error::Metadata(_))));
    assert!(matches!(Job::from_value(&json!(null)), Err(Error::Metadata(_))));
    let mut object = training();
    object["status"] = json!({ "conditions": 1 });
    assert!(matches!(Job::from_value(&object), Err(Error::Status { .. })));
}

#[test]
fn empty_values_of_older_operators_keep_their_meaning() {
    let job = with(
        &training(),
        &json!({ "jobMode": "", "cleanPodPolicy": "", "mxReplicaSpecs": { "Worker": { "restartPolicy": "" } } }),
    );
    let read_job = read(&job);
    assert_eq!((read_job.mode, read_job.clean_pod_policy), (JobMode::MXTrain, CleanPodPolicy::All));
    assert_eq!(read_job.replica(Role::Worker).unwrap().restart_policy, RestartPolicy::Never);
    let nested = with(&training(), &json!({ "runPolicy": { "cleanPodPolicy": "" } }));
    assert_eq!(read(&nested).clean_pod_policy, CleanPodPolicy::All);
    assert!(Job::from_value(&with(&training(), &json!({ "cleanPodPolicy": "Some" }))).is_err());
}
