//! Types, enums, limits and null, as in the schema.

use mxjob_api::validate::{validate, validate_status};
use serde_json::{Value, json};

use super::{check, check_training};
use crate::jobs::{patch_at, training, with, worker_patch};

#[test]
fn every_enum_value_is_accepted() {
    for policy in ["Always", "OnFailure", "Never", "ExitCode"] {
        check_training(&worker_patch(&json!({ "restartPolicy": policy })), &[]);
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
    for (path, value, supported) in [
        ("jobMode", "Training", r#""MXTrain", "MXTune""#),
        ("jobMode", "mxtrain", r#""MXTrain", "MXTune""#),
        ("cleanPodPolicy", "Some", r#""All", "Running", "None""#),
        // The Go operators read the empty string as `All`, contrary to every documented default.
        ("cleanPodPolicy", "", r#""All", "Running", "None""#),
        ("runPolicy.cleanPodPolicy", "all", r#""All", "Running", "None""#),
        ("successPolicy", "AnyWorker", r#""", "AllWorkers""#),
        ("restartScope", "Role", r#""Replica", "Job""#),
        (
            "mxReplicaSpecs.Worker.restartPolicy",
            "Sometimes",
            r#""Always", "OnFailure", "Never", "ExitCode""#,
        ),
    ] {
        let why = format!("Unsupported value: {value:?}: supported values: {supported}");
        check_training(&patch_at(path, &value.into()), &[&format!("spec.{path}: {why}")]);
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
    check_training(&worker_patch(&json!({ "replicas": -1 })), &[&violation]);
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
    for (path, value, found, expected) in [
        ("activeDeadlineSeconds", json!("600"), "string", "integer"),
        ("activeDeadlineSeconds", json!(1.5), "number", "integer"),
        ("backoffLimit", json!(true), "boolean", "integer"),
        ("cleanPodPolicy", json!(1), "integer", "string"),
        ("suspend", json!("true"), "string", "boolean"),
        ("jobMode", json!([]), "array", "string"),
        ("runPolicy", json!("x"), "string", "object"),
        ("schedulingPolicy", json!([]), "array", "object"),
        ("schedulingPolicy.minResources", json!(1), "integer", "object"),
        ("mxReplicaSpecs", json!([]), "array", "object"),
        ("mxReplicaSpecs.Worker", json!("one"), "string", "object"),
        ("mxReplicaSpecs.Worker.replicas", json!("2"), "string", "integer"),
        ("mxReplicaSpecs.Worker.label", json!(3), "integer", "string"),
        ("mxReplicaSpecs.Worker.template", json!("x"), "string", "object"),
        ("mxReplicaSpecs.Worker.template.spec", json!(5), "integer", "object"),
        ("mxReplicaSpecs.Worker.template.spec.hostNetwork", json!("yes"), "string", "boolean"),
        ("mxReplicaSpecs.Worker.template.metadata.labels.a", json!(1), "integer", "string"),
    ] {
        let violation = format!(
            "spec.{path}: Invalid value: {found:?}: spec.{path} in body must be of type {expected}: {found:?}"
        );
        let job = with(&training(), &patch_at(path, &value));
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
