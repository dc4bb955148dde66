//! Whether a value is what its schema says, in upstream's words.
//!
//! What has not changed is not looked at again (upstream's ratcheting): an object that was stored under an older schema
//! can still be changed elsewhere.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::node::{ListType, Node, Range, Rules, Type};
use super::{correlate, formats};
use crate::field::{BadValue, Error, Errors, Path};
use crate::json;
use crate::schema::{Trail, integer, type_error};

/// The most allowed values that a message lists.
const MAX_WORDS: usize = 1_000;

/// Notes what is wrong with an object.
pub(super) fn check(
    value: &Value,
    old: Option<&Value>,
    node: &Node,
    path: &Path,
    errors: &mut Errors,
) {
    walk(value, old, node, &Trail::Start(path), errors);
}

fn walk(value: &Value, old: Option<&Value>, node: &Node, at: &Trail<'_>, errors: &mut Errors) {
    if old.is_some_and(|old| json::equal(old, value)) {
        return;
    }
    if value.is_null() && node.nullable {
        return;
    }
    if let Some(wanted) = wrong_type(value, node) {
        errors.push_with(|| type_error(value, &wanted, at));
        return;
    }
    if let Some(rules) = &node.rules {
        check_rules(value, rules, at, errors);
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                // Metadata is checked for all kinds alike.
                let is_metadata = name == "metadata"
                    && (node.embedded
                        || matches!(at, Trail::Start(path) if path.as_str().is_empty()));
                let Some(below) = node.member(name).filter(|_| !is_metadata) else { continue };
                let old = old.and_then(|old| old.get(name));
                walk(value, old, below, &at.member(name), errors);
            }
        }
        Value::Array(items) => {
            check_list(items, &node.list, at, errors);
            let Some(below) = &node.items else { return };
            let old = correlate::Items::of(node, old);
            for (index, value) in items.iter().enumerate() {
                walk(value, old.get(value), below, &at.item(index), errors);
            }
        }
        _ => {}
    }
}

/// The type that the value should have, where it has another.
fn wrong_type(value: &Value, node: &Node) -> Option<String> {
    if node.int_or_string {
        let fits = value.is_string() || integer(value).is_some();
        return (!fits).then(|| "integer,string".to_owned());
    }
    let kind = node.kind?;
    let fits = match kind {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => value.is_number() && (value.is_u64() || integer(value).is_some()),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    };
    (!fits).then(|| kind.name().to_owned())
}

/// What must be there once, and is there twice.
fn check_list(items: &[Value], list: &ListType, at: &Trail<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let key = match list {
            ListType::Atomic => return,
            ListType::Set => item.clone(),
            ListType::Map(keys) => {
                let own = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
                Value::Object(own.collect())
            }
        };
        if !seen.insert(key.to_string()) {
            errors.push_with(|| Error::duplicate(&at.item(index).path(), &key));
        }
    }
}

fn check_rules(value: &Value, rules: &Rules, at: &Trail<'_>, errors: &mut Errors) {
    check_alternatives(value, rules, at, errors);
    match value {
        Value::String(text) => check_text(text, rules, at, errors),
        Value::Number(_) => check_number(value, rules, at, errors),
        Value::Array(items) => {
            check_count(items.len(), &rules.items, "items", value, at, errors);
        }
        Value::Object(members) => {
            check_count(members.len(), &rules.properties, "properties", value, at, errors);
            check_required(members, rules, at, errors);
        }
        Value::Null | Value::Bool(_) => {}
    }
    if let Some(allowed) = &rules.allowed
        && !allowed.iter().any(|allowed| json::equal(allowed, value))
    {
        errors.push_with(|| not_supported(value, allowed, at));
    }
}

fn not_supported(value: &Value, allowed: &[Value], at: &Trail<'_>) -> Error {
    {
        let words: Vec<String> = allowed
            .iter()
            .take(MAX_WORDS)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Error::not_supported(&at.path(), value, &words)
    }
}

fn invalid(value: impl Into<BadValue>, what: &str, at: &Trail<'_>) -> Error {
    let path = at.path();
    let detail = format!("{path} in body {what}");
    Error::invalid(&path, value, detail)
}

fn check_text(text: &str, rules: &Rules, at: &Trail<'_>, errors: &mut Errors) {
    // Bytes suffice to see that a text is short enough, and that is nearly always so.
    if let Some(most) = rules.length.most.filter(|most| text.len() > *most)
        && text.chars().count() > most
    {
        errors.push_with(|| Error::too_long(&at.path(), most));
    }
    if let Some(least) = rules.length.least.filter(|least| text.chars().count() < *least) {
        errors.push_with(|| invalid(text, &format!("should be at least {least} chars long"), at));
    }
    if let Some((pattern, regex)) = &rules.pattern
        && !regex.as_ref().is_some_and(|regex| regex.is_match(text))
    {
        errors.push_with(|| invalid(text, &format!("should match '{pattern}'"), at));
    }
    if let Some(name) = formats::fault(&rules.format, text) {
        errors.push_with(|| invalid(text, &format!("must be of type {name}: {text:?}"), at));
    }
}

fn check_number(value: &Value, rules: &Rules, at: &Trail<'_>, errors: &mut Errors) {
    let bits = match rules.format.as_str() {
        "int32" => integer(value).is_none_or(|it| i32::try_from(it).is_ok()).then_some(()),
        "int64" => (value.is_f64() || value.is_i64()).then_some(()),
        _ => Some(()),
    };
    if bits.is_none() {
        let path = at.path();
        let format = &rules.format;
        let detail =
            format!("Checked value must be of type integer with format {format} in {path}");
        errors.push_with(|| Error::invalid(&path, value, detail));
        return;
    }
    let Some(number) = value.as_f64() else { return };
    if let Some((most, exclusive)) = rules.maximum
        && (number > most || (exclusive && number >= most))
    {
        let than = if exclusive { "less than" } else { "less than or equal to" };
        errors.push_with(|| invalid(value, &format!("should be {than} {most}"), at));
    }
    if let Some((least, exclusive)) = rules.minimum
        && (number < least || (exclusive && number <= least))
    {
        let than = if exclusive { "greater than" } else { "greater than or equal to" };
        errors.push_with(|| invalid(value, &format!("should be {than} {least}"), at));
    }
    if let Some(unit) = rules.multiple_of.filter(|unit| (number / unit).fract() != 0.0) {
        errors.push_with(|| invalid(value, &format!("should be a multiple of {unit}"), at));
    }
}

fn check_count(
    count: usize,
    range: &Range<usize>,
    what: &str,
    value: &Value,
    at: &Trail<'_>,
    errors: &mut Errors,
) {
    if let Some(most) = range.most.filter(|most| count > *most) {
        errors.push_with(|| Error::too_many(&at.path(), count, most));
    }
    if let Some(least) = range.least.filter(|least| count < *least) {
        errors.push_with(|| invalid(value, &format!("should have at least {least} {what}"), at));
    }
}

fn check_required(
    members: &Map<String, Value>,
    rules: &Rules,
    at: &Trail<'_>,
    errors: &mut Errors,
) {
    for name in rules.required.iter().filter(|name| !members.contains_key(*name)) {
        errors.push_with(|| Error::required(&at.path().child(name), ""));
    }
}

fn check_alternatives(value: &Value, rules: &Rules, at: &Trail<'_>, errors: &mut Errors) {
    let faults = |node: &Node| {
        let mut errors = Errors::new();
        walk(value, None, node, at, &mut errors);
        errors
    };
    for node in &rules.all_of {
        errors.append(faults(node));
    }
    let complain = |errors: &mut Errors, what: &str| {
        let path = at.path();
        let detail = format!("{:?} must {what}", path.as_str());
        errors.push_with(|| Error::invalid(&path, value, detail));
    };
    if !rules.any_of.is_empty() {
        let all: Vec<Errors> = rules.any_of.iter().map(faults).collect();
        if all.iter().all(|errors| !errors.is_empty()) {
            complain(errors, "validate at least one schema (anyOf)");
            // The alternative that comes nearest says what is missing.
            errors.append(all.into_iter().min_by_key(|errors| errors.len()).unwrap_or_default());
        }
    }
    if !rules.one_of.is_empty() {
        match rules.one_of.iter().filter(|node| faults(node).is_empty()).count() {
            1 => {}
            0 => complain(errors, "validate one and only one schema (oneOf). Found none valid"),
            count => complain(
                errors,
                &format!(
                    "validate one and only one schema (oneOf). Found {count} valid alternatives"
                ),
            ),
        }
    }
    if let Some(node) = &rules.not
        && faults(node).is_empty()
    {
        complain(errors, "not validate the schema (not)");
    }
}
