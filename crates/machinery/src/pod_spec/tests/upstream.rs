//! Upstream's test cases, transposed: `tests/data/pod_spec.txt` says how.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::{SPEC, containers, handlers, view, volumes};
use super::*;
use crate::yaml;

const CASES: &str = include_str!("../../../tests/data/pod_spec.txt");

fn parse(text: &str) -> Value {
    yaml::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Puts a value where a path such as `spec.containers[0].env` says.
fn put(root: &mut Value, path: &str, value: Value) {
    let mut place = root;
    for step in path.replace('[', ".").replace(']', "").split('.') {
        place = match step.parse::<usize>() {
            Ok(index) => {
                if place.is_null() {
                    *place = json!([]);
                }
                let items = place.as_array_mut().unwrap();
                items.resize(items.len().max(index + 1), Value::Null);
                &mut items[index]
            }
            Err(_) => {
                if place.is_null() {
                    *place = json!({});
                }
                place.as_object_mut().unwrap().entry(step).or_insert(Value::Null)
            }
        };
    }
    match (place, value) {
        // Members join those of the pod.
        (Value::Object(members), Value::Object(more)) => members.extend(more),
        (place, value) => *place = value,
    }
}

fn pod(at: &str, base: &Value, value: Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": "pod" },
        "spec": { "containers": [{ "name": "ctr", "image": "image" }] },
    });
    put(&mut pod, "spec", base.clone());
    put(&mut pod, at, value);
    defaults::fill_pod(&mut pod);
    pod
}

/// The errors of a case as its line writes them.
fn found(pod: &Value, at: &str) -> String {
    let mut line = String::new();
    for error in &validate_create(pod) {
        let path = error.path.as_str();
        let shown = match path.strip_prefix(at) {
            Some("") => "\"\"".to_owned(),
            Some(below) if at == "metadata.annotations" => below.to_owned(),
            Some(below) if below.starts_with(['.', '[']) => {
                below.trim_start_matches('.').to_owned()
            }
            _ => format!("/{path}"),
        };
        let comma = if line.is_empty() { "" } else { ", " };
        write!(line, "{comma}{shown} {:?}", error.kind).unwrap();
    }
    line
}

#[test]
fn every_case_of_upstream_has_upstreams_errors() {
    let (mut test, mut at, mut base) = ("", "", json!({}));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = String::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, rest) = line.split_once(' ').unwrap();
        match mark {
            "==" => {
                (test, at) = rest.split_once(' ').unwrap();
                base = json!({});
                continue;
            }
            "=" => {
                base = parse(rest);
                continue;
            }
            _ => {}
        }
        *counts.entry(test).or_default() += 1;
        let (value, expected) = match mark {
            "no" => rest.rsplit_once(" => ").unwrap(),
            _ => (rest, ""),
        };
        let found = found(&pod(at, &base, parse(value)), at);
        if found != expected {
            writeln!(wrong, "{test}: {value}\n  expected {expected}\n  found    {found}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let total: usize = counts.values().sum();
    println!("{counts:#?}");
    assert_eq!((total, counts.len()), (702, 48), "cases and upstream tests");
}

#[test]
fn every_row_names_its_upstream_function() {
    let mut all = Vec::new();
    view::upstream(SPEC, &mut all);
    view::upstream(containers::COMMON, &mut all);
    view::upstream(handlers::HANDLERS, &mut all);
    all.extend(volumes::SOURCES.iter().map(|source| source.upstream));
    let is_function = |name: &&str| name.to_ascii_lowercase().starts_with("validate");
    assert!(all.iter().all(is_function), "{all:?}");
    all.sort_unstable();
    all.dedup();
    assert!(all.len() >= 90, "{}", all.len());
}
