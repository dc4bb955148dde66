//! The gRPC health check, `grpc.health.v1.Health/Check`, over HTTP/2 without TLS. Its two messages
//! have one field each.

use std::net::Ipv4Addr;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{
    HeaderMap, Request,
    header::{CONTENT_TYPE, TE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mxjob_protobuf::wire::{Reader, Wire, put_bytes};
use tokio::task::JoinSet;

use super::{Answer, MAX_OUTPUT, connect, http::AGENT};

/// The status of a healthy service.
const SERVING: u64 = 1;

/// The gRPC code of a server without the method.
const UNIMPLEMENTED: &str = "12";

/// Asks for the health of a service.
pub(super) async fn check(address: Ipv4Addr, port: u16, service: &str) -> Answer {
    match call(address, port, service).await {
        Ok(SERVING) => Answer::Success,
        Ok(status) => {
            let name = match status {
                0 => "UNKNOWN",
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "an unknown status",
            };
            Answer::Failure(format!("service unhealthy (responded with {name:?})"))
        }
        Err(why) => Answer::Failure(why),
    }
}

async fn call(address: Ipv4Addr, port: u16, service: &str) -> Result<u64, String> {
    let refused = |why: String| {
        format!("error: failed to connect service \"{address}:{port}\": connection error: {why}")
    };
    let failed = |why: String| format!("error: health rpc probe failed: {why}");
    let stream = connect(None, port, address).await.map_err(refused)?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| refused(error.to_string()))?;
    // The connection ends when the set is dropped.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let uri = format!("http://{address}:{port}/grpc.health.v1.Health/Check");
    let request = Request::post(uri)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, AGENT)
        .body(Full::new(encode(service)))
        .map_err(|error| failed(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    let (parts, mut body) = response.into_parts();
    if parts.status != http::StatusCode::OK {
        return Err(failed(format!("HTTP status {}", parts.status)));
    }
    // A call that fails at once has its status in the headers.
    verify(&parts.headers)?;
    let mut message = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(error.to_string()))?;
        if let Some(trailers) = frame.trailers_ref() {
            verify(trailers)?;
        } else if let Some(data) = frame.data_ref() {
            message.extend_from_slice(data);
        }
        if message.len() > MAX_OUTPUT {
            return Err(failed("the answer is too long".to_owned()));
        }
    }
    decode(&message).ok_or_else(|| failed("the answer is not a health response".to_owned()))
}

/// Verifies that the status of the call, where it is given, is success.
fn verify(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let why = text("grpc-message").unwrap_or_default();
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(UNIMPLEMENTED) => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {why}"
        )),
        Some(code) => {
            Err(format!("error: health rpc probe failed: rpc error: code = {code} desc = {why}"))
        }
    }
}

/// A request, as one message of the stream: a flag for compression, the length, and field 1 with
/// the name of the service.
fn encode(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        put_bytes(&mut message, 1, service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

/// The status of a response: field 1, which is left out when it is 0.
fn decode(frame: &[u8]) -> Option<u64> {
    let (head, message) = frame.split_at_checked(5)?;
    let length: [u8; 4] = head.get(1..)?.try_into().ok()?;
    let matches = head.first() == Some(&0) && u32::from_be_bytes(length) as usize == message.len();
    matches.then_some(())?;
    let mut status = 0;
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field().ok()? {
        if let (1, Wire::Number(number)) = field {
            status = number;
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_the_service() {
        assert_eq!(encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(encode("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = encode(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        assert_eq!(long.len(), 308);
    }

    #[test]
    fn responses_have_a_status() {
        for (frame, expect) in [
            (&[0, 0, 0, 0, 0][..], Some(0)),
            (&[0, 0, 0, 0, 2, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            // Unknown fields are passed over.
            (&[0, 0, 0, 0, 5, 0x12, 1, 9, 8, 1], Some(1)),
            (&[], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 2, 8, 0x80], None),
            (&[0, 0, 0, 0, 2, 0x12, 9], None),
            (&[0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], None),
        ] {
            assert_eq!(decode(frame), expect, "{frame:?}");
        }
    }
}
