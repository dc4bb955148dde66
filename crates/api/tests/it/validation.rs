//! Section 3 of the contract: which jobs are accepted, and one cause for each fault.

use crate::jobs::{alone, replica, training, tuning, with};
use mxjob_api::validate::{validate, validate_status};
use serde_json::{Value, json};

/// Holds that a job has exactly these faults, printed as errors are.
fn check(job: &Value, faults: &[&str]) {
    let found: Vec<_> = validate(job).iter().map(ToString::to_string).collect();
    assert_eq!(found, faults, "{job:#}");
}

/// The same for a training job with this patch on its spec.
fn check_training(patch: &Value, faults: &[&str]) {
    check(&with(&training(), patch), faults);
}

/// The path of the worker's replicas.
const WORKER: &str = "spec.mxReplicaSpecs.Worker";

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
            // The Go operators took the empty string for `All`, against every default that was ever documented.
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
    for (patch, fault) in cases {
        check_training(&patch, &[fault]);
    }
}

#[test]
fn a_number_below_its_bound_is_invalid() {
    for (field, least) in
        [("activeDeadlineSeconds", 1), ("backoffLimit", 0), ("ttlSecondsAfterFinished", 0)]
    {
        for number in [least - 1, -100] {
            for (nested, path) in
                [(false, format!("spec.{field}")), (true, format!("spec.runPolicy.{field}"))]
            {
                let policy = json!({ field: number });
                let patch = if nested { json!({ "runPolicy": policy }) } else { policy };
                let fault = format!(
                    "{path}: Invalid value: {number}: {path} in body should be greater than or equal to {least}"
                );
                check_training(&patch, &[&fault]);
            }
        }
    }
    let path = format!("{WORKER}.replicas");
    let fault =
        format!("{path}: Invalid value: -1: {path} in body should be greater than or equal to 0");
    check_training(&json!({ "mxReplicaSpecs": { "Worker": { "replicas": -1 } } }), &[&fault]);
    for field in ["minAvailable", "scheduleTimeoutSeconds"] {
        let path = format!("spec.schedulingPolicy.{field}");
        let fault = format!(
            "{path}: Invalid value: -1: {path} in body should be greater than or equal to 0"
        );
        check_training(&json!({ "schedulingPolicy": { field: -1 } }), &[&fault]);
    }
}

#[test]
fn a_number_that_does_not_fit_its_type_is_invalid() {
    let path = "spec.backoffLimit";
    let fault = format!(
        "{path}: Invalid value: 2147483648: Checked value must be of type integer with format int32 in {path}"
    );
    check_training(&json!({ "backoffLimit": 2_147_483_648_i64 }), &[&fault]);
    check_training(&json!({ "backoffLimit": i32::MAX }), &[]);
    let path = "spec.activeDeadlineSeconds";
    let fault = format!(
        "{path}: Invalid value: \"integer\": {path} in body must be of type integer: \"integer\""
    );
    check_training(&json!({ "activeDeadlineSeconds": u64::MAX }), &[&fault]);
}

#[test]
fn a_value_of_the_wrong_type_is_named_as_upstream_names_it() {
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
        let fault = format!(
            "{path}: Invalid value: {found:?}: {path} in body must be of type {wanted}: {found:?}"
        );
        let job = with(&training(), &patch);
        check(&job, &[&fault]);
        assert_eq!(validate(&job)[0].cause().reason, "FieldValueTypeInvalid");
    }
}

#[test]
fn the_spec_itself_must_be_there_and_an_object() {
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
fn a_field_given_twice_must_be_the_same_in_both_layouts() {
    let cases = [
        ("activeDeadlineSeconds", json!(5), json!(6)),
        ("backoffLimit", json!(5), json!(6)),
        ("cleanPodPolicy", json!("All"), json!("None")),
        ("ttlSecondsAfterFinished", json!(5), json!(6)),
        ("suspend", json!(true), json!(false)),
    ];
    for (field, flat, nested) in cases {
        check_training(&json!({ field: flat, "runPolicy": { field: flat } }), &[]);
        let fault = format!(
            "spec.runPolicy.{field}: Invalid value: {nested}: spec.{field} and spec.runPolicy.{field} are the same field and may not differ; spec.{field} is {flat}"
        );
        check_training(&json!({ field: flat, "runPolicy": { field: nested } }), &[&fault]);
    }
    check_training(&json!({ "backoffLimit": 5, "runPolicy": { "backoffLimit": 5.0 } }), &[]);
    let scheduling = |queue: &str| json!({ "queue": queue, "minAvailable": 2 });
    check_training(
        &json!({ "schedulingPolicy": scheduling("a"), "runPolicy": { "schedulingPolicy": scheduling("b") } }),
        &[
            "spec.runPolicy.schedulingPolicy.queue: Invalid value: \"b\": spec.schedulingPolicy.queue and spec.runPolicy.schedulingPolicy.queue are the same field and may not differ; spec.schedulingPolicy.queue is \"a\"",
        ],
    );
    // Different members of the policy in different places do not clash.
    check_training(
        &json!({ "schedulingPolicy": { "queue": "a" }, "runPolicy": { "schedulingPolicy": { "minAvailable": 1 } } }),
        &[],
    );
}

#[test]
fn a_gang_may_not_be_larger_than_the_job() {
    check_training(&json!({ "schedulingPolicy": { "minAvailable": 3 } }), &[]);
    let fault = |path: &str| {
        format!(
            "{path}.minAvailable: Invalid value: 4: must be at most the number of replicas of the job, 3"
        )
    };
    check_training(
        &json!({ "schedulingPolicy": { "minAvailable": 4 } }),
        &[&fault("spec.schedulingPolicy")],
    );
    check_training(
        &json!({ "runPolicy": { "schedulingPolicy": { "minAvailable": 4 } } }),
        &[&fault("spec.runPolicy.schedulingPolicy")],
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
    // A misspelt role is one fault; that the job has no workers follows from it.
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
    // Where the mode is unknown any role may be meant.
    check(
        &with(&tuning(), &json!({ "jobMode": "Tune" })),
        &["spec.jobMode: Unsupported value: \"Tune\": supported values: \"MXTrain\", \"MXTune\""],
    );
}

#[test]
fn roles_that_are_one_of_a_kind_have_one_replica() {
    for (job, role) in [(training(), "Scheduler"), (tuning(), "TunerTracker"), (tuning(), "Tuner")]
    {
        check(&with(&job, &json!({ "mxReplicaSpecs": { role: { "replicas": 1 } } })), &[]);
        let fault = format!(
            "spec.mxReplicaSpecs.{role}.replicas: Invalid value: 2: a job has at most one {role}"
        );
        check(&with(&job, &json!({ "mxReplicaSpecs": { role: { "replicas": 2 } } })), &[&fault]);
    }
    check(
        &with(&tuning(), &json!({ "mxReplicaSpecs": { "TunerServer": { "replicas": 4 } } })),
        &[],
    );
}

#[test]
fn a_training_job_needs_workers_and_a_whole_rendezvous_or_none() {
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
    for (roles, fault) in cases {
        check_training(
            &json!({ "mxReplicaSpecs": roles }),
            &[&format!("spec.mxReplicaSpecs.{fault}")],
        );
    }
    check_training(&json!({ "mxReplicaSpecs": { "Scheduler": null, "Server": null } }), &[]);
    check_training(
        &json!({ "mxReplicaSpecs": { "Scheduler": { "replicas": 0 }, "Server": { "replicas": 0 } } }),
        &[],
    );
    check(&with(&alone(), &json!({ "mxReplicaSpecs": { "Worker": { "replicas": 8 } } })), &[]);
    check(
        &with(&alone(), &json!({ "mxReplicaSpecs": { "Worker": null } })),
        &["spec.mxReplicaSpecs.Worker: Required value: a training job needs workers"],
    );
}

#[test]
fn a_tuning_job_needs_all_its_roles() {
    for role in ["TunerTracker", "TunerServer", "Tuner"] {
        let why = "a tuning job needs a tracker, servers and a tuner";
        let fault = format!("spec.mxReplicaSpecs.{role}: Required value: {why}");
        check(&with(&tuning(), &json!({ "mxReplicaSpecs": { role: null } })), &[&fault]);
        let fault = format!(
            "spec.mxReplicaSpecs.{role}.replicas: Invalid value: 0: must be at least 1: {why}"
        );
        check(
            &with(&tuning(), &json!({ "mxReplicaSpecs": { role: { "replicas": 0 } } })),
            &[&fault],
        );
    }
}

/// A worker with this pod spec.
fn worker(spec: &Value) -> Value {
    json!({ "mxReplicaSpecs": { "Worker": { "template": { "spec": spec } } } })
}

#[test]
fn a_template_needs_the_training_container_and_every_container_an_image() {
    let spec = "spec.mxReplicaSpecs.Worker.template.spec";
    let cases = [
        (json!(null), vec![format!("{spec}: Required value")]),
        (json!({ "containers": null }), vec![format!("{spec}.containers: Required value")]),
        (json!({ "containers": [] }), vec![format!("{spec}.containers: Required value")]),
        (
            json!({ "containers": [{ "name": "main", "image": "i" }] }),
            vec![format!(
                "{spec}.containers: Required value: one container must be named \"mxnet\""
            )],
        ),
        (
            json!({ "containers": [{ "name": "mxnet" }] }),
            vec![format!("{spec}.containers[0].image: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "" }] }),
            vec![format!("{spec}.containers[0].image: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "name": "side" }] }),
            vec![format!("{spec}.containers[1].image: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "image": "i" }] }),
            vec![format!("{spec}.containers[1].name: Required value")],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i" }, { "name": "mxnet", "image": "i" }] }),
            vec![format!("{spec}.containers[1].name: Duplicate value: \"mxnet\"")],
        ),
        (
            json!({ "initContainers": [{ "name": "setup" }] }),
            vec![format!("{spec}.initContainers[0].image: Required value")],
        ),
        (
            json!({ "containers": [null, { "name": "mxnet", "image": "i" }] }),
            vec![format!(
                "{spec}.containers[0]: Invalid value: \"null\": {spec}.containers[0] in body must be of type object: \"null\""
            )],
        ),
        (
            json!({ "containers": [{ "name": "mxnet", "image": "i", "ports": [{ "name": "mxjob-port", "containerPort": 70000 }] }] }),
            vec![format!(
                "{spec}.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
            )],
        ),
        // Each fault on its own, all at once.
        (
            json!({ "containers": [{ "name": "main" }, { "name": "side", "image": "" }] }),
            vec![
                format!("{spec}.containers[0].image: Required value"),
                format!("{spec}.containers[1].image: Required value"),
                format!("{spec}.containers: Required value: one container must be named \"mxnet\""),
            ],
        ),
    ];
    for (patch, faults) in cases {
        check_training(&worker(&patch), &faults.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_labels_of_a_template_must_be_labels() {
    let labels = |labels: Value| json!({ "mxReplicaSpecs": { "Worker": { "template": { "metadata": { "labels": labels } } } } });
    check_training(&labels(json!({ "team": "vision", "example.com/team": "", "x": null })), &[]);
    let faults = validate(&with(&training(), &labels(json!({ "team": "a b" }))));
    assert_eq!(faults.len(), 1, "{faults}");
    assert_eq!(faults[0].path.as_str(), "spec.mxReplicaSpecs.Worker.template.metadata.labels");
}

#[test]
fn a_quantity_must_be_one() {
    let limit = |value: Value| {
        worker(
            &json!({ "containers": [{ "name": "mxnet", "image": "i", "resources": { "limits": { "cpu": value } } }] }),
        )
    };
    for good in [
        json!("1"),
        json!("1000m"),
        json!("2Gi"),
        json!("1e3"),
        json!("1E-2"),
        json!(".5"),
        json!("5."),
        json!("+1k"),
        json!("0"),
        json!("-0"),
        json!(2),
        json!(2.5),
        json!(0),
    ] {
        check_training(&limit(good), &[]);
    }
    let path = "spec.mxReplicaSpecs.Worker.template.spec.containers[0].resources.limits.cpu";
    for bad in ["", "one", "1Q", "1.2.3", "1 Gi", "Gi", "1gi", ".", "--1", "1e", "1ii", "1mi"] {
        let fault = format!(
            "{path}: Invalid value: {bad:?}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
        check_training(&limit(json!(bad)), &[&fault]);
    }
    for (bad, shown) in [(json!("-1"), "\"-1\""), (json!(-1), "-1")] {
        check_training(
            &limit(bad),
            &[&format!("{path}: Invalid value: {shown}: must be greater than or equal to 0")],
        );
    }
    check_training(
        &json!({ "schedulingPolicy": { "minResources": { "nvidia.com/gpu": "lots" } } }),
        &[
            "spec.schedulingPolicy.minResources[nvidia.com/gpu]: Invalid value: \"lots\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ],
    );
}

#[test]
fn the_longest_derived_name_must_be_a_dns_label() {
    let named = |job: Value, name: &str| {
        let mut job = job;
        job["metadata"]["name"] = name.into();
        job
    };
    // `-scheduler-0` has 12 characters, `-worker-0` 9, `-tunertracker-0` 15.
    for (job, longest) in [(training(), 51), (alone(), 54), (tuning(), 48)] {
        check(&named(job.clone(), &"a".repeat(longest)), &[]);
        let name = "a".repeat(longest + 1);
        let faults = validate(&named(job, &name));
        assert_eq!(faults.len(), 1, "{faults}");
        assert_eq!(
            (faults[0].path.as_str(), faults[0].cause().reason.as_str()),
            ("metadata.name", "FieldValueInvalid")
        );
        assert!(
            faults[0].detail.contains("its longest pod name") && faults[0].detail.contains("63"),
            "{faults}"
        );
    }
    let many = with(&alone(), &json!({ "mxReplicaSpecs": { "Worker": { "replicas": 11 } } }));
    check(&named(many.clone(), &"a".repeat(53)), &[]);
    assert_eq!(validate(&named(many, &"a".repeat(54))).len(), 1);
    for name in ["1st", "a.b"] {
        let faults = validate(&named(training(), name));
        assert_eq!(faults.len(), 1, "{faults}");
        assert!(faults[0].detail.contains("DNS-1035"), "{faults}");
    }
    // A name that is no name at all is for the rules of metadata to report.
    check(&named(training(), "Not A Name"), &[]);
}

#[test]
fn the_configuration_must_fit_into_one_variable() {
    let workers = |count: i64| {
        with(&alone(), &json!({ "mxReplicaSpecs": { "Worker": { "replicas": count } } }))
    };
    check(&workers(2500), &[]);
    for count in [4000, i64::from(i32::MAX)] {
        let job = workers(count);
        let faults = validate(&job);
        assert_eq!(faults.len(), 1, "{faults}");
        assert_eq!(
            (faults[0].path.as_str(), faults[0].cause().reason.as_str()),
            ("spec.mxReplicaSpecs", "FieldValueTooLong")
        );
        assert!(faults[0].detail.contains("MX_CONFIG"), "{faults}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
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

#[test]
fn a_status_is_checked_for_its_shape() {
    let faults = |status: Value| validate_status(&json!({ "status": status })).to_string();
    assert_eq!(faults(json!(null)), "[]");
    assert_eq!(faults(json!({ "conditions": [{ "type": "Mine", "status": "True" }] })), "[]");
    assert_eq!(
        faults(json!({ "conditions": "x" })),
        "status.conditions: Invalid value: \"string\": status.conditions in body must be of type array: \"string\""
    );
    assert_eq!(
        faults(json!({ "conditions": [{ "type": "Mine" }] })),
        "status.conditions[0].status: Required value"
    );
    assert_eq!(
        faults(json!({ "startTime": "yesterday" })),
        "status.startTime: Invalid value: \"yesterday\": status.startTime in body must be of type datetime: \"yesterday\""
    );
    assert_eq!(
        faults(json!({ "mxReplicaStatuses": { "Worker": { "active": -1 } } })),
        "status.mxReplicaStatuses.Worker.active: Invalid value: -1: status.mxReplicaStatuses.Worker.active in body should be greater than or equal to 0"
    );
}
