//! Version 2 in protobuf, the only form that older Go clients request (`kubectl` up to release
//! 1.28, `helm`).
//!
//! The messages are those of gnostic's published `OpenAPIv2.proto`, as far as our document has such
//! members. A table drives the conversion from JSON; members that are not in the table do not exist
//! in version 2.

use serde_json::{Map, Value};

/// The member's name in JSON, the field's number, and its type.
type Field = (&'static str, u32, Of);

/// The type of a field.
#[derive(Clone, Copy)]
enum Of {
    Text,
    Flag,
    Number,
    /// A value of any type, as YAML (JSON is YAML).
    Any,
    /// A message.
    One(&'static [Field]),
    /// A message that wraps the message, as the field with this number.
    In(u32, &'static Self),
    /// The same for each item of a list, or for a single value.
    Each(&'static Self),
    /// A message whose repeated field with this number has the entries of a map, as names and
    /// values.
    Entries(u32, &'static Self),
    /// A parameter: its message depends on its location.
    Parameter,
}

/// Stands for every member whose name begins with `x-`.
const EXTENSIONS: &str = "x-";

const DOCUMENT: &[Field] = &[
    ("swagger", 1, Of::Text),
    ("info", 2, Of::One(&[("title", 1, Of::Text), ("version", 2, Of::Text)])),
    ("paths", 8, Of::Entries(2, &Of::One(PATH_ITEM))),
    ("definitions", 9, Of::Entries(1, &Of::One(&SCHEMA))),
];

const PATH_ITEM: &[Field] = &[
    ("get", 2, Of::One(OPERATION)),
    ("put", 3, Of::One(OPERATION)),
    ("post", 4, Of::One(OPERATION)),
    ("delete", 5, Of::One(OPERATION)),
    ("patch", 8, Of::One(OPERATION)),
    ("parameters", 9, Of::Each(&Of::Parameter)),
];

const OPERATION: &[Field] = &[
    ("tags", 1, Of::Each(&Of::Text)),
    ("description", 3, Of::Text),
    ("operationId", 5, Of::Text),
    ("produces", 6, Of::Each(&Of::Text)),
    ("consumes", 7, Of::Each(&Of::Text)),
    ("parameters", 8, Of::Each(&Of::Parameter)),
    ("responses", 9, Of::Entries(1, &Of::In(1, &Of::One(RESPONSE)))),
    ("schemes", 10, Of::Each(&Of::Text)),
    (EXTENSIONS, 13, Of::Any),
];

const RESPONSE: &[Field] =
    &[("description", 1, Of::Text), ("schema", 2, Of::In(1, &Of::One(&SCHEMA)))];

const BODY_PARAMETER: &[Field] = &[
    ("description", 1, Of::Text),
    ("name", 2, Of::Text),
    ("in", 3, Of::Text),
    ("required", 4, Of::Flag),
    ("schema", 5, Of::One(&SCHEMA)),
];

const QUERY_PARAMETER: &[Field] = &[
    ("required", 1, Of::Flag),
    ("in", 2, Of::Text),
    ("description", 3, Of::Text),
    ("name", 4, Of::Text),
    ("type", 6, Of::Text),
    ("uniqueItems", 20, Of::Flag),
];

const PATH_PARAMETER: &[Field] = &[
    ("required", 1, Of::Flag),
    ("in", 2, Of::Text),
    ("description", 3, Of::Text),
    ("name", 4, Of::Text),
    ("type", 5, Of::Text),
    ("uniqueItems", 19, Of::Flag),
];

static SCHEMA: [Field; 13] = [
    ("$ref", 1, Of::Text),
    ("format", 2, Of::Text),
    ("description", 4, Of::Text),
    ("maximum", 7, Of::Number),
    ("minimum", 9, Of::Number),
    ("pattern", 13, Of::Text),
    ("required", 19, Of::Each(&Of::Text)),
    ("enum", 20, Of::Each(&Of::Any)),
    ("additionalProperties", 21, Of::In(1, &Of::One(&SCHEMA))),
    ("type", 22, Of::In(1, &Of::Text)),
    ("items", 23, Of::In(1, &Of::One(&SCHEMA))),
    ("properties", 25, Of::Entries(1, &Of::One(&SCHEMA))),
    (EXTENSIONS, 31, Of::Any),
];

/// The version 2 document, converted from JSON to protobuf.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    message(document, DOCUMENT)
}

fn message(value: &Value, fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(members) = value.as_object() else { return out };
    for (name, number, of) in fields {
        if *name == EXTENSIONS {
            extensions(&mut out, members, *number);
        } else if let Some(value) = members.get(*name) {
            field(&mut out, *number, value, *of);
        }
    }
    out
}

fn extensions(out: &mut Vec<u8>, members: &Map<String, Value>, number: u32) {
    for (name, value) in members.iter().filter(|(name, _)| name.starts_with(EXTENSIONS)) {
        named(out, number, name, value, Of::Any);
    }
}

fn field(out: &mut Vec<u8>, number: u32, value: &Value, of: Of) {
    match of {
        Of::Text => bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Of::Flag => {
            tag(out, number, 0);
            varint(out, value.as_bool().unwrap_or_default().into());
        }
        Of::Number => {
            tag(out, number, 1);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Of::Any => {
            let mut any = Vec::new();
            bytes(&mut any, 2, format!("{value}\n").as_bytes());
            bytes(out, number, &any);
        }
        Of::One(fields) => bytes(out, number, &message(value, fields)),
        Of::In(inner, of) => {
            let mut around = Vec::new();
            field(&mut around, inner, value, *of);
            bytes(out, number, &around);
        }
        Of::Each(of) => {
            for item in value.as_array().into_iter().flatten() {
                field(out, number, item, *of);
            }
        }
        Of::Entries(inner, of) => {
            let mut entries = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                named(&mut entries, inner, name, value, *of);
            }
            bytes(out, number, &entries);
        }
        Of::Parameter => parameter(out, number, value),
    }
}

fn parameter(out: &mut Vec<u8>, number: u32, value: &Value) {
    const BODY: Of = Of::In(1, &Of::One(BODY_PARAMETER));
    const QUERY: Of = Of::In(2, &Of::In(3, &Of::One(QUERY_PARAMETER)));
    const PATH: Of = Of::In(2, &Of::In(4, &Of::One(PATH_PARAMETER)));
    let of = match value.get("in").and_then(Value::as_str) {
        Some("body") => BODY,
        Some("path") => PATH,
        _ => QUERY,
    };
    let mut item = Vec::new();
    field(&mut item, 1, value, of);
    bytes(out, number, &item);
}

/// An entry of a map: its name as field 1, its value as field 2.
fn named(out: &mut Vec<u8>, number: u32, name: &str, value: &Value, of: Of) {
    let mut entry = Vec::new();
    bytes(&mut entry, 1, name.as_bytes());
    field(&mut entry, 2, value, of);
    bytes(out, number, &entry);
}

fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    tag(out, number, 2);
    varint(out, u64::try_from(content.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(content);
}

fn tag(out: &mut Vec<u8>, number: u32, wire: u32) {
    varint(out, u64::from(number << 3 | wire));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, of: Of, expected: &[u8]) {
        let mut out = Vec::new();
        field(&mut out, 1, value, of);
        assert_eq!(out, expected, "{value}");
    }

    #[test]
    fn values_are_encoded_in_the_wire_format() {
        check(&json!("ab"), Of::Text, b"\x0a\x02ab");
        check(&json!(["a", "b"]), Of::Each(&Of::Text), b"\x0a\x01a\x0a\x01b");
        check(&json!(true), Of::Flag, b"\x08\x01");
        check(&json!(1.0), Of::Number, b"\x09\0\0\0\0\0\0\xf0\x3f");
        check(&json!("x"), Of::Any, b"\x0a\x06\x12\x04\"x\"\n");
        check(&json!("a"), Of::In(2, &Of::Text), b"\x0a\x03\x12\x01a");
        check(&json!({"k": "v"}), Of::Entries(1, &Of::Text), b"\x0a\x08\x0a\x06\x0a\x01k\x12\x01v");
    }

    #[test]
    fn long_content_and_high_field_numbers_take_more_bytes() {
        let mut out = Vec::new();
        bytes(&mut out, 31, &[b'x'; 300]);
        assert_eq!(out.get(..4), Some(&[0xfa, 0x01, 0xac, 0x02][..]));
        assert_eq!(out.len(), 304);
    }

    #[test]
    fn parameters_are_encoded_by_their_location() {
        check(
            &json!({"in": "path", "name": "n"}),
            Of::Parameter,
            b"\x0a\x0f\x0a\x0d\x12\x0b\x22\x09\x12\x04path\x22\x01n",
        );
        check(
            &json!({"in": "body", "name": "n"}),
            Of::Parameter,
            b"\x0a\x0d\x0a\x0b\x0a\x09\x12\x01n\x1a\x04body",
        );
    }
}
