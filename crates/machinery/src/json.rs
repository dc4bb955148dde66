//! JSON in and out: decoding with Go's messages, duplicate keys, comparison by value.
//!
//! Well-formed bodies take the fast path of `serde_json`; only what that refuses is read again by
//! a small parser that says what is wrong as Go's decoder would, or accepts what Go accepts
//! (broken UTF-8 and lone surrogates become U+FFFD).

mod number;
mod parser;

use serde_json::Value;

/// How deep objects and lists may nest. Go allows 10,000; nothing real comes near 127, and every
/// recursive walk of an object stays within a small stack.
pub const MAX_DEPTH: usize = 127;

/// Why a document is not JSON, as Go's `encoding/json` words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(crate) String);

/// Decodes a JSON document. Of a duplicate key the last value counts.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(_) => parser::parse(bytes, &mut Vec::new()),
    }
}

/// Decodes a JSON document and names the fields that occur twice in an object, as dotted paths
/// (`spec.list[0].name`) in the order of their second occurrence, each once, at most a hundred.
pub fn decode_reporting_duplicates(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    let mut duplicates = Vec::new();
    let value = parser::parse(bytes, &mut duplicates)?;
    Ok((value, duplicates))
}

/// Whether two values are equal, numbers by what they count: `1` is `1.0`.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number::equal(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((key_a, a), (key_b, b))| key_a == key_b && equal(a, b))
        }
        (a, b) => a == b,
    }
}

/// The string under a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of the list under a JSON pointer; empty where there is none.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What Go calls the type of a value in its messages.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether objects and lists nest no deeper than [`MAX_DEPTH`], so that what is written can be read
/// again. A patch can build what no body may bring.
pub fn is_shallow(value: &Value) -> bool {
    fn within(value: &Value, levels: usize) -> bool {
        match value {
            Value::Array(items) => levels > 0 && items.iter().all(|item| within(item, levels - 1)),
            Value::Object(map) => levels > 0 && map.values().all(|value| within(value, levels - 1)),
            _ => true,
        }
    }
    within(value, MAX_DEPTH)
}

/// How many bytes the value has as compact JSON.
pub fn encoded_len(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        // Neither the value nor the writer can fail; if they did, "too large" is the safe answer.
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests;
