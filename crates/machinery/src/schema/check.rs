//! Types, enums, bounds and required fields of a value, in the words of the validator of custom resources (kube-openapi).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Kind, Schema, Trail, integer};
use crate::field::{Error, Errors, Path};

impl Schema<'_> {
    /// Notes what is wrong with a value. Null members of an object count as absent; unknown members are no fault here.
    pub fn check(self, value: &Value, path: &Path, errors: &mut Errors) {
        walk(value, self, &Trail::Start(path), errors);
    }
}

fn walk(value: &Value, schema: Schema<'_>, at: &Trail<'_>, errors: &mut Errors) {
    match (schema.kind(), value) {
        (Kind::Object { required, .. }, Value::Object(members)) => {
            check_required(members, required, at, errors);
            for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                if let Some(schema) = schema.member(name) {
                    walk(value, schema, &at.member(name), errors);
                }
            }
        }
        (Kind::Array(item), Value::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, schema.at(item), &at.item(index), errors);
            }
        }
        (Kind::String(allowed), Value::String(text)) => {
            if !allowed.is_empty() && !allowed.contains(text) {
                let allowed: Vec<_> = allowed.iter().map(String::as_str).collect();
                errors.push_with(|| Error::not_supported(&at.path(), text, &allowed));
            }
        }
        (Kind::Time, Value::String(text)) => {
            if text.parse::<jiff::Timestamp>().is_err() {
                let path = at.path();
                let detail = format!("{path} in body must be of type datetime: {text:?}");
                errors.push_with(|| Error::invalid(&path, text, detail));
            }
        }
        (Kind::Integer { is_int32, minimum, maximum }, Value::Number(_)) => match integer(value) {
            Some(integer) => check_integer(integer, *is_int32, (*minimum, *maximum), at, errors),
            None => errors.push_with(|| type_error(value, "integer", at)),
        },
        (Kind::Quantity, Value::String(_) | Value::Number(_)) => check_quantity(value, at, errors),
        (Kind::IntOrString, Value::Number(_)) if integer(value).is_none() => {
            errors.push_with(|| type_error(value, "integer,string", at));
        }
        (Kind::Any | Kind::Reference(_), _)
        | (Kind::Bytes, Value::String(_))
        | (Kind::IntOrString, Value::String(_) | Value::Number(_))
        | (Kind::Number, Value::Number(_))
        | (Kind::Boolean, Value::Bool(_)) => {}
        (kind, value) => errors.push_with(|| type_error(value, kind.name(), at)),
    }
}

impl Kind {
    /// The type's name in messages.
    fn name(&self) -> &'static str {
        match self {
            Self::Object { .. } => "object",
            Self::Array(_) => "array",
            Self::String(_) | Self::Time | Self::Bytes => "string",
            Self::Integer { .. } => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString | Self::Quantity => "integer,string",
            Self::Any | Self::Reference(_) => "any",
        }
    }
}

fn check_required(
    members: &Map<String, Value>,
    required: &[String],
    at: &Trail<'_>,
    errors: &mut Errors,
) {
    for name in required {
        if members.get(name).is_none_or(Value::is_null) {
            errors.push_with(|| Error::required(&at.path().child(name), ""));
        }
    }
}

fn check_integer(
    integer: i64,
    is_int32: bool,
    (minimum, maximum): (Option<i64>, Option<i64>),
    at: &Trail<'_>,
    errors: &mut Errors,
) {
    if is_int32 && i32::try_from(integer).is_err() {
        let path = at.path();
        let detail = format!("Checked value must be of type integer with format int32 in {path}");
        errors.push_with(|| Error::invalid(&path, integer, detail));
    } else if let Some(minimum) = minimum.filter(|minimum| integer < *minimum) {
        let path = at.path();
        let detail = format!("{path} in body should be greater than or equal to {minimum}");
        errors.push_with(|| Error::invalid(&path, integer, detail));
    } else if let Some(maximum) = maximum.filter(|maximum| integer > *maximum) {
        let path = at.path();
        let detail = format!("{path} in body should be less than or equal to {maximum}");
        errors.push_with(|| Error::invalid(&path, integer, detail));
    }
}

fn check_quantity(value: &Value, at: &Trail<'_>, errors: &mut Errors) {
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

/// The fault of a value that is of another type.
pub(crate) fn type_error(value: &Value, wanted: &str, at: &Trail<'_>) -> Error {
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
    let detail = format!("{path} in body must be of type {wanted}: {found:?}");
    Error::type_invalid(&path, found, detail)
}
