//! Whether an object has the JSON types of its kind, told as Go's decoder tells it of built-in kinds.
//!
//! `json: cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string`: the struct is the innermost one, the path
//! has the fields from the top, and neither indexes nor the keys of maps. Types with a decoder of their own (times,
//! quantities) have their own messages. Only the first fault is told.

use serde_json::Value;

use super::{Kind, Schema, base64, go_types};
use crate::quantity::Quantity;
use crate::{go, json};

/// The field that is being decoded.
#[derive(Clone, Copy)]
struct Field<'a> {
    /// The struct that has it, without its package.
    structure: &'a str,
    name: &'a str,
    above: Option<&'a Self>,
}

impl Schema<'_> {
    /// What is wrong with the types in an object, if anything.
    pub fn decode_problem(self, object: &Value) -> Option<String> {
        problem(object, self, None)
    }
}

fn problem(value: &Value, schema: Schema<'_>, field: Option<&Field<'_>>) -> Option<String> {
    let wrong = |go_type: &str| Some(mismatch(json::kind(value), go_type, field));
    let number = |go_type: &str| Some(mismatch(&format!("number {value}"), go_type, field));
    match (schema.kind(), value) {
        // Null is the zero value of every type.
        (_, Value::Null) | (Kind::Any | Kind::Reference(_), _) => None,
        (Kind::Object { fields, entries: None, .. }, _) if fields.is_empty() => None,
        (Kind::Object { .. }, Value::Object(members)) => {
            members.iter().find_map(|(name, value)| {
                let member = schema.member(name)?;
                match schema.name() {
                    Some(structure) => {
                        problem(value, member, Some(&Field { structure, name, above: field }))
                    }
                    None => problem(value, member, field),
                }
            })
        }
        (Kind::Array(_), Value::Array(items)) => {
            let item = schema.item()?;
            items.iter().find_map(|value| problem(value, item, field))
        }
        (Kind::String(_), Value::String(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Number, Value::Number(_))
        | (Kind::IntOrString, Value::String(_)) => None,
        (Kind::Bytes, Value::String(text)) => {
            base64::fault(text).map(|at| format!("illegal base64 data at input byte {at}"))
        }
        (Kind::Time, Value::String(text)) => time_problem(text),
        (Kind::Time, _) => wrong("string"),
        (Kind::Quantity, value) => Quantity::from_value(value).err().map(|error| error.to_string()),
        (Kind::Integer { is_int32, .. }, Value::Number(_)) => {
            let fits = value.as_i64().is_some_and(|it| !is_int32 || i32::try_from(it).is_ok());
            if fits { None } else { number(&go_type(schema, field)) }
        }
        (Kind::IntOrString, Value::Number(_)) => {
            let fits = value.as_i64().is_some_and(|it| i32::try_from(it).is_ok());
            if fits { None } else { number("int32") }
        }
        (Kind::IntOrString, _) => wrong("int32"),
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

/// What Go calls the type of a place.
fn go_type(schema: Schema<'_>, field: Option<&Field<'_>>) -> String {
    if let Some(name) = schema.qualified_name() {
        return name;
    }
    match schema.kind() {
        Kind::Object { entries: Some(entries), .. } => {
            let entry = schema.at(entries);
            match entry.kind() {
                Kind::Quantity => "v1.ResourceList".to_owned(),
                _ => format!("map[string]{}", go_type(entry, field)),
            }
        }
        Kind::Array(item) => format!("[]{}", go_type(schema.at(item), field)),
        Kind::String(_) | Kind::Time => {
            field.map_or("string", |field| go_types::string(field.structure, field.name)).to_owned()
        }
        Kind::Bytes => "[]uint8".to_owned(),
        Kind::Integer { is_int32: true, .. } => "int32".to_owned(),
        Kind::Integer { .. } => "int64".to_owned(),
        Kind::Number => "float64".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Object { entries: None, .. }
        | Kind::IntOrString
        | Kind::Quantity
        | Kind::Reference(_)
        | Kind::Any => "interface {}".to_owned(),
    }
}

/// What Go says of a text that is no moment.
pub(crate) fn time_problem(text: &str) -> Option<String> {
    if text.is_empty() || text.parse::<jiff::Timestamp>().is_ok() {
        return None;
    }
    let shown = go::quote(text);
    Some(format!(
        r#"parsing time {shown} as "2006-01-02T15:04:05Z07:00": cannot parse {shown} as "2006""#
    ))
}
