//! Requests and responses in protobuf, as Go clients send and read them.

mod negotiation;
mod objects;
mod watches;

use mxjob_protobuf::{MEDIA_TYPE, decode, encode};
use serde_json::Value;

use crate::server::{Answer, Server};

const LIMIT: usize = 10_000_000;
const AUTH: (&str, &str) = ("authorization", "Bearer good");

/// Sends a body in protobuf, and asks for protobuf.
async fn send(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let bytes = if body.is_null() { Vec::new() } else { encode(body).unwrap() };
    let headers = [AUTH, ("content-type", MEDIA_TYPE), ("accept", MEDIA_TYPE)];
    server.raw(method, path, &headers, &bytes).await
}

/// The object or the status in an answer.
fn object(answer: &Answer) -> Value {
    assert_eq!(answer.headers["content-type"], MEDIA_TYPE, "{}", answer.text);
    decode(&answer.bytes, ("", ""), LIMIT).unwrap_or_else(|error| panic!("{error} {}", answer.text))
}

/// Number and content of the fields of a message; of numbers, what they count.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    let varint = |bytes: &mut &[u8]| {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    };
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let number = varint(&mut bytes);
        let content = match tag & 7 {
            0 => number.to_string().into_bytes(),
            2 => {
                let (content, rest) = bytes.split_at(usize::try_from(number).unwrap());
                bytes = rest;
                content.to_vec()
            }
            other => panic!("{other}"),
        };
        fields.push((tag >> 3, content));
    }
    fields
}

/// The content of one field.
fn field(bytes: &[u8], number: u64) -> Vec<u8> {
    let found = fields(bytes).into_iter().find(|field| field.0 == number);
    found.unwrap_or_else(|| panic!("no field {number}")).1
}

/// Kind and content of an envelope.
fn opened(bytes: &[u8]) -> (String, Vec<u8>) {
    let envelope = bytes.strip_prefix(b"k8s\0").unwrap();
    let kind = field(envelope, 1);
    let text = |number| String::from_utf8(field(&kind, number)).unwrap();
    (format!("{} {}", text(1), text(2)), field(envelope, 2))
}

/// The name of each object in a list.
fn names(list: &[u8]) -> Vec<String> {
    let items = fields(list).into_iter().filter(|field| field.0 == 2);
    items.map(|(_, item)| String::from_utf8(field(&field(&item, 1), 1)).unwrap()).collect()
}
