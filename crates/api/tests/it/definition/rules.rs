//! The CEL rules compile, are cheap, and refuse exactly what admission refuses.

use std::cell::LazyCell;

use kube_cel::{
    CompiledSchema, ScopeContext, Validator, WarningKind, analyze_rule, compile_schema,
};
use mxjob_api::admission;
use mxjob_machinery::patch::merge_patch;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{cost, schema, shape};
use crate::jobs::{alone, patch_at, replica, training, tuning, with, worker_patch};
use crate::properties::{any_json, change, change_replaceable, fixed_pointers, job, replaceable};

thread_local! {
    static RULES: LazyCell<(Value, CompiledSchema, Validator)> = LazyCell::new(|| {
        let mut schema = schema();
        // No rule reads a template, and compiling its schema takes longer than everything else.
        schema["properties"]["spec"]["properties"]["mxReplicaSpecs"]["additionalProperties"]["properties"]["template"] =
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let compiled = compile_schema(&schema);
        (schema, compiled, Validator::new())
    });
}

/// The object as rules see it: a null field counts as absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let given = members.iter().filter(|(_, value)| !value.is_null());
            given.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        other => other.clone(),
    }
}

/// Paths and messages of the rules that refuse a create or an update; `None` if the object does not
/// match the schema.
fn refusals(new: &Value, old: Option<&Value>) -> Option<Vec<String>> {
    RULES.with(|rules| {
        let (schema, compiled, validator) = &**rules;
        if !shape::violations(schema, new).is_empty() {
            return None;
        }
        let (new, old) = (without_nulls(new), old.map(without_nulls));
        let errors = validator.validate_compiled(compiled, &new, old.as_ref()).err();
        Some(
            errors
                .into_iter()
                .flatten()
                .map(|error| {
                    assert!(!format!("{:?}", error.kind).contains("Evaluation"), "{error:?}");
                    format!("{}: {}", error.field_path, error.message)
                })
                .collect(),
        )
    })
}

/// The same for an object that matches the schema.
pub(crate) fn refused(new: &Value, old: Option<&Value>) -> Vec<String> {
    refusals(new, old).expect("the shape of a job")
}

/// A job that has started.
fn begun(job: &Value) -> Value {
    merge_patch(
        job,
        &json!({ "status": { "conditions": [{ "type": "Created", "status": "True" }] } }),
    )
}

#[track_caller]
fn check_new(job: &Value, words: &str) {
    let found = refused(job, None);
    assert!(found.iter().any(|refusal| refusal.contains(words)), "{words}: {found:?}");
    assert!(!admission::create(job).is_empty(), "{words}");
    // Not of a job that has started.
    assert_eq!(refused(&begun(job), Some(&begun(job))), Vec::<String>::new(), "{words}");
}

#[track_caller]
fn check_update(old: &Value, patch: &Value, words: &str) {
    let new = with(old, patch);
    let refusals = refused(&new, Some(old));
    if words.is_empty() {
        assert_eq!(refusals, Vec::<String>::new());
    } else {
        assert!(refusals.iter().any(|refusal| refusal.contains(words)), "{words}: {refusals:?}");
        assert!(!admission::update(old, &new).is_empty(), "{words}");
    }
}

fn each_rule(visit: &mut impl FnMut(&str, &Value, &Value)) {
    fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value, &Value)) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            visit(path, schema, rule);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(field, &format!("{path}.{name}"), visit);
        }
        for inner in ["items", "additionalProperties"] {
            if schema.get(inner).is_some() {
                walk(&schema[inner], &format!("{path}.{inner}"), visit);
            }
        }
    }
    walk(&schema(), "", visit);
}

#[test]
fn all_rules_compile_and_are_cheap() {
    let mut count = 0;
    each_rule(&mut |path, schema, rule| {
        count += 1;
        let compiled =
            compile_schema(&json!({ "type": schema["type"], "x-kubernetes-validations": [rule] }));
        assert!(!compiled.has_errors(), "{path}: {:?}", compiled.compilation_errors());
        let text = rule["rule"].as_str().unwrap();
        let warnings = analyze_rule(text, &compiled, ScopeContext::CrdValidation);
        // The library reports loop variables as undefined.
        for warning in
            warnings.iter().filter(|warning| !warning.message.starts_with("variable 'role'"))
        {
            // It knows neither the limit of a map nor that loops are over one; the next test checks
            // this.
            assert_eq!(warning.kind, WarningKind::MissingBounds, "{path}: {warning:?}");
        }
        // Constructs whose estimate multiplies by the length of a text, or that servers before 1.29
        // lack.
        for dear in [
            ".matches(",
            ".contains(",
            ".lowerAscii(",
            ".split(",
            "optional",
            ".?",
            ".map(",
            ".filter(",
            "cel.bind",
            "sets.",
        ] {
            assert!(!text.contains(dear), "{path}: {text}");
        }
    });
    assert!(count > 40, "{count}");
}

#[test]
fn loops_are_only_over_roles_which_are_limited() {
    let schema = schema();
    assert_eq!(schema["properties"]["spec"]["properties"]["mxReplicaSpecs"]["maxProperties"], 16);
    each_rule(&mut |path, _, rule| {
        let text = rule["rule"].as_str().unwrap();
        for (at, _) in text.match_indices(".all(") {
            let is_over_roles = text[..at].ends_with("self.spec.mxReplicaSpecs")
                || (path.ends_with(".mxReplicaSpecs")
                    && (text[..at].ends_with("self") || text[..at].ends_with("oldSelf")));
            assert!(is_over_roles, "{path}: {text}");
            // No nested loop.
            assert!(
                !text[at + 5..].split(" && oldSelf.all(").next().unwrap().contains(".all("),
                "{text}"
            );
        }
    });
}

#[test]
fn the_estimate_of_an_api_server_stays_far_below_its_limits() {
    let mut total = 0;
    each_rule(&mut |path, schema, rule| {
        let text = rule["rule"].as_str().unwrap();
        // Rules below the map of roles are evaluated for each role.
        let times = if path.contains("additionalProperties") { 16 } else { 1 };
        let cost = cost::of(text, schema) * times;
        assert!(cost < cost::OF_ONE * 6 / 10, "{cost} {path}: {text}");
        total += cost;
    });
    assert!(total < cost::OF_ALL / 8, "{total}");
}

#[test]
fn new_jobs_need_the_mandatory_fields() {
    let train = |patch: Value| with(&training(), &patch);
    let roles = |roles: Value| train(json!({ "mxReplicaSpecs": roles }));
    let cases = [
        (json!({ "metadata": { "name": "digits" } }), "needs spec.mxReplicaSpecs"),
        (train(json!({ "mxReplicaSpecs": null })), "needs spec.mxReplicaSpecs"),
        (train(json!({ "jobMode": "MXTalk" })), "supported values: \"MXTrain\", \"MXTune\""),
        (train(json!({ "successPolicy": "Some" })), "supported values: \"\", \"AllWorkers\""),
        (
            train(json!({ "cleanPodPolicy": "" })),
            "supported values: \"All\", \"Running\", \"None\"",
        ),
        (train(json!({ "runPolicy": { "cleanPodPolicy": "Some" } })), "\"Running\""),
        (train(json!({ "backoffLimit": -1 })), "must be at least 0"),
        (train(json!({ "runPolicy": { "activeDeadlineSeconds": 0 } })), "must be at least 1"),
        (train(json!({ "schedulingPolicy": { "minAvailable": -1 } })), "must be at least 0"),
        (
            train(json!({ "backoffLimit": 1, "runPolicy": { "backoffLimit": 2 } })),
            "are the same field",
        ),
        (
            train(
                json!({ "schedulingPolicy": { "queue": "a" }, "runPolicy": { "schedulingPolicy": { "queue": "b" } } }),
            ),
            "spec.schedulingPolicy.queue and spec.runPolicy.schedulingPolicy.queue are the same field",
        ),
        (roles(json!({ "Worker": { "template": null } })), "a role needs a template"),
        (roles(json!({ "Worker": { "replicas": -1 } })), "replicas must be at least 0"),
        (roles(json!({ "Worker": { "replicas": 10_001 } })), "at most 10000 replicas in all"),
        (roles(json!({ "Worker": { "replicas": i32::MAX } })), "at most 10000 replicas in all"),
        (roles(json!({ "worker": { "replicas": 10_001 } })), "at most 10000 replicas in all"),
        (
            roles(json!({ "Worker": { "replicas": 5000 }, "Server": { "replicas": 5000 } })),
            "at most 10000 replicas in all",
        ),
        (roles(json!({ "Worker": { "restartPolicy": "" } })), "restartPolicy must be one of"),
        (roles(json!({ "Scheduler": { "replicas": 2 } })), "at most one Scheduler"),
        (roles(json!({ "Scheduler": null })), "servers need a scheduler"),
        (roles(json!({ "Server": null })), "a scheduler needs servers"),
        (roles(json!({ "Worker": null })), "a training job needs workers"),
        (with(&tuning(), &json!({ "mxReplicaSpecs": { "Tuner": null } })), "a tuning job needs"),
        (
            with(&tuning(), &json!({ "mxReplicaSpecs": { "Tuner": { "replicas": 2 } } })),
            "at most one Tuner",
        ),
    ];
    for (job, words) in cases {
        check_new(&job, words);
    }
}

#[test]
fn rules_accept_roles_in_any_letter_case() {
    for (name, other) in [("Scheduler", "scheduler"), ("Server", "SERVER"), ("Worker", "worker")] {
        let roles = json!({ "mxReplicaSpecs": { name: null, other: replica() } });
        assert_eq!(refusals(&with(&training(), &roles), None), Some(vec![]));
    }
}

#[test]
fn fixed_fields_are_fixed() {
    let old = begun(&with(
        &training(),
        &json!({
            "jobMode": "MXTrain", "backoffLimit": 3, "schedulingPolicy": { "queue": "a", "minAvailable": 2 },
            "mxReplicaSpecs": { "Worker": { "replicas": 2, "restartPolicy": "Never", "label": "k" } },
        }),
    ));
    for (path, value, words) in [
        ("jobMode", json!(null), "spec.jobMode: only metadata.labels"),
        ("successPolicy", json!("AllWorkers"), "spec.successPolicy: only"),
        ("restartScope", json!("Job"), "spec.restartScope: only"),
        ("backoffLimit", json!(4), "spec.backoffLimit: only"),
        ("backoffLimit", json!(null), "spec.backoffLimit: only"),
        ("runPolicy.backoffLimit", json!(4), "spec.backoffLimit: only"),
        ("schedulingPolicy.queue", json!("b"), "spec.schedulingPolicy.queue: only"),
        ("schedulingPolicy.minAvailable", json!(null), "spec.schedulingPolicy.minAvailable: only"),
        ("schedulingPolicy.priorityClass", json!("p"), "spec.schedulingPolicy.priorityClass: only"),
        ("mxReplicaSpecs", json!(null), "spec.mxReplicaSpecs: only"),
        ("mxReplicaSpecs.Server", json!(null), "a role was added or removed"),
        ("mxReplicaSpecs.Server2", replica(), "a role was added or removed"),
        ("mxReplicaSpecs.Worker.replicas", json!(3), "spec.mxReplicaSpecs.Worker.replicas: only"),
        ("mxReplicaSpecs.Worker.restartPolicy", json!("Always"), "Worker.restartPolicy: only"),
        ("mxReplicaSpecs.Worker.label", json!(null), "Worker.label: only"),
    ] {
        check_update(&old, &patch_at(path, &value), words);
    }
    // A moved field is unchanged.
    check_update(&old, &json!({ "backoffLimit": null, "runPolicy": { "backoffLimit": 3 } }), "");
}

#[test]
fn replaceable_fields_can_change_and_stored_invalid_values_may_stay() {
    let wrong = json!({ "ttlSecondsAfterFinished": -1, "cleanPodPolicy": "", "runPolicy": { "activeDeadlineSeconds": 0 } });
    let old = begun(&with(&alone(), &wrong));
    for patch in [
        json!({ "suspend": true }),
        json!({ "ttlSecondsAfterFinished": 0 }),
        json!({ "ttlSecondsAfterFinished": null, "cleanPodPolicy": "All" }),
        json!({ "runPolicy": { "activeDeadlineSeconds": 1, "cleanPodPolicy": "None" } }),
    ] {
        check_update(&old, &patch, "");
    }
    check_update(&old, &json!({ "ttlSecondsAfterFinished": -2 }), "must be at least 0");
    check_update(&old, &json!({ "cleanPodPolicy": "Some" }), "supported values");
    check_update(&old, &json!({ "runPolicy": { "cleanPodPolicy": "Some" } }), "supported values");
    check_update(&old, &json!({ "activeDeadlineSeconds": 0 }), "must be at least 1");
}

#[test]
fn a_queue_may_change_the_pod_placement_of_a_suspended_job() {
    let place = worker_patch(&json!({ "template": { "spec": { "nodeSelector": { "a": "b" } } } }));
    let old = begun(&with(&alone(), &json!({ "suspend": true })));
    check_update(&old, &merge_patch(&place, &json!({ "suspend": false })), "");
}

/// A job, started or not, with one change.
fn odd_job() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        json!(""),
        json!("All"),
        json!("MXTune"),
        json!("x"),
        json!(-1),
        json!(0),
        json!(2),
        json!(9_999),
        json!(10_000),
        json!(i32::MAX),
        Value::Null,
    ]);
    let junk = prop_oneof![4 => words, 1 => any_json()];
    (job(), any::<prop::sample::Index>(), any::<bool>(), any::<bool>(), junk).prop_map(
        |(mut job, place, is_begun, is_odd, junk)| {
            if is_odd {
                let pointers = fixed_pointers(&job);
                let pointer: &String = place.get(&pointers);
                *job.pointer_mut(pointer).unwrap() = junk;
            }
            if is_begun { begun(&job) } else { job }
        },
    )
}

/// A quarter of the usual number: evaluating rules is slow without optimisation.
fn cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 4, ..usual }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_refused_of_a_new_job_is_refused_by_admission(job in odd_job()) {
        let mut job = job;
        job.as_object_mut().unwrap().remove("status");
        if let Some(refusals) = refusals(&job, None).filter(|refusals| !refusals.is_empty()) {
            prop_assert!(!admission::create(&job).is_empty(), "{refusals:?} {job}");
        }
    }

    #[test]
    fn what_is_refused_of_a_change_is_refused_by_admission(
        old in odd_job(), fields in replaceable(), is_nested: bool, place: prop::sample::Index, how: u8, is_changed: bool, ttl in -2_i64..2,
    ) {
        if refusals(&old, None).is_none() || !old["spec"].is_object() {
            return Ok(());
        }
        let mut new = change_replaceable(&old, &fields, is_nested);
        if is_changed {
            let pointers = fixed_pointers(&old);
            let pointers: Vec<_> = pointers.iter().filter(|pointer| new.pointer(pointer).is_some()).collect();
            let pointer: &&String = place.get(&pointers);
            change(&mut new, pointer, how);
        } else if new["spec"].is_object() {
            new["spec"]["ttlSecondsAfterFinished"] = ttl.into();
        }
        if let Some(refusals) = refusals(&new, Some(&old)).filter(|refusals| !refusals.is_empty()) {
            let is_new = old.get("status").is_none() && !admission::create(&new).is_empty();
            prop_assert!(is_new || !admission::update(&old, &new).is_empty(), "{refusals:?} {old} {new}");
        }
    }

    #[test]
    fn what_admission_takes_is_taken(old in job(), fields in replaceable(), is_nested: bool) {
        prop_assert_eq!(refusals(&old, None), Some(vec![]));
        let new = change_replaceable(&old, &fields, is_nested);
        prop_assert_eq!(refusals(&new, Some(&old)), Some(vec![]));
        prop_assert_eq!(refusals(&begun(&new), Some(&begun(&old))), Some(vec![]));
    }
}
