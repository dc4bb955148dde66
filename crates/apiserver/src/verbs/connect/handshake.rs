//! The handshake of a WebSocket, and the protocols that clients ask for in it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mxjob_access::authn::TOKEN_PROTOCOL;
use mxjob_serve::Takeover;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::socket::{Framing, MESSAGE_MAX, Stream};
use crate::body::{Body, full};
use crate::error::ApiError;

/// The GUID for computing the accept key (RFC 6455, section 1.3).
const ANSWER_SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The protocol inside a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The client names none: binary messages.
    Unnamed,
    /// Messages that begin with the number of their channel; errors are text.
    Channel,
    /// The same in base64.
    Base64Channel,
    /// As [`Self::Channel`], but the last message on the error channel is a `Status`.
    V4,
    /// The same in base64.
    Base64V4,
    /// As [`Self::V4`], with messages that close a channel.
    V5,
    /// One stream of bytes.
    Bytes,
    /// The same in base64.
    Base64Bytes,
    /// SPDY frames, for `kubectl port-forward`.
    PortForward,
}

/// A valid request for an upgrade to WebSocket.
pub(super) struct Handshake {
    answer: HeaderValue,
    protocol: Protocol,
    /// The name of the protocol, unless the client named none.
    name: Option<HeaderValue>,
    upgrade: OnUpgrade,
}

// === impl Protocol ===

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Unnamed => "",
            Self::Channel => "channel.k8s.io",
            Self::Base64Channel => "base64.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::Base64V4 => "v4.base64.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
            Self::Bytes => "binary.k8s.io",
            Self::Base64Bytes => "base64.binary.k8s.io",
            Self::PortForward => "SPDY/3.1+portforward.k8s.io",
        }
    }

    /// How messages carry bytes.
    pub(super) const fn framing(self) -> Framing {
        match self {
            Self::Base64Channel | Self::Base64V4 | Self::Base64Bytes => Framing::Base64,
            _ => Framing::Binary,
        }
    }

    /// Whether the result of a command is a `Status`; otherwise it is a text, and only for errors.
    pub(super) const fn reports_status(self) -> bool {
        matches!(self, Self::V4 | Self::Base64V4 | Self::V5)
    }
}

// === impl Handshake ===

impl Handshake {
    /// Reads the headers. `offered` are the protocols that this server has for the request.
    pub(super) fn read(
        headers: &HeaderMap,
        upgrade: Option<&OnUpgrade>,
        offered: &[Protocol],
    ) -> Result<Self, ApiError> {
        if !headers.contains_key(header::UPGRADE) {
            return Err(ApiError::bad_request("Upgrade request required"));
        }
        if !is_requested(headers) {
            return Err(ApiError::bad_request(
                "this server upgrades connections to WebSocket only; kubectl does so from version 1.31 on, or with KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true and KUBECTL_PORT_FORWARD_WEBSOCKETS=true",
            ));
        }
        let mut asked = protocols(headers).peekable();
        let chosen = if asked.peek().is_none() {
            offered.iter().find(|offer| **offer == Protocol::Unnamed)
        } else {
            // The client names the protocols in the order of its preference.
            asked.find_map(|name| offered.iter().find(|offer| offer.name() == name))
        };
        let Some(&protocol) = chosen else {
            let names: Vec<_> =
                offered.iter().map(|offer| offer.name()).filter(|name| !name.is_empty()).collect();
            return Err(ApiError::bad_request(format!(
                "unable to upgrade: unable to negotiate a protocol: this server has {}",
                names.join(", ")
            )));
        };
        Self::with(headers, upgrade, protocol, Some(protocol.name()))
    }

    /// The same for messages that are the same in every protocol: clients that name some need one
    /// of the names in the response.
    pub(super) fn read_any(
        headers: &HeaderMap,
        upgrade: Option<&OnUpgrade>,
    ) -> Result<Self, ApiError> {
        Self::with(headers, upgrade, Protocol::Unnamed, protocols(headers).next())
    }

    /// Checks what RFC 6455 requires.
    fn with(
        headers: &HeaderMap,
        upgrade: Option<&OnUpgrade>,
        protocol: Protocol,
        name: Option<&str>,
    ) -> Result<Self, ApiError> {
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        let (Some(key), Some(b"13")) = (key, version.map(HeaderValue::as_bytes)) else {
            return Err(ApiError::bad_request(
                "unable to upgrade: the WebSocket handshake is broken",
            ));
        };
        let Some(upgrade) = upgrade else {
            return Err(ApiError::bad_request(
                "unable to upgrade: only connections of HTTP/1.1 can be upgraded",
            ));
        };
        let answer = answer_to(key.as_bytes())?;
        let name = name
            .filter(|name| !name.is_empty())
            .map(HeaderValue::from_str)
            .transpose()
            .map_err(ApiError::internal)?;
        Ok(Self { answer, protocol, name, upgrade: upgrade.clone() })
    }

    /// The response, with the work that uses the connection afterwards.
    pub(super) fn accept<F>(
        self,
        work: impl FnOnce(Stream, Protocol) -> F + Send + 'static,
    ) -> Response<Body>
    where
        F: Future<Output = ()> + Send,
    {
        let Self { answer, protocol, name, upgrade } = self;
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, answer);
        if let Some(name) = name {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        response.extensions_mut().insert(Takeover::new(async move {
            let upgraded = match upgrade.await {
                Ok(upgraded) => TokioIo::new(upgraded),
                Err(error) => {
                    tracing::debug!(%error, "connection failed before its upgrade");
                    return;
                }
            };
            let config = WebSocketConfig::default()
                .max_message_size(Some(MESSAGE_MAX))
                .max_frame_size(Some(MESSAGE_MAX));
            let stream = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config));
            work(stream.await, protocol).await;
        }));
        response
    }
}

/// Whether the request asks for an upgrade to WebSocket.
pub(super) fn is_requested(headers: &HeaderMap) -> bool {
    has(headers, header::UPGRADE, "websocket") && has(headers, header::CONNECTION, "upgrade")
}

/// The names of protocols that the client asks for.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    words(headers, header::SEC_WEBSOCKET_PROTOCOL).filter(|name| !name.starts_with(TOKEN_PROTOCOL))
}

fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn has(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

fn answer_to(key: &[u8]) -> Result<HeaderValue, ApiError> {
    let salted = [key, ANSWER_SALT.as_bytes()].concat();
    let answer = BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted));
    HeaderValue::from_str(&answer).map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfcs_example() {
        let answer = answer_to(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn header_tokens_are_found_in_lists_case_insensitively() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(has(&headers, header::CONNECTION, "upgrade"));
        assert!(!has(&headers, header::UPGRADE, "websocket"));
    }

    #[test]
    fn a_token_is_not_a_protocol() {
        let mut headers = HeaderMap::new();
        let list = "base64url.bearer.authorization.k8s.io.Zm9v, , base64.binary.k8s.io";
        headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(list));
        assert_eq!(protocols(&headers).collect::<Vec<_>>(), ["base64.binary.k8s.io"]);
    }
}
