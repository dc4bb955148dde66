//! Section 3 of the contract: which jobs are accepted, and one cause for each error.

mod derived;
mod roles;
mod shape;
mod template;

use mxjob_api::validate::validate;
use serde_json::{Value, json};

use crate::jobs::{alone, training, tuning, with};

/// Asserts that a job has exactly these errors, in their printed form.
fn check(job: &Value, violations: &[&str]) {
    let found: Vec<_> = validate(job).iter().map(ToString::to_string).collect();
    assert_eq!(found, violations, "{job:#}");
}

/// The same for a training job with this patch on its spec.
fn check_training(patch: &Value, violations: &[&str]) {
    check(&with(&training(), patch), violations);
}

#[test]
fn the_plain_jobs_are_accepted() {
    for job in [training(), alone(), tuning()] {
        check(&job, &[]);
    }
}

#[test]
fn every_policy_is_accepted_in_both_layouts() {
    let scheduling = json!({
        "minAvailable": 3, "queue": "q", "minResources": { "cpu": 2, "memory": "1Gi", "nvidia.com/gpu": "1" },
        "priorityClass": "high", "scheduleTimeoutSeconds": 60,
    });
    let policies = [
        json!({ "activeDeadlineSeconds": 1 }),
        json!({ "activeDeadlineSeconds": 9_000_000_000_i64 }),
        json!({ "backoffLimit": 0 }),
        json!({ "ttlSecondsAfterFinished": 0 }),
        json!({ "ttlSecondsAfterFinished": 10.0 }),
        json!({ "cleanPodPolicy": "All" }),
        json!({ "cleanPodPolicy": "Running" }),
        json!({ "cleanPodPolicy": "None" }),
        json!({ "suspend": true }),
        json!({ "suspend": false }),
        json!({ "schedulingPolicy": scheduling }),
    ];
    for policy in policies {
        check_training(&policy, &[]);
        check_training(&json!({ "runPolicy": policy }), &[]);
        let mut both = policy.clone();
        both["runPolicy"] = policy;
        check_training(&both, &[]);
    }
}

#[test]
fn a_field_set_in_both_layouts_must_be_equal() {
    let cases = [
        ("activeDeadlineSeconds", json!(5), json!(6)),
        ("backoffLimit", json!(5), json!(6)),
        ("cleanPodPolicy", json!("All"), json!("None")),
        ("ttlSecondsAfterFinished", json!(5), json!(6)),
        ("suspend", json!(true), json!(false)),
    ];
    for (field, flat, nested) in cases {
        check_training(&json!({ field: flat, "runPolicy": { field: flat } }), &[]);
        let violation = format!(
            "spec.runPolicy.{field}: Invalid value: {nested}: spec.{field} and spec.runPolicy.{field} are the same field and may not differ; spec.{field} is {flat}"
        );
        check_training(&json!({ field: flat, "runPolicy": { field: nested } }), &[&violation]);
    }
    check_training(&json!({ "backoffLimit": 5, "runPolicy": { "backoffLimit": 5.0 } }), &[]);
    let scheduling = |queue: &str| json!({ "queue": queue, "minAvailable": 2 });
    check_training(
        &json!({ "schedulingPolicy": scheduling("a"), "runPolicy": { "schedulingPolicy": scheduling("b") } }),
        &[
            "spec.runPolicy.schedulingPolicy.queue: Invalid value: \"b\": spec.schedulingPolicy.queue and spec.runPolicy.schedulingPolicy.queue are the same field and may not differ; spec.schedulingPolicy.queue is \"a\"",
        ],
    );
    // Different members of the policy in different places do not conflict.
    check_training(
        &json!({ "schedulingPolicy": { "queue": "a" }, "runPolicy": { "schedulingPolicy": { "minAvailable": 1 } } }),
        &[],
    );
}

#[test]
fn all_errors_are_reported_together() {
    check_training(
        &json!({
            "jobMode": "x", "backoffLimit": -1, "cleanPodPolicy": "x",
            "mxReplicaSpecs": { "Scheduler": { "replicas": 2 }, "Worker": { "restartPolicy": "x", "template": null } },
        }),
        &[
            "spec.backoffLimit: Invalid value: -1: spec.backoffLimit in body should be greater than or equal to 0",
            "spec.cleanPodPolicy: Unsupported value: \"x\": supported values: \"All\", \"Running\", \"None\"",
            "spec.jobMode: Unsupported value: \"x\": supported values: \"MXTrain\", \"MXTune\"",
            "spec.mxReplicaSpecs.Worker.template: Required value",
            "spec.mxReplicaSpecs.Worker.restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnFailure\", \"Never\", \"ExitCode\"",
            "spec.mxReplicaSpecs.Scheduler.replicas: Invalid value: 2: a job has at most one Scheduler",
        ],
    );
}
