//! The rules for schemas themselves: what makes one structural (upstream's `apiextensions`
//! validation).

use regex::Regex;
use serde_json::{Map, Value};

use super::{Node, Schema, Type};
use crate::field::{Error, Errors, Path};

/// Keywords that no definition may use.
const UNSUPPORTED: &[&str] = &[
    "$ref",
    "$schema",
    "id",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
];
/// Keywords that may not stand in alternatives, where only values are checked.
const STRUCTURAL: &[&str] = &[
    "type",
    "description",
    "title",
    "default",
    "additionalProperties",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// The place of a schema in another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
    Entry,
}

/// The errors of the schema of a kind. `path` is its place in the definition.
pub fn violations(schema: &Value, path: &Path) -> Errors {
    let mut errors = Errors::new();
    walk(schema, Place::Root, path, &mut errors);
    errors
}

fn walk(schema: &Value, place: Place, path: &Path, errors: &mut Errors) {
    let Some(members) = schema.as_object() else {
        errors.push(Error::required(path, "must be a schema"));
        return;
    };
    for name in UNSUPPORTED.iter().filter(|name| members.contains_key(**name)) {
        errors.push(Error::forbidden(&path.child(name), format!("{name} is not supported")));
    }
    check_type(members, place, path, errors);
    check_keywords(members, place, path, errors);
    check_lists(members, path, errors);
    if let Some(default) = members.get("default") {
        check_default(schema, default, &path.child("default"), errors);
    }
    let fields = members.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        // Metadata may be restricted by name, and is otherwise what it always is.
        if place == Place::Root && name == "metadata" {
            continue;
        }
        walk(field, Place::Field, &path.child("properties").key(name), errors);
    }
    if let Some(entry) = members.get("additionalProperties").filter(|entry| entry.is_object()) {
        walk(entry, Place::Entry, &path.child("additionalProperties"), errors);
    }
    match members.get("items") {
        Some(Value::Array(_)) => errors.push(Error::forbidden(
            &path.child("items"),
            "items must be a schema object and not an array",
        )),
        Some(item) => walk(item, Place::Item, &path.child("items"), errors),
        None if members.get("type").is_some_and(|kind| kind == "array") => {
            errors.push(Error::required(&path.child("items"), "must be specified"));
        }
        None => {}
    }
    let either = members.contains_key("x-kubernetes-int-or-string");
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let all = members.get(keyword).and_then(Value::as_array);
        for (index, schema) in all.into_iter().flatten().enumerate() {
            alternative(schema, members, either, &path.child(keyword).index(index), errors);
        }
    }
    if let Some(schema) = members.get("not") {
        alternative(schema, members, either, &path.child("not"), errors);
    }
}

fn check_type(members: &Map<String, Value>, place: Place, path: &Path, errors: &mut Errors) {
    let flag = |name: &str| members.get(name).is_some_and(|value| *value == true);
    let at = path.child("type");
    let word = members.get("type").and_then(Value::as_str).unwrap_or_default();
    if word.is_empty() {
        if flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields") {
            return;
        }
        errors.push(Error::required(
            &at,
            match place {
                Place::Root => "must not be empty at the root",
                Place::Field => "must not be empty for specified object fields",
                Place::Item => "must not be empty for specified array items",
                Place::Entry => "must not be empty for specified additionalProperties",
            },
        ));
    } else if Type::parse(word).is_none() {
        errors.push(Error::not_supported(&at, word, TYPES));
    } else if place == Place::Root && word != "object" {
        errors.push(Error::invalid(&at, word, "must be object at the root"));
    } else if flag("x-kubernetes-int-or-string") {
        errors.push(Error::invalid(
            &path.child("x-kubernetes-int-or-string"),
            true,
            "type must be empty if x-kubernetes-int-or-string is true",
        ));
    }
}

fn check_keywords(members: &Map<String, Value>, place: Place, path: &Path, errors: &mut Errors) {
    let is_true = |name: &str| members.get(name).is_some_and(|value| *value == true);
    let is_false = |name: &str| members.get(name).is_some_and(|value| *value == false);
    let additional = path.child("additionalProperties");
    if is_false("additionalProperties") {
        errors.push(Error::forbidden(&additional, "additionalProperties cannot be set to false"));
    } else if members.contains_key("additionalProperties") {
        if place == Place::Root {
            errors.push(Error::forbidden(&additional, "must not be used at the root"));
        } else if members
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|it| !it.is_empty())
        {
            errors.push(Error::forbidden(
                &additional,
                "additionalProperties and properties are mutual exclusive",
            ));
        }
    }
    if is_true("uniqueItems") {
        errors.push(Error::forbidden(
            &path.child("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    if is_false("x-kubernetes-preserve-unknown-fields") {
        errors.push(Error::invalid(
            &path.child("x-kubernetes-preserve-unknown-fields"),
            false,
            "must be true or undefined",
        ));
    }
    if place == Place::Root && is_true("nullable") {
        errors
            .push(Error::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
    if is_true("x-kubernetes-embedded-resource") {
        let word = members.get("type").and_then(Value::as_str).unwrap_or_default();
        if word != "object" {
            errors.push(Error::invalid(
                &path.child("type"),
                word,
                "must be object if x-kubernetes-embedded-resource is true",
            ));
        }
    }
    if let Some(pattern) = members.get("pattern").and_then(Value::as_str)
        && let Err(error) = Regex::new(pattern)
    {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default();
        errors.push(Error::invalid(
            &path.child("pattern"),
            pattern,
            format!("must be a valid regular expression, but isn't: {why}"),
        ));
    }
}

fn check_lists(members: &Map<String, Value>, path: &Path, errors: &mut Errors) {
    let word = |name: &str| members.get(name).and_then(Value::as_str);
    let keys = members.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
    let at = path.child("x-kubernetes-list-map-keys");
    match word("x-kubernetes-list-type") {
        None | Some("atomic" | "set" | "map") => {}
        Some(other) => {
            let path = path.child("x-kubernetes-list-type");
            errors.push(Error::not_supported(&path, other, &["atomic", "set", "map"]));
        }
    }
    if let Some(other) =
        word("x-kubernetes-map-type").filter(|it| !matches!(*it, "atomic" | "granular"))
    {
        let path = path.child("x-kubernetes-map-type");
        errors.push(Error::not_supported(&path, other, &["atomic", "granular"]));
    }
    if word("x-kubernetes-list-type") != Some("map") {
        if !keys.is_empty() {
            errors.push(Error::forbidden(
                &at,
                "must be undefined if x-kubernetes-list-type is not map",
            ));
        }
        return;
    }
    if keys.is_empty() {
        errors.push(Error::required(&at, "must not be empty if x-kubernetes-list-type is map"));
    }
    let item = members.get("items").unwrap_or(&Value::Null);
    let required = item.get("required").and_then(Value::as_array);
    for (index, key) in keys.iter().enumerate() {
        let Some(field) = item.get("properties").and_then(|fields| fields.get(key)) else {
            errors.push(Error::invalid(
                &at.index(index),
                *key,
                "entries must all be names of item properties",
            ));
            continue;
        };
        let is_required = required.is_some_and(|names| names.iter().any(|name| name == key));
        if !is_required && field.get("default").is_none() {
            errors.push(Error::required(
                &path.child("items").child("properties").key(key).child("default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ));
        }
    }
}

/// A default must be what the schema allows, and nothing of it may be pruned.
fn check_default(schema: &Value, default: &Value, path: &Path, errors: &mut Errors) {
    let node = Node::read(schema);
    let mut pruned = serde_json::json!({ "default": default });
    let around = Node { fields: [("default".to_owned(), node)].into(), ..Node::default() };
    let around = Schema::new(&around);
    around.prune(&mut pruned);
    if pruned.get("default") != Some(default) {
        errors.push(Error::invalid(path, default, "must not have unknown fields"));
    }
    for error in &around.check_custom(&pruned, None) {
        let below = error.path.as_str().strip_prefix("default").unwrap_or_default();
        errors.push(Error { path: Path::new(format!("{path}{below}")), ..error.clone() });
    }
}

/// Alternatives check values and describe no structure of their own.
fn alternative(
    schema: &Value,
    around: &Map<String, Value>,
    either: bool,
    path: &Path,
    errors: &mut Errors,
) {
    let Some(members) = schema.as_object() else { return };
    for name in STRUCTURAL.iter().filter(|name| members.contains_key(**name)) {
        // The two types of `x-kubernetes-int-or-string` are written as alternatives by convention.
        if either && *name == "type" {
            continue;
        }
        errors.push(Error::forbidden(&path.child(name), "must be empty to be structural"));
    }
    let own = members.get("properties").and_then(Value::as_object);
    let known = around.get("properties").and_then(Value::as_object);
    for (name, schema) in own.into_iter().flatten() {
        let path = path.child("properties").key(name);
        match known.and_then(|known| known.get(name)).and_then(Value::as_object) {
            Some(around) => alternative(schema, around, false, &path, errors),
            None => errors
                .push(Error::required(&path, "must be specified outside of the alternatives, too")),
        }
    }
    if let (Some(item), Some(around)) =
        (members.get("items"), around.get("items").and_then(Value::as_object))
    {
        alternative(item, around, false, &path.child("items"), errors);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let all = members.get(keyword).and_then(Value::as_array);
        for (index, schema) in all.into_iter().flatten().enumerate() {
            alternative(schema, around, either, &path.child(keyword).index(index), errors);
        }
    }
    if let Some(schema) = members.get("not") {
        alternative(schema, around, either, &path.child("not"), errors);
    }
}
