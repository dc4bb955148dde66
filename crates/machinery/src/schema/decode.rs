//! Whether an object has the JSON types of its kind, in the messages of Go's decoder for built-in
//! kinds.
//!
//! `json: cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string`: the
//! struct is the innermost one; the path has the fields from the top, without indexes and keys of
//! maps. Types with a decoder of their own (times, quantities) have their own messages. Only the
//! first error is reported.

use serde_json::Value;

use super::{Entries, Schema, Type, base64, go_types};
use crate::quantity::Quantity;
use crate::{go, json};

/// Go's type of anything.
const ANY: &str = "interface {}";

/// The field that is being decoded.
#[derive(Clone, Copy)]
struct Field<'a> {
    /// The struct that has it, without its package.
    structure: &'a str,
    name: &'a str,
    above: Option<&'a Self>,
}

impl Schema<'_> {
    /// The first wrong type in an object.
    pub fn decode_problem(self, object: &Value) -> Option<String> {
        problem(object, self, None)
    }
}

fn problem(value: &Value, schema: Schema<'_>, field: Option<&Field<'_>>) -> Option<String> {
    let wrong = |go_type: &str| Some(mismatch(json::kind(value), go_type, field));
    let number = |go_type: &str| Some(mismatch(&format!("number {value}"), go_type, field));
    let node = schema.node();
    if value.is_null() {
        return None; // the zero value of every type
    }
    if node.is_quantity {
        return Quantity::from_value(value).err().map(|error| error.to_string());
    }
    if node.int_or_string {
        return match value {
            Value::String(_) => None,
            Value::Number(_) => {
                let fits = value.as_i64().is_some_and(|it| i32::try_from(it).is_ok());
                if fits { None } else { number("int32") }
            }
            _ => wrong("int32"),
        };
    }
    match (node.kind?, value) {
        (Type::Object, _) if node.fields.is_empty() && !matches!(node.entries, Entries::Of(_)) => {
            None
        }
        (Type::Object, Value::Object(members)) => members.iter().find_map(|(name, value)| {
            let member = schema.member(name)?;
            match schema.name() {
                Some(structure) => {
                    problem(value, member, Some(&Field { structure, name, above: field }))
                }
                None => problem(value, member, field),
            }
        }),
        (Type::Array, Value::Array(items)) => {
            let item = schema.item()?;
            items.iter().find_map(|value| problem(value, item, field))
        }
        (Type::String, value) => match (&*node.format, value) {
            ("byte", Value::String(text)) => base64::first_mismatch(text)
                .map(|at| format!("illegal base64 data at input byte {at}")),
            ("date-time", Value::String(text)) => time_problem(text),
            ("date-time", _) => wrong("string"),
            (_, Value::String(_)) => None,
            _ => wrong(&go_type(schema, field)),
        },
        (Type::Boolean, Value::Bool(_)) | (Type::Number, Value::Number(_)) => None,
        (Type::Integer, Value::Number(_)) => {
            let is_int32 = &*node.format == "int32";
            let fits = value.as_i64().is_some_and(|it| !is_int32 || i32::try_from(it).is_ok());
            if fits { None } else { number(&go_type(schema, field)) }
        }
        (_, _) => wrong(&go_type(schema, field)),
    }
}

fn mismatch(found: &str, go_type: &str, field: Option<&Field<'_>>) -> String {
    let Some(field) = field else {
        return format!("json: cannot unmarshal {found} into Go value of type {go_type}");
    };
    let path = path(field);
    let structure = field.structure;
    format!(
        "json: cannot unmarshal {found} into Go struct field {structure}.{path} of type {go_type}"
    )
}

fn path(field: &Field<'_>) -> String {
    match field.above {
        None => field.name.to_owned(),
        Some(above) => format!("{}.{}", path(above), field.name),
    }
}

/// Go's name for the type of a place.
fn go_type(schema: Schema<'_>, field: Option<&Field<'_>>) -> String {
    if let Some(name) = schema.qualified_name() {
        return name;
    }
    let node = schema.node();
    let item = || schema.item().map_or_else(|| ANY.to_owned(), |item| go_type(item, field));
    let text = || field.map_or("string", |field| go_types::string(field.structure, field.name));
    match (node.kind, &*node.format) {
        (Some(Type::Object), _) => match schema.entry() {
            Some(entry) if entry.node().is_quantity => "v1.ResourceList".to_owned(),
            Some(entry) => format!("map[string]{}", go_type(entry, field)),
            None => ANY.to_owned(),
        },
        (Some(Type::Array), _) => format!("[]{}", item()),
        (Some(Type::String), "byte") => "[]uint8".to_owned(),
        (Some(Type::String), _) => text().to_owned(),
        (Some(Type::Integer), "int32") => "int32".to_owned(),
        (Some(Type::Integer), _) => "int64".to_owned(),
        (Some(Type::Number), _) => "float64".to_owned(),
        (Some(Type::Boolean), _) => "bool".to_owned(),
        (None, _) => ANY.to_owned(),
    }
}

/// Go's message about a text that is not a time.
pub(crate) fn time_problem(text: &str) -> Option<String> {
    if text.is_empty() || text.parse::<jiff::Timestamp>().is_ok() {
        return None;
    }
    let shown = go::quote(text);
    Some(format!(
        r#"parsing time {shown} as "2006-01-02T15:04:05Z07:00": cannot parse {shown} as "2006""#
    ))
}
