//! Whether a value is what its schema says, in the words of upstream's validator (kube-openapi).

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

use super::node::{ListType, Node, Range, Rules, Type};
use super::{Schema, Trail, correlate, formats, integer};
use crate::field::{BadValue, Error, Errors, Path};
use crate::json;

/// The most allowed values that a message lists.
const MAX_WORDS: usize = 1_000;

/// How values are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// As Go's decoder reads them: a null member counts as absent, and a quantity is parsed.
    Go,
    /// As the schema of a custom resource says.
    Schema,
}

impl Schema<'_> {
    /// Reports what is wrong with a value that a program will decode: null members of an object
    /// count as absent. Unknown members are not errors here.
    pub fn check(self, value: &Value, path: &Path, errors: &mut Errors) {
        walk(value, None, self, &Trail::Start(path), Dialect::Go, errors);
    }

    /// Reports what is wrong with a custom resource. If it replaces another, only what has changed
    /// is checked (upstream's ratcheting): an object that was stored under an older schema can
    /// still be changed elsewhere.
    pub fn check_custom(self, object: &Value, old: Option<&Value>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::default();
        walk(object, old, self, &Trail::Start(&path), Dialect::Schema, &mut errors);
        errors
    }
}

fn walk(
    value: &Value,
    old: Option<&Value>,
    schema: Schema<'_>,
    at: &Trail<'_>,
    dialect: Dialect,
    errors: &mut Errors,
) {
    let node = schema.node();
    if old.is_some_and(|old| json::equal(old, value)) {
        return;
    }
    if dialect == Dialect::Go && node.is_quantity {
        check_quantity(value, at, errors);
        return;
    }
    if dialect == Dialect::Schema && value.is_null() && node.nullable {
        return;
    }
    if let Some(expected) = wrong_type(value, node, dialect) {
        errors.push_with(|| type_error(value, expected, at));
        return;
    }
    let fits = check_number_format(value, &node.format, at, errors);
    if let Some(rules) = node.rules.as_ref().filter(|_| fits) {
        check_rules(value, rules, schema, at, dialect, errors);
    }
    match value {
        Value::Object(members) => {
            check_required(members, &node.required, at, dialect, errors);
            for (name, value) in members {
                // Metadata is checked for all kinds alike.
                let is_metadata = name == "metadata"
                    && (node.embedded
                        || matches!(at, Trail::Start(path) if path.as_str().is_empty()));
                if is_metadata || (dialect == Dialect::Go && value.is_null()) {
                    continue;
                }
                let Some(below) = schema.member(name) else { continue };
                let old = old.and_then(|old| old.get(name));
                walk(value, old, below, &at.member(name), dialect, errors);
            }
        }
        Value::Array(items) => {
            check_list(items, &node.list, at, errors);
            let Some(below) = schema.item() else { return };
            let old = correlate::Items::of(node, old);
            for (index, value) in items.iter().enumerate() {
                walk(value, old.get(value), below, &at.item(index), dialect, errors);
            }
        }
        Value::String(text) => {
            if let Some(name) = formats::mismatch(&node.format, text) {
                let what = || format!("must be of type {name}: {text:?}");
                errors.push_with(|| invalid(&**text, &what(), at));
            }
        }
        _ => {}
    }
}

/// The type that the value should have, where it has another.
fn wrong_type(value: &Value, node: &Node, dialect: Dialect) -> Option<&'static str> {
    if node.int_or_string {
        let fits = value.is_string() || integer(value).is_some();
        return (!fits).then_some("integer,string");
    }
    let kind = node.kind?;
    let fits = match kind {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        // No integer type of Go has more than 63 bits for its value.
        Type::Integer => integer(value).is_some() || (dialect == Dialect::Schema && value.is_u64()),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    };
    (!fits).then(|| kind.name())
}

/// Reports items that may occur once and occur twice.
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

fn check_rules(
    value: &Value,
    rules: &Rules,
    schema: Schema<'_>,
    at: &Trail<'_>,
    dialect: Dialect,
    errors: &mut Errors,
) {
    check_alternatives(value, rules, schema, at, dialect, errors);
    match value {
        Value::String(text) => check_text(text, rules, at, errors),
        Value::Number(_) => check_number(value, rules, at, errors),
        Value::Array(items) => {
            check_count(items.len(), &rules.items, "items", value, at, errors);
        }
        Value::Object(members) => {
            check_count(members.len(), &rules.properties, "properties", value, at, errors);
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
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let words: Vec<String> = allowed.iter().take(MAX_WORDS).map(word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Error::not_supported(&at.path(), value, &words)
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
}

/// Whether a number has its format. Bounds of one that does not are not checked.
fn check_number_format(value: &Value, format: &str, at: &Trail<'_>, errors: &mut Errors) -> bool {
    let fits = match (value, format) {
        (Value::Number(_), "int32") => {
            integer(value).is_none_or(|integer| i32::try_from(integer).is_ok())
        }
        (Value::Number(_), "int64") => value.is_f64() || value.is_i64(),
        _ => true,
    };
    if !fits {
        errors.push_with(|| {
            let path = at.path();
            let detail =
                format!("Checked value must be of type integer with format {format} in {path}");
            Error::invalid(&path, value, detail)
        });
    }
    fits
}

fn check_number(value: &Value, rules: &Rules, at: &Trail<'_>, errors: &mut Errors) {
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
    required: &[String],
    at: &Trail<'_>,
    dialect: Dialect,
    errors: &mut Errors,
) {
    for name in required {
        let is_missing = match members.get(name) {
            None => true,
            Some(value) => dialect == Dialect::Go && value.is_null(),
        };
        if is_missing {
            errors.push_with(|| Error::required(&at.path().child(name), ""));
        }
    }
}

fn check_alternatives(
    value: &Value,
    rules: &Rules,
    schema: Schema<'_>,
    at: &Trail<'_>,
    dialect: Dialect,
    errors: &mut Errors,
) {
    let violations = |node: &Node| {
        let mut errors = Errors::new();
        walk(value, None, Schema { node, name: None, ..schema }, at, dialect, &mut errors);
        errors
    };
    for node in &rules.all_of {
        errors.append(violations(node));
    }
    let complain = |errors: &mut Errors, what: &str| {
        errors.push_with(|| {
            let path = at.path();
            let detail = format!("{:?} must {what}", path.as_str());
            Error::invalid(&path, value, detail)
        });
    };
    if !rules.any_of.is_empty() {
        let all: Vec<Errors> = rules.any_of.iter().map(violations).collect();
        if all.iter().all(|errors| !errors.is_empty()) {
            complain(errors, "validate at least one schema (anyOf)");
            // The alternative that comes nearest says what is missing.
            errors.append(all.into_iter().min_by_key(|errors| errors.len()).unwrap_or_default());
        }
    }
    if !rules.one_of.is_empty() {
        match rules.one_of.iter().filter(|node| violations(node).is_empty()).count() {
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
        && violations(node).is_empty()
    {
        complain(errors, "not validate the schema (not)");
    }
}

fn check_quantity(value: &Value, at: &Trail<'_>, errors: &mut Errors) {
    if !(value.is_string() || value.is_number()) {
        errors.push_with(|| type_error(value, "integer,string", at));
        return;
    }
    let text = value.as_str().map_or_else(|| Cow::from(value.to_string()), Cow::from);
    if !is_quantity(&text) {
        let detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        errors.push_with(|| Error::invalid(&at.path(), value, detail));
    } else if text.starts_with('-') && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        errors
            .push_with(|| Error::invalid(&at.path(), value, "must be greater than or equal to 0"));
    }
}

/// Whether a text has the shape of a quantity ([`super::QUANTITY_PATTERN`]).
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end =
        unsigned.find(|byte: char| !byte.is_ascii_digit() && byte != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    is_number(number)
        && match suffix.as_bytes() {
            [] | [b'n' | b'u' | b'm' | b'k' | b'M' | b'G' | b'T' | b'P' | b'E'] => true,
            [b'K' | b'M' | b'G' | b'T' | b'P' | b'E', b'i'] => true,
            [b'e' | b'E', ..] => {
                let exponent = suffix.get(1..).unwrap_or_default();
                is_number(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
            }
            _ => false,
        }
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    !(whole.is_empty() && fraction.is_empty()) && is_digits(whole) && is_digits(fraction)
}

/// The error about a value of another type.
fn type_error(value: &Value, expected: &str, at: &Trail<'_>) -> Error {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let path = at.path();
    let detail = format!("{path} in body must be of type {expected}: {found:?}");
    Error::type_invalid(&path, found, detail)
}
