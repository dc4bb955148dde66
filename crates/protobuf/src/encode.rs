//! JSON to messages, byte for byte as Go writes them.
//!
//! What a message does not have is left out, and so is what has another type than the message says:
//! both can only be in objects that another version of the program stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mxjob_machinery::schema::integer;
use serde_json::{Map, Value};

use crate::int_or_string;
use crate::table::{Field, Message, Presence, Shape, Table, Type};
use crate::time::{self, Precision};
use crate::wire::{put_bytes, put_fixed64, put_nested, put_number};

/// Appends the fields of a message. Without an object all of them have their zero values.
pub(crate) fn put_message(
    out: &mut Vec<u8>,
    message: &Message,
    object: Option<&Map<String, Value>>,
) {
    for field in &message.0 {
        match (field.shape, field.of) {
            (Shape::One, Type::Message(inner)) if field.is_inline() => {
                let inner = Table::get().message(inner);
                put_nested(out, field.number, |out| put_message(out, inner, object));
            }
            _ => {
                let found = object.and_then(|object| object.get(field.name));
                put_field(out, field, found.filter(|value| !value.is_null()));
            }
        }
    }
}

fn put_field(out: &mut Vec<u8>, field: &Field, found: Option<&Value>) {
    match (field.shape, found) {
        (Shape::One, Some(found)) => value(out, field.number, field.of, found),
        (Shape::One, None) if field.presence != Presence::Pointer => {
            zero(out, field.number, field.of);
        }
        (Shape::List, Some(Value::Array(items))) => {
            for item in items {
                self::item(out, field.number, field.of, item);
            }
        }
        (Shape::Map, Some(Value::Object(entries))) => {
            for (key, item) in entries {
                put_nested(out, field.number, |out| {
                    put_bytes(out, 1, key.as_bytes());
                    self::item(out, 2, field.of, item);
                });
            }
        }
        (Shape::One | Shape::List | Shape::Map, _) => {}
    }
}

/// Appends an item of a list or the value in a map, where null is zero.
fn item(out: &mut Vec<u8>, number: u32, of: Type, found: &Value) {
    if found.is_null() && of != Type::Raw {
        zero(out, number, of);
    } else {
        value(out, number, of, found);
    }
}

/// Appends what Go writes where nothing was set.
fn zero(out: &mut Vec<u8>, number: u32, of: Type) {
    match of {
        Type::Text | Type::Time | Type::MicroTime | Type::Raw => put_bytes(out, number, &[]),
        Type::Flag | Type::Int32 | Type::Int64 => put_number(out, number, 0),
        Type::Double => put_fixed64(out, number, 0),
        Type::Quantity => put_nested(out, number, |out| put_bytes(out, 1, b"0")),
        Type::IntOrString => {
            put_nested(out, number, |out| int_or_string::write(out, &Value::Null));
        }
        Type::Message(inner) => {
            put_nested(out, number, |out| put_message(out, Table::get().message(inner), None));
        }
        // Lists, in Go as well: nothing is nothing.
        Type::Bytes | Type::Texts => {}
        // Always pointers.
        Type::SchemaOrSchemas | Type::SchemaOrFlag | Type::SchemaOrTexts => {}
    }
}

fn value(out: &mut Vec<u8>, number: u32, of: Type, value: &Value) {
    match (of, value) {
        (Type::Text, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Type::Flag, Value::Bool(flag)) => put_number(out, number, u64::from(*flag)),
        (Type::Int32 | Type::Int64, Value::Number(_)) => {
            if let Some(integer) = integer(value) {
                put_number(out, number, integer.cast_unsigned());
            }
        }
        (Type::Double, Value::Number(float)) => {
            put_fixed64(out, number, float.as_f64().unwrap_or_default().to_bits());
        }
        (Type::Bytes, Value::String(text)) => {
            if let Ok(bytes) = STANDARD.decode(text) {
                put_bytes(out, number, &bytes);
            }
        }
        (Type::Quantity, Value::String(text)) => {
            put_nested(out, number, |out| put_bytes(out, 1, text.as_bytes()));
        }
        (Type::Quantity, Value::Number(amount)) => {
            put_nested(out, number, |out| put_bytes(out, 1, amount.to_string().as_bytes()));
        }
        (Type::IntOrString, Value::Number(_) | Value::String(_)) => {
            put_nested(out, number, |out| int_or_string::write(out, value));
        }
        (Type::Time, Value::String(text)) => {
            put_nested(out, number, |out| time::write(out, text, Precision::Seconds));
        }
        (Type::MicroTime, Value::String(text)) => {
            put_nested(out, number, |out| time::write(out, text, Precision::Micros));
        }
        (Type::Raw, value) => {
            let json = serde_json::to_vec(value).unwrap_or_default();
            put_nested(out, number, |out| put_bytes(out, 1, &json));
        }
        (Type::Texts, Value::Array(items)) => {
            put_nested(out, number, |out| texts(out, 1, items));
        }
        (Type::SchemaOrSchemas | Type::SchemaOrFlag | Type::SchemaOrTexts, value) => {
            put_nested(out, number, |out| schema_or(out, of, value));
        }
        (Type::Message(inner), Value::Object(object)) => {
            let inner = Table::get().message(inner);
            put_nested(out, number, |out| put_message(out, inner, Some(object)));
        }
        _ => {}
    }
}

fn texts(out: &mut Vec<u8>, number: u32, items: &[Value]) {
    for text in items.iter().filter_map(Value::as_str) {
        put_bytes(out, number, text.as_bytes());
    }
}

/// Appends the fields of a schema or something else; see the decoder.
fn schema_or(out: &mut Vec<u8>, of: Type, value: &Value) {
    let flag = of == Type::SchemaOrFlag;
    match value {
        Value::Bool(allows) if flag => put_number(out, 1, u64::from(*allows)),
        Value::Object(_) if flag => {
            put_number(out, 1, 1);
            schema(out, 2, value);
        }
        Value::Object(_) => schema(out, 1, value),
        Value::Array(items) if of == Type::SchemaOrSchemas => {
            items.iter().for_each(|item| schema(out, 2, item));
        }
        Value::Array(items) if of == Type::SchemaOrTexts => texts(out, 2, items),
        _ => {}
    }
}

fn schema(out: &mut Vec<u8>, number: u32, value: &Value) {
    if let Some(fields) = Table::get().json_schema() {
        put_nested(out, number, |out| put_message(out, fields, value.as_object()));
    }
}
