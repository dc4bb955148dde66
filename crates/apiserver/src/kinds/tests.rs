//! The rules of built-in kinds, transposed from the tables of upstream's validation tests.
//!
//! `cases.yaml` has a valid object for each kind, and changes to it (merge patches) with the errors
//! that they cause. An error is given by how it begins.

use std::sync::Arc;

use mxjob_machinery::field::Errors;
use mxjob_machinery::patch::merge_patch;
use mxjob_machinery::yaml;
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::registry;

fn cases() -> Value {
    yaml::decode(include_bytes!("tests/cases.yaml")).unwrap()
}

fn row(name: &str) -> &'static Arc<Kind> {
    let (kind, group) = name.split_once('.').unwrap_or((name, ""));
    registry::built_in().iter().find(|row| row.kind == kind && row.group == group).unwrap()
}

fn list<'a>(section: &'a Value, name: &str) -> &'a [Value] {
    section.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Compares errors with the beginnings of those that are expected.
fn compare(case: &str, errors: &Errors, expected: &[Value]) {
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let fits = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, start)| found.starts_with(start.as_str().unwrap()));
    assert!(fits, "{case}\nfound {found:#?}\nexpected {expected:#?}");
}

fn created(kind: &Kind, base: &Value, change: &Value) -> Value {
    let mut object = merge_patch(base, change);
    kind.strategy.prepare_create(&mut object);
    object
}

#[test]
fn base_objects_are_valid_and_defaults_change_nothing_twice() {
    for (name, section) in cases().as_object().unwrap() {
        let kind = row(name);
        let object = created(kind, &section["base"], &json!({}));
        compare(name, &kind.strategy.validate(&object), &[]);
        let mut again = object.clone();
        kind.strategy.prepare_update(&object, &mut again);
        assert_eq!(again, object, "{name}");
        compare(name, &kind.strategy.validate_update(&object, &again), &[]);
    }
}

#[test]
fn creates_are_refused_with_the_errors_of_upstream() {
    for (name, section) in cases().as_object().unwrap() {
        let kind = row(name);
        for case in list(section, "create") {
            let [change, expected @ ..] = case.as_array().unwrap().as_slice() else { panic!() };
            let object = created(kind, &section["base"], change);
            compare(&format!("{name} {change}"), &kind.strategy.validate(&object), expected);
        }
    }
}

#[test]
fn updates_are_refused_with_the_errors_of_upstream() {
    for (name, section) in cases().as_object().unwrap() {
        let kind = row(name);
        for case in list(section, "update") {
            let [old, change, expected @ ..] = case.as_array().unwrap().as_slice() else {
                panic!()
            };
            // A create drops the status, so the change is made once more.
            let old = merge_patch(&created(kind, &section["base"], old), old);
            let mut new = merge_patch(&old, change);
            kind.strategy.prepare_update(&old, &mut new);
            let mut errors = kind.strategy.validate_update(&old, &new);
            if errors.is_empty() {
                errors = kind.strategy.revalidate(&old, &new);
            }
            compare(&format!("{name} {old} {change}"), &errors, expected);
        }
    }
}

#[test]
fn statuses_are_refused_with_the_errors_of_upstream() {
    for (name, section) in cases().as_object().unwrap() {
        let kind = row(name);
        for case in list(section, "status") {
            let [change, expected @ ..] = case.as_array().unwrap().as_slice() else { panic!() };
            let old = created(kind, &section["base"], &json!({}));
            let new = merge_patch(&old, change);
            compare(
                &format!("{name} {change}"),
                &kind.strategy.validate_status(&old, &new),
                expected,
            );
        }
    }
}

#[test]
fn values_of_one_mebibyte_pass_and_more_do_not() {
    const MAX: usize = 1024 * 1024;
    for (name, path) in [("ConfigMap", "[]"), ("Secret", "data")] {
        let kind = row(name);
        for (bytes, fits) in [(MAX, true), (MAX + 1, false)] {
            let field = if name == "Secret" { "stringData" } else { "data" };
            let mut object = json!({ field: { "a": "x".repeat(bytes) } });
            kind.strategy.prepare_create(&mut object);
            let error = format!("{path}: Too long: may not be more than {MAX} bytes");
            let expected = if fits { vec![] } else { vec![json!(error)] };
            compare(name, &kind.strategy.validate(&object), &expected);
        }
    }
}

#[test]
fn every_kind_that_is_stored_has_cases() {
    let cases = cases();
    // Their rules have tables of their own.
    let elsewhere = ["Pod", "MXJob", "CustomResourceDefinition", "ValidatingWebhookConfiguration"];
    for kind in registry::built_in() {
        let is_stored =
            kind.review.is_none() && !kind.is_measured && kind.strategy.stored_as().is_none();
        if is_stored && !elsewhere.contains(&&*kind.kind) {
            let name = kind.qualified_kind();
            assert!(cases.get(&name).is_some(), "{name}: add it to cases.yaml");
        }
    }
}
