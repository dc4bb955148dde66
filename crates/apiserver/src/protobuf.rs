//! Protobuf bodies of the few kinds that command-line clients send only in that form. Since release
//! 1.32 typed Go clients prefer protobuf: `kubectl auth`, `kubectl create role`,
//! `kubectl create token` and others.
//!
//! A body is converted to JSON before anything reads it. The table of messages ([`messages`]) is
//! written by hand and therefore strict: a body with an unknown field is left unchanged and refused
//! with 415, like every other protobuf body. Nothing is dropped silently. Responses are JSON, which
//! those clients accept.

mod messages;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use mxjob_machinery::time::rfc3339;
use serde_json::{Map, Value};

use crate::document;
use crate::request::media_type;

const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// The first bytes of an object in protobuf.
const MAGIC: &[u8] = b"k8s\0";
/// Maximum nesting of messages. The table has no cycles, so this is only a safeguard.
const DEPTH_MAX: usize = 16;

/// A field of a message.
struct Field {
    number: u64,
    name: &'static str,
    of: Type,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Type {
    Text,
    /// Bytes, base64 in JSON.
    Bytes,
    Flag,
    Number,
    /// A time; an empty one is absent.
    Time,
    /// JSON text in a message of its own.
    Raw,
    /// A message that is a list of strings in JSON.
    Wrapped,
    Message(&'static [Field]),
    /// A list.
    Many(&'static Self),
    /// A map with string keys.
    Map(&'static Self),
    /// A field that the server sets; the client's value is ignored.
    Ignored,
}

/// The headers and the body converted to JSON, if the conversion is supported.
pub(crate) fn to_json(headers: &HeaderMap, body: Bytes) -> (Cow<'_, HeaderMap>, Bytes) {
    if media_type(headers, "") != MEDIA_TYPE {
        return (Cow::Borrowed(headers), body);
    }
    let Some(object) = object(&body) else { return (Cow::Borrowed(headers), body) };
    let mut headers = headers.clone();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (Cow::Owned(headers), Bytes::from(document::to_vec(&object)))
}

/// The object in a body: an envelope with its type and its bytes.
fn object(body: &[u8]) -> Option<Value> {
    let envelope = message(body.strip_prefix(MAGIC)?, messages::ENVELOPE, 0)?;
    let said = |field: &str| envelope.get("typeMeta")?.get(field)?.as_str();
    let (version, kind) = (said("apiVersion")?, said("kind")?);
    let raw =
        STANDARD.decode(envelope.get("raw").and_then(Value::as_str).unwrap_or_default()).ok()?;
    let mut object = message(&raw, messages::find(version, kind)?, 0)?;
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    Some(Value::Object(object))
}

fn message(mut bytes: &[u8], fields: &'static [Field], depth: usize) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    if depth > DEPTH_MAX {
        return None;
    }
    while !bytes.is_empty() {
        let (number, wire, rest) = wire(bytes)?;
        bytes = rest;
        let field = fields.iter().find(|field| field.number == number)?;
        let slot = || field.name.to_owned();
        match field.of {
            Type::Ignored => {}
            Type::Many(of) => {
                let item = value(&wire, *of, depth)?;
                object
                    .entry(slot())
                    .or_insert_with(|| Value::Array(Vec::new()))
                    .as_array_mut()?
                    .push(item);
            }
            Type::Map(of) => {
                let (key, item) = entry(wire.bytes()?, *of, depth)?;
                object
                    .entry(slot())
                    .or_insert_with(|| Value::Object(Map::new()))
                    .as_object_mut()?
                    .insert(key, item);
            }
            of => match value(&wire, of, depth)? {
                // Absent fields are written with their empty values.
                Value::Null => {}
                Value::String(text) if text.is_empty() => {}
                value => drop(object.insert(slot(), value)),
            },
        }
    }
    Some(object)
}

fn value(wire: &Wire<'_>, of: Type, depth: usize) -> Option<Value> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
    Some(match of {
        Type::Text => text(wire.bytes()?)?.into(),
        Type::Bytes => STANDARD.encode(wire.bytes()?).into(),
        Type::Flag => (wire.number()? != 0).into(),
        Type::Number => wire.number()?.cast_signed().into(),
        Type::Message(fields) => Value::Object(message(wire.bytes()?, fields, depth + 1)?),
        Type::Raw => {
            let raw = message(wire.bytes()?, messages::RAW, depth + 1)?;
            let raw =
                STANDARD.decode(raw.get("raw").and_then(Value::as_str).unwrap_or_default()).ok()?;
            serde_json::from_slice(&raw).ok()?
        }
        Type::Wrapped => {
            let mut list = message(wire.bytes()?, messages::TEXTS, depth + 1)?;
            list.remove("items").unwrap_or_else(|| Value::Array(Vec::new()))
        }
        Type::Time => {
            let time = message(wire.bytes()?, messages::TIME, depth + 1)?;
            match time.get("seconds").and_then(Value::as_i64) {
                Some(seconds) => rfc3339(Timestamp::from_second(seconds).ok()?).into(),
                None => Value::Null,
            }
        }
        Type::Many(_) | Type::Map(_) | Type::Ignored => return None,
    })
}

/// An entry of a map: a message of key and value; an empty one may be absent.
fn entry(mut bytes: &[u8], of: Type, depth: usize) -> Option<(String, Value)> {
    let (mut key, mut item) = (String::new(), None);
    while !bytes.is_empty() {
        let (number, wire, rest) = wire(bytes)?;
        bytes = rest;
        match number {
            1 => std::str::from_utf8(wire.bytes()?).ok()?.clone_into(&mut key),
            2 => item = Some(value(&wire, of, depth + 1)?),
            _ => return None,
        }
    }
    let item = match item {
        Some(item) => item,
        None => value(&Wire::Bytes(&[]), of, depth + 1)?,
    };
    Some((key, item))
}

/// A wire value. Fixed-width numbers do not occur in these messages.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Bytes(_) => None,
        }
    }

    fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }
}

/// Number and value of the first field, and the remaining bytes.
fn wire(bytes: &[u8]) -> Option<(u64, Wire<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    match tag & 7 {
        0 => {
            let (number, rest) = varint(rest)?;
            Some((tag >> 3, Wire::Number(number), rest))
        }
        2 => {
            let (length, rest) = varint(rest)?;
            let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((tag >> 3, Wire::Bytes(content), rest))
        }
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).checked_shl(u32::try_from(index).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests;
