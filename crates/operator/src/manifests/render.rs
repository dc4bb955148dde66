//! Renders objects as YAML for people: the usual order of keys, with comments.
//!
//! JSON maps have sorted keys here, so a list defines the order. The CustomResourceDefinition is
//! too large to be read and is written as a cluster writes it.

use mxjob_machinery::yaml;
use serde_json::{Map, Value};

/// Keys that come before all others, in this order.
const FIRST: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "image",
    "imagePullPolicy",
    "args",
    "ports",
    "livenessProbe",
    "readinessProbe",
    "clientConfig",
    "apiGroups",
    "apiVersions",
    "resources",
    "resourceNames",
    "verbs",
    "replicas",
    "selector",
    "strategy",
    "template",
    "rules",
    "roleRef",
    "subjects",
    "matchConditions",
    "httpGet",
    "path",
    "port",
    "requests",
];
/// Keys that come after all others.
const LAST: &[&str] = &["containers", "webhooks"];

/// YAML documents, each after its `---`.
pub(super) fn documents(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{}", document(object))).collect()
}

/// One YAML document.
pub(super) fn document(object: &Value) -> String {
    if object["kind"] == "CustomResourceDefinition" {
        return yaml::encode(object);
    }
    let mut text = String::new();
    if let Some(map) = object.as_object() {
        mapping(map, 0, &mut text);
    }
    text
}

/// A value without its comments.
pub(super) fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.iter().filter(|(key, _)| !key.starts_with('#'));
            Value::Object(members.map(|(key, value)| (key.clone(), bare(value))).collect())
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}

/// Members at an indentation; the first is written where the text ends, since it may follow a dash.
fn mapping(map: &Map<String, Value>, indent: usize, text: &mut String) {
    let mut keys: Vec<&String> = map.keys().filter(|key| !key.starts_with('#')).collect();
    keys.sort_by_key(|key| (rank(key), *key));
    let pad = " ".repeat(indent);
    for (at, key) in keys.into_iter().enumerate() {
        let Some(value) = map.get(key) else { continue };
        if at > 0 {
            text.push_str(&pad);
        }
        for line in map.get(&format!("#{key}")).and_then(Value::as_str).unwrap_or_default().lines()
        {
            text.push_str(&format!("# {line}\n{pad}"));
        }
        text.push_str(&scalar(&Value::from(key.as_str())));
        text.push(':');
        below(value, indent, text);
    }
}

/// A member's value, on the same line or below it.
fn below(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push_str(&format!("\n{}", " ".repeat(indent + 2)));
            mapping(map, indent + 2, text);
        }
        Value::Array(items) if items.iter().all(is_short) && inline(items).len() + indent < 90 => {
            text.push_str(&format!(" {}\n", inline(items)));
        }
        Value::Array(items) => {
            text.push('\n');
            for item in items {
                text.push_str(&format!("{}- ", " ".repeat(indent + 2)));
                match item {
                    Value::Object(map) if !map.is_empty() => mapping(map, indent + 4, text),
                    other => text.push_str(&format!("{}\n", scalar(other))),
                }
            }
        }
        other => text.push_str(&format!(" {}\n", scalar(other))),
    }
}

/// Whether a list of such items is better read on one line.
fn is_short(item: &Value) -> bool {
    item.as_str().is_some_and(|word| word.len() < 50 && !word.starts_with("--"))
}

fn inline(items: &[Value]) -> String {
    let words: Vec<String> = items
        .iter()
        .map(|item| {
            let word = scalar(item);
            // Some plain scalars have a meaning inside brackets.
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
            if plain { word } else { item.to_string() }
        })
        .collect();
    format!("[{}]", words.join(", "))
}

/// A value on one line; strings that YAML would read as another type are quoted.
fn scalar(value: &Value) -> String {
    let Value::String(word) = value else { return value.to_string() };
    let plain = yaml::encode(value);
    if plain.trim_end_matches('\n') == word && !word.is_empty() {
        word.clone()
    } else {
        value.to_string()
    }
}

fn rank(key: &str) -> usize {
    let first = FIRST.iter().position(|first| *first == key);
    let last = || LAST.iter().position(|last| *last == key).map(|at| FIRST.len() + 1 + at);
    first.or_else(last).unwrap_or(FIRST.len())
}
