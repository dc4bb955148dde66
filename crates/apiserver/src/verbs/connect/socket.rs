//! The WebSocket of a connection: its handshake and its messages.

use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::SplitStream;
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use mxjob_serve::Takeover;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::body::{Body, full};
use crate::error::ApiError;

/// The GUID for computing the accept key (RFC 6455, section 1.3).
const ANSWER_SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The largest accepted message in bytes; clients send at most 64 KiB.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// Number of queued outgoing messages before senders wait.
const OUTBOUND: usize = 16;
/// Interval of pings on a silent connection. While a command or a port accepts no input, nothing is
/// read from the client, so only a failed write shows that it is gone.
const PING_EVERY: Duration = Duration::from_secs(15);

/// The protocol inside the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Messages that begin with the number of their channel.
    V4,
    /// The same, with messages that close a channel.
    V5,
    /// SPDY frames, for `kubectl port-forward`.
    PortForward,
}

/// The client is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vanished;

/// A valid request for an upgrade to WebSocket.
pub(super) struct Handshake {
    answer: HeaderValue,
    protocol: Protocol,
    upgrade: OnUpgrade,
}

pub(super) type Stream = WebSocketStream<TokioIo<Upgraded>>;
pub(super) type Incoming = SplitStream<Stream>;
/// Sends messages to the client.
pub(super) type Outbound = mpsc::Sender<Message>;

// === impl Protocol ===

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
            Self::PortForward => "SPDY/3.1+portforward.k8s.io",
        }
    }
}

// === impl Handshake ===

impl Handshake {
    /// Reads the headers of RFC 6455. `offered` are the supported protocols, the best first.
    pub(super) fn read(
        headers: &HeaderMap,
        upgrade: Option<&OnUpgrade>,
        offered: &[Protocol],
    ) -> Result<Self, ApiError> {
        if !headers.contains_key(header::UPGRADE) {
            return Err(ApiError::bad_request("Upgrade request required"));
        }
        if !has(headers, header::UPGRADE, "websocket")
            || !has(headers, header::CONNECTION, "upgrade")
        {
            return Err(ApiError::bad_request(
                "this server upgrades connections to WebSocket only; kubectl does so from version 1.31 on, or with KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true and KUBECTL_PORT_FORWARD_WEBSOCKETS=true",
            ));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        let (Some(key), Some(b"13")) = (key, version.map(HeaderValue::as_bytes)) else {
            return Err(ApiError::bad_request(
                "unable to upgrade: the WebSocket handshake is broken",
            ));
        };
        let asked = |protocol: &&Protocol| {
            words(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|word| word == protocol.name())
        };
        let Some(&protocol) = offered.iter().find(asked) else {
            let names: Vec<_> = offered.iter().map(|protocol| protocol.name()).collect();
            return Err(ApiError::bad_request(format!(
                "unable to upgrade: unable to negotiate a protocol: this server has {}",
                names.join(", ")
            )));
        };
        let Some(upgrade) = upgrade else {
            return Err(ApiError::bad_request(
                "unable to upgrade: only connections of HTTP/1.1 can be upgraded",
            ));
        };
        let answer = answer_to(key.as_bytes())?;
        Ok(Self { answer, protocol, upgrade: upgrade.clone() })
    }

    /// The response, with the work that uses the connection afterwards.
    pub(super) fn accept<F>(
        self,
        work: impl FnOnce(Stream, Protocol) -> F + Send + 'static,
    ) -> Response<Body>
    where
        F: Future<Output = ()> + Send,
    {
        let Self { answer, protocol, upgrade } = self;
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, answer);
        let name = HeaderValue::from_static(protocol.name());
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        response.extensions_mut().insert(Takeover::new(async move {
            let upgraded = match upgrade.await {
                Ok(upgraded) => TokioIo::new(upgraded),
                Err(error) => {
                    tracing::debug!(%error, "connection failed before its upgrade");
                    return;
                }
            };
            let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX));
            let stream = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config));
            work(stream.await, protocol).await;
        }));
        response
    }
}

fn words(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

fn answer_to(key: &[u8]) -> Result<HeaderValue, ApiError> {
    let salted = [key, ANSWER_SALT.as_bytes()].concat();
    let answer = BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted));
    HeaderValue::from_str(&answer).map_err(ApiError::internal)
}

/// Splits a socket into incoming messages, a sender, and the future that writes the sent messages.
/// The future closes the connection once every sender is dropped.
pub(super) fn split(
    stream: Stream,
) -> (Incoming, Outbound, impl Future<Output = Result<(), Vanished>> + Send) {
    let (sink, incoming) = stream.split();
    let (sender, receiver) = mpsc::channel(OUTBOUND);
    (incoming, sender, carry(sink, receiver, PING_EVERY))
}

async fn carry<S: Sink<Message> + Unpin>(
    mut sink: S,
    mut messages: mpsc::Receiver<Message>,
    ping_every: Duration,
) -> Result<(), Vanished> {
    loop {
        // The client may not be read at the moment; a write shows whether it is still there.
        let message = match timeout(ping_every, messages.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(_) => Message::Ping(Bytes::new()),
        };
        sink.send(message).await.map_err(|_| Vanished)?;
    }
    // Clients treat a close without a code as an error.
    let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    sink.send(Message::Close(Some(frame))).await.map_err(|_| Vanished)
}

/// The next message with content; `None` when the client closes or has disconnected.
pub(super) async fn next(incoming: &mut Incoming) -> Option<Bytes> {
    loop {
        match incoming.next().await? {
            Ok(Message::Binary(data)) => return Some(data),
            Ok(Message::Text(text)) => return Some(text.into()),
            // The WebSocket library responds to pings.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Close(_)) | Err(_) => return None,
        }
    }
}

/// A message for a channel.
pub(super) fn on_channel(channel: u8, data: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(1 + data.len());
    message.put_u8(channel);
    message.put_slice(data);
    Message::Binary(message.freeze())
}

/// The channel and the content of a message.
pub(super) fn channel_of(mut message: Bytes) -> Option<(u8, Bytes)> {
    let &channel = message.first()?;
    let content = message.split_off(1);
    Some((channel, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfcs_example() {
        let answer = answer_to(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn a_disconnected_client_is_detected_on_a_silent_connection() {
        let (sender, receiver) = mpsc::channel(1);
        let sink = futures_util::sink::unfold((), |(), message: Message| async move {
            if matches!(message, Message::Ping(_)) { Err(()) } else { Ok(()) }
        });
        sender.send(on_channel(1, b"a")).await.unwrap();
        let carried = carry(Box::pin(sink), receiver, Duration::from_millis(1)).await;
        assert!(matches!(carried, Err(Vanished)));
        drop(sender);
    }

    #[test]
    fn messages_begin_with_the_number_of_their_channel() {
        assert_eq!(on_channel(1, b"ab"), Message::Binary(Bytes::from_static(b"\x01ab")));
        let (channel, content) = channel_of(Bytes::from_static(b"\x04{}")).unwrap();
        assert_eq!((channel, content.as_ref()), (4, b"{}".as_slice()));
        assert_eq!(channel_of(Bytes::from_static(b"\x01")), Some((1, Bytes::new())));
        assert_eq!(channel_of(Bytes::new()), None);
    }

    #[test]
    fn header_tokens_are_found_in_lists_case_insensitively() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(has(&headers, header::CONNECTION, "upgrade"));
        assert!(!has(&headers, header::UPGRADE, "websocket"));
    }
}
