//! Limits that follow from the job's name and size.

use mxjob_api::validate::validate;
use serde_json::{Value, json};

use super::check;
use crate::jobs::{alone, training, tuning, with, worker_patch};

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
        let violations = validate(&named(job, &name));
        assert_eq!(violations.len(), 1, "{violations}");
        assert_eq!(
            (violations[0].path.as_str(), violations[0].cause().reason.as_str()),
            ("metadata.name", "FieldValueInvalid")
        );
        assert!(
            violations[0].detail.contains("its longest pod name")
                && violations[0].detail.contains("63"),
            "{violations}"
        );
    }
    let many = with(&alone(), &worker_patch(&json!({ "replicas": 11 })));
    check(&named(many.clone(), &"a".repeat(53)), &[]);
    assert_eq!(validate(&named(many, &"a".repeat(54))).len(), 1);
    for name in ["1st", "a.b"] {
        let violations = validate(&named(training(), name));
        assert_eq!(violations.len(), 1, "{violations}");
        assert!(violations[0].detail.contains("DNS-1035"), "{violations}");
    }
    // An invalid name is reported by the rules of metadata.
    check(&named(training(), "Not A Name"), &[]);
}

#[test]
fn the_configuration_must_fit_into_one_variable() {
    let workers = |count: i64| with(&alone(), &worker_patch(&json!({ "replicas": count })));
    check(&workers(2500), &[]);
    for count in [4000, 10_000] {
        let job = workers(count);
        let violations = validate(&job);
        assert_eq!(violations.len(), 1, "{violations}");
        assert_eq!(
            (violations[0].path.as_str(), violations[0].cause().reason.as_str()),
            ("spec.mxReplicaSpecs", "FieldValueTooLong")
        );
        assert!(violations[0].detail.contains("MX_CONFIG"), "{violations}");
    }
}
