//! Types, enums, limits and null, as in the schema.

use mxjob_api::validate::{validate, validate_status};
use serde_json::{Value, json};

use super::{check, check_training};
use crate::jobs::{training, with};

#[test]
fn every_enum_value_is_accepted() {
    for policy in ["Always", "OnFailure", "Never", "ExitCode"] {
        check_training(
            &json!({ "mxReplicaSpecs": { "Worker": { "restartPolicy": policy } } }),
            &[],
        );
    }
    for policy in ["", "AllWorkers"] {
        check_training(&json!({ "successPolicy": policy }), &[]);
    }
    for scope in ["Replica", "Job"] {
        check_training(&json!({ "restartScope": scope }), &[]);
    }
    check_training(&json!({ "jobMode": "MXTrain" }), &[]);
}

#[test]
fn any_other_enum_value_is_not_supported() {
    let cases = [
        (
            json!({ "jobMode": "Training" }),
            "spec.jobMode: Unsupported value: \"Training\": supported values: \"MXTrain\", \"MXTune\"",
        ),
        (
            json!({ "jobMode": "mxtrain" }),
            "spec.jobMode: Unsupported value: \"mxtrain\": supported values: \"MXTrain\", \"MXTune\"",
        ),
        (
            json!({ "cleanPodPolicy": "Some" }),
            "spec.cleanPodPolicy: Unsupported value: \"Some\": supported values: \"All\", \"Running\", \"None\"",
        ),
        (
            // The Go operators read the empty string as `All`, contrary to every documented
            // default.
            json!({ "cleanPodPolicy": "" }),
            "spec.cleanPodPolicy: Unsupported value: \"\": supported values: \"All\", \"Running\", \"None\"",
        ),
        (
            json!({ "runPolicy": { "cleanPodPolicy": "all" } }),
            "spec.runPolicy.cleanPodPolicy: Unsupported value: \"all\": supported values: \"All\", \"Running\", \"None\"",
        ),
        (
            json!({ "successPolicy": "AnyWorker" }),
            "spec.successPolicy: Unsupported value: \"AnyWorker\": supported values: \"\", \"AllWorkers\"",
        ),
        (
            json!({ "restartScope": "Role" }),
            "spec.restartScope: Unsupported value: \"Role\": supported values: \"Replica\", \"Job\"",
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "restartPolicy": "Sometimes" } } }),
            "spec.mxReplicaSpecs.Worker.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\", \"ExitCode\"",
        ),
    ];
    for (patch, violation) in cases {
        check_training(&patch, &[violation]);
    }
}

#[test]
fn a_number_below_its_minimum_is_invalid() {
    for (field, least) in
        [("activeDeadlineSeconds", 1), ("backoffLimit", 0), ("ttlSecondsAfterFinished", 0)]
    {
        for number in [least - 1, -100] {
            for (nested, path) in
                [(false, format!("spec.{field}")), (true, format!("spec.runPolicy.{field}"))]
            {
                let policy = json!({ field: number });
                let patch = if nested { json!({ "runPolicy": policy }) } else { policy };
                let violation = format!(
                    "{path}: Invalid value: {number}: {path} in body should be greater than or equal to {least}"
                );
                check_training(&patch, &[&violation]);
            }
        }
    }
    let path = "spec.mxReplicaSpecs.Worker.replicas";
    let violation =
        format!("{path}: Invalid value: -1: {path} in body should be greater than or equal to 0");
    check_training(&json!({ "mxReplicaSpecs": { "Worker": { "replicas": -1 } } }), &[&violation]);
    for field in ["minAvailable", "scheduleTimeoutSeconds"] {
        let path = format!("spec.schedulingPolicy.{field}");
        let violation = format!(
            "{path}: Invalid value: -1: {path} in body should be greater than or equal to 0"
        );
        check_training(&json!({ "schedulingPolicy": { field: -1 } }), &[&violation]);
    }
}

#[test]
fn a_number_that_does_not_fit_its_type_is_invalid() {
    let path = "spec.backoffLimit";
    let violation = format!(
        "{path}: Invalid value: 2147483648: Checked value must be of type integer with format int32 in {path}"
    );
    check_training(&json!({ "backoffLimit": 2_147_483_648_i64 }), &[&violation]);
    check_training(&json!({ "backoffLimit": i32::MAX }), &[]);
    let path = "spec.activeDeadlineSeconds";
    let violation = format!(
        "{path}: Invalid value: \"integer\": {path} in body must be of type integer: \"integer\""
    );
    check_training(&json!({ "activeDeadlineSeconds": u64::MAX }), &[&violation]);
}

#[test]
fn a_value_of_the_wrong_type_has_upstreams_message() {
    let template = "spec.mxReplicaSpecs.Worker.template";
    let cases = [
        (
            json!({ "activeDeadlineSeconds": "600" }),
            "spec.activeDeadlineSeconds",
            "string",
            "integer",
        ),
        (
            json!({ "activeDeadlineSeconds": 1.5 }),
            "spec.activeDeadlineSeconds",
            "number",
            "integer",
        ),
        (json!({ "backoffLimit": true }), "spec.backoffLimit", "boolean", "integer"),
        (json!({ "cleanPodPolicy": 1 }), "spec.cleanPodPolicy", "integer", "string"),
        (json!({ "suspend": "true" }), "spec.suspend", "string", "boolean"),
        (json!({ "jobMode": [] }), "spec.jobMode", "array", "string"),
        (json!({ "runPolicy": "x" }), "spec.runPolicy", "string", "object"),
        (json!({ "schedulingPolicy": [] }), "spec.schedulingPolicy", "array", "object"),
        (
            json!({ "schedulingPolicy": { "minResources": 1 } }),
            "spec.schedulingPolicy.minResources",
            "integer",
            "object",
        ),
        (json!({ "mxReplicaSpecs": [] }), "spec.mxReplicaSpecs", "array", "object"),
        (
            json!({ "mxReplicaSpecs": { "Worker": "one" } }),
            "spec.mxReplicaSpecs.Worker",
            "string",
            "object",
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "replicas": "2" } } }),
            "spec.mxReplicaSpecs.Worker.replicas",
            "string",
            "integer",
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "label": 3 } } }),
            "spec.mxReplicaSpecs.Worker.label",
            "integer",
            "string",
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "template": "x" } } }),
            template,
            "string",
            "object",
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "template": { "spec": 5 } } } }),
            "spec.mxReplicaSpecs.Worker.template.spec",
            "integer",
            "object",
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "template": { "spec": { "hostNetwork": "yes" } } } } }),
            "spec.mxReplicaSpecs.Worker.template.spec.hostNetwork",
            "string",
            "boolean",
        ),
        (
            json!({ "mxReplicaSpecs": { "Worker": { "template": { "metadata": { "labels": { "a": 1 } } } } } }),
            "spec.mxReplicaSpecs.Worker.template.metadata.labels.a",
            "integer",
            "string",
        ),
    ];
    for (patch, path, found, wanted) in cases {
        let violation = format!(
            "{path}: Invalid value: {found:?}: {path} in body must be of type {wanted}: {found:?}"
        );
        let job = with(&training(), &patch);
        check(&job, &[&violation]);
        assert_eq!(validate(&job)[0].cause().reason, "FieldValueTypeInvalid");
    }
}

#[test]
fn the_spec_is_mandatory_and_an_object() {
    let mut job = training();
    job["spec"] = Value::Null;
    check(&job, &["spec: Required value"]);
    job.as_object_mut().unwrap().remove("spec");
    check(&job, &["spec: Required value"]);
    job["spec"] = json!("x");
    check(
        &job,
        &["spec: Invalid value: \"string\": spec in body must be of type object: \"string\""],
    );
    job["spec"] = json!({});
    check(&job, &["spec.mxReplicaSpecs: Required value"]);
}

#[test]
fn null_counts_as_absent() {
    check_training(&json!({}), &[]);
    let mut job = training();
    for field in [
        "jobMode",
        "activeDeadlineSeconds",
        "cleanPodPolicy",
        "runPolicy",
        "schedulingPolicy",
        "successPolicy",
    ] {
        job["spec"][field] = Value::Null;
    }
    job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = Value::Null;
    job["spec"]["mxReplicaSpecs"]["Worker"]["restartPolicy"] = Value::Null;
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["metadata"] =
        json!({ "creationTimestamp": null });
    job["spec"]["mxReplicaSpecs"]["Tuner"] = Value::Null;
    check(&job, &[]);
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"] = Value::Null;
    check(&job, &["spec.mxReplicaSpecs.Worker.template: Required value"]);
}

#[test]
fn a_status_is_checked_for_its_shape() {
    let violations = |status: Value| validate_status(&json!({ "status": status })).to_string();
    assert_eq!(violations(json!(null)), "[]");
    assert_eq!(violations(json!({ "conditions": [{ "type": "Mine", "status": "True" }] })), "[]");
    assert_eq!(
        violations(json!({ "conditions": "x" })),
        "status.conditions: Invalid value: \"string\": status.conditions in body must be of type array: \"string\""
    );
    assert_eq!(
        violations(json!({ "conditions": [{ "type": "Mine" }] })),
        "status.conditions[0].status: Required value"
    );
    assert_eq!(
        violations(json!({ "startTime": "yesterday" })),
        "status.startTime: Invalid value: \"yesterday\": status.startTime in body must be of type datetime: \"yesterday\""
    );
    assert_eq!(
        violations(json!({ "mxReplicaStatuses": { "Worker": { "active": -1 } } })),
        "status.mxReplicaStatuses.Worker.active: Invalid value: -1: status.mxReplicaStatuses.Worker.active in body should be greater than or equal to 0"
    );
}
