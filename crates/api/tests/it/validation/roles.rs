//! Which roles a job may have, and which require each other.

use serde_json::json;

use super::{check, check_training};
use crate::jobs::{alone, replica, training, tuning, with, worker_patch};

#[test]
fn a_gang_may_not_be_larger_than_the_job() {
    check_training(&json!({ "schedulingPolicy": { "minAvailable": 3 } }), &[]);
    let violation = |path: &str| {
        format!(
            "{path}.minAvailable: Invalid value: 4: must be at most the number of replicas of the job, 3"
        )
    };
    check_training(
        &json!({ "schedulingPolicy": { "minAvailable": 4 } }),
        &[&violation("spec.schedulingPolicy")],
    );
    check_training(
        &json!({ "runPolicy": { "schedulingPolicy": { "minAvailable": 4 } } }),
        &[&violation("spec.runPolicy.schedulingPolicy")],
    );
    check_training(
        &json!({ "schedulingPolicy": { "minAvailable": 10 }, "mxReplicaSpecs": { "Worker": { "replicas": 8 } } }),
        &[],
    );
}

#[test]
fn roles_are_accepted_in_any_letter_case_but_once() {
    check_training(&json!({ "mxReplicaSpecs": { "Worker": null, "worker": replica() } }), &[]);
    check_training(&json!({ "mxReplicaSpecs": { "Worker": null, "WORKER": replica() } }), &[]);
    check_training(
        &json!({ "mxReplicaSpecs": { "worker": replica() } }),
        &["spec.mxReplicaSpecs.worker: Duplicate value: \"Worker\""],
    );
}

#[test]
fn a_role_must_belong_to_the_mode() {
    check_training(
        &json!({ "mxReplicaSpecs": { "Tuner": replica() } }),
        &[
            "spec.mxReplicaSpecs.Tuner: Unsupported value: \"Tuner\": supported values: \"Scheduler\", \"Server\", \"Worker\"",
        ],
    );
    // A misspelt role is one error; the missing workers follow from it and are not reported.
    check(
        &with(&alone(), &json!({ "mxReplicaSpecs": { "Worker": null, "Wroker": replica() } })),
        &[
            "spec.mxReplicaSpecs.Wroker: Unsupported value: \"Wroker\": supported values: \"Scheduler\", \"Server\", \"Worker\"",
        ],
    );
    check(
        &with(&tuning(), &json!({ "mxReplicaSpecs": { "Worker": replica() } })),
        &[
            "spec.mxReplicaSpecs.Worker: Unsupported value: \"Worker\": supported values: \"TunerTracker\", \"TunerServer\", \"Tuner\"",
        ],
    );
    // With an unknown mode any role may be intended.
    check(
        &with(&tuning(), &json!({ "jobMode": "Tune" })),
        &["spec.jobMode: Unsupported value: \"Tune\": supported values: \"MXTrain\", \"MXTune\""],
    );
}

#[test]
fn singleton_roles_have_one_replica() {
    for (job, role) in [(training(), "Scheduler"), (tuning(), "TunerTracker"), (tuning(), "Tuner")]
    {
        check(&with(&job, &json!({ "mxReplicaSpecs": { role: { "replicas": 1 } } })), &[]);
        let violation = format!(
            "spec.mxReplicaSpecs.{role}.replicas: Invalid value: 2: a job has at most one {role}"
        );
        check(
            &with(&job, &json!({ "mxReplicaSpecs": { role: { "replicas": 2 } } })),
            &[&violation],
        );
    }
    check(
        &with(&tuning(), &json!({ "mxReplicaSpecs": { "TunerServer": { "replicas": 4 } } })),
        &[],
    );
}

#[test]
fn a_training_job_needs_workers_and_either_scheduler_and_servers_or_neither() {
    let none = |role: &str| json!({ role: null });
    let zero = |role: &str| json!({ role: { "replicas": 0 } });
    let cases = [
        (none("Worker"), "Worker: Required value: a training job needs workers"),
        (
            zero("Worker"),
            "Worker.replicas: Invalid value: 0: must be at least 1: a training job needs workers",
        ),
        (none("Scheduler"), "Scheduler: Required value: servers need a scheduler"),
        (
            zero("Scheduler"),
            "Scheduler.replicas: Invalid value: 0: must be at least 1: servers need a scheduler",
        ),
        (none("Server"), "Server: Required value: a scheduler needs servers"),
        (
            zero("Server"),
            "Server.replicas: Invalid value: 0: must be at least 1: a scheduler needs servers",
        ),
    ];
    for (roles, violation) in cases {
        check_training(
            &json!({ "mxReplicaSpecs": roles }),
            &[&format!("spec.mxReplicaSpecs.{violation}")],
        );
    }
    check_training(&json!({ "mxReplicaSpecs": { "Scheduler": null, "Server": null } }), &[]);
    check_training(
        &json!({ "mxReplicaSpecs": { "Scheduler": { "replicas": 0 }, "Server": { "replicas": 0 } } }),
        &[],
    );
    check(&with(&alone(), &worker_patch(&json!({ "replicas": 8 }))), &[]);
    check(
        &with(&alone(), &json!({ "mxReplicaSpecs": { "Worker": null } })),
        &["spec.mxReplicaSpecs.Worker: Required value: a training job needs workers"],
    );
}

#[test]
fn a_tuning_job_needs_all_its_roles() {
    for role in ["TunerTracker", "TunerServer", "Tuner"] {
        let why = "a tuning job needs a tracker, servers and a tuner";
        let violation = format!("spec.mxReplicaSpecs.{role}: Required value: {why}");
        check(&with(&tuning(), &json!({ "mxReplicaSpecs": { role: null } })), &[&violation]);
        let violation = format!(
            "spec.mxReplicaSpecs.{role}.replicas: Invalid value: 0: must be at least 1: {why}"
        );
        check(
            &with(&tuning(), &json!({ "mxReplicaSpecs": { role: { "replicas": 0 } } })),
            &[&violation],
        );
    }
}

#[test]
fn a_job_has_at_most_ten_thousand_replicas() {
    let path = "spec.mxReplicaSpecs.Worker.replicas";
    for count in [10_001, i32::MAX] {
        let violation = format!(
            "{path}: Invalid value: {count}: {path} in body should be less than or equal to 10000"
        );
        check_training(&worker_patch(&json!({ "replicas": count })), &[&violation]);
    }
    // The training job already has one scheduler.
    let patch = json!({ "mxReplicaSpecs": { "Worker": { "replicas": 5000 }, "Server": { "replicas": 5000 } } });
    let violation =
        "spec.mxReplicaSpecs: Invalid value: 10001: a job has at most 10000 replicas in all";
    check_training(&patch, &[violation]);
}

#[test]
fn sums_of_replicas_do_not_overflow() {
    let most = json!({ "replicas": i64::MAX });
    let roles = json!({ "Worker": most, "Server": most, "WORKER": most });
    let job = with(&training(), &json!({ "mxReplicaSpecs": roles }));
    let violations = mxjob_api::validate::validate(&job);
    assert!(violations.iter().any(|violation| violation.detail.contains("int32")), "{violations}");
}

#[test]
fn a_stored_job_with_too_many_replicas_can_be_changed() {
    let stored = with(&alone(), &worker_patch(&json!({ "replicas": i32::MAX })));
    let mut changed = stored.clone();
    changed["metadata"]["labels"] = json!({ "a": "b" });
    changed["spec"]["cleanPodPolicy"] = "All".into();
    assert!(mxjob_api::admission::update(&stored, &changed).is_empty());
    changed["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = 1.into();
    assert_eq!(mxjob_api::admission::update(&stored, &changed).len(), 1);
}
