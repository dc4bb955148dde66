//! Watches and logs over WebSocket, for browsers and for clients that read no chunked responses.

use bytes::Bytes;
use futures_util::future::try_join;
use http::request::Parts;
use http::{Method, Response};
use http_body_util::BodyExt as _;
use mxjob_access::authz::Verb;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::closed;
use super::handshake::{Handshake, Protocol, is_requested};
use super::socket::{GOODBYE, Outbound, Stream, Vanished, close, split};
use crate::body::Body;
use crate::context::Context;
use crate::error::ApiError;
use crate::negotiate::Encoding;
use crate::rendering::Rendering;
use crate::server::Closing;

/// The protocols of logs, as upstream has them.
const LOG: &[Protocol] = &[Protocol::Unnamed, Protocol::Bytes, Protocol::Base64Bytes];

/// Size of the length before an event in protobuf.
const LENGTH: usize = 4;

/// A response that the client wants as messages.
pub(crate) struct Messages {
    handshake: Handshake,
    form: Form,
}

/// How a frame of the response becomes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One event of a watch as text.
    Event,
    /// One event of a watch in protobuf, without the length before it.
    ProtobufEvent,
    /// Some bytes of a log.
    Log,
}

// === impl Messages ===

impl Messages {
    /// What the client asks for; `None` for an ordinary response.
    pub(crate) fn requested(
        context: &Context<'_>,
        verb: Verb<'_>,
        rendering: &Rendering,
        request: &Parts,
    ) -> Result<Option<Self>, ApiError> {
        if request.method != Method::GET || !is_requested(context.headers) {
            return Ok(None);
        }
        let upgrade = request.extensions.get();
        let form = match (verb, context.path.subresource, rendering.form.encoding) {
            (Verb::Watch, _, Encoding::Protobuf) => Form::ProtobufEvent,
            (Verb::Watch, ..) => Form::Event,
            (Verb::Get, Some("log"), _) => Form::Log,
            _ => return Ok(None),
        };
        let handshake = match form {
            Form::Log => Handshake::read(context.headers, upgrade, LOG)?,
            Form::Event | Form::ProtobufEvent => Handshake::read_any(context.headers, upgrade)?,
        };
        Ok(Some(Self { handshake, form }))
    }

    /// The response that sends a body's frames as messages.
    pub(crate) fn send(self, body: Body, closing: Closing) -> Response<Body> {
        let Self { handshake, form } = self;
        handshake.accept(move |socket, protocol| run(socket, protocol, form, body, closing))
    }
}

/// Sends a body until its end, or until the client disconnects.
async fn run(stream: Stream, protocol: Protocol, form: Form, body: Body, closing: Closing) {
    let (mut incoming, sender, carry) = split(stream, protocol.framing());
    // Clients have nothing to say, but their closes and pings are read.
    let input = async { while incoming.next().await.is_some() {} };
    let session = async move {
        let mut input = Box::pin(input);
        tokio::select! {
            () = input.as_mut() => {}
            sent = try_join(pump(body, form, sender), carry) => if sent.is_ok() {
                let _ = timeout(GOODBYE, input).await;
            },
        }
    };
    // The body ends when the server stops; a client that does not take it is not waited for.
    let too_late = async {
        closed(closing).await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        () = session => {}
        () = too_late => {}
    }
}

async fn pump(mut body: Body, form: Form, sender: Outbound) -> Result<(), Vanished> {
    if form == Form::Log {
        // Tells the client that the log is open, as upstream does.
        sender.send(sender.bytes(Bytes::new())).await?;
    }
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "a response failed");
                let frame = close(CloseCode::Error, "reading failed, see the server's log");
                return sender.send(Message::Close(Some(frame))).await;
            }
        };
        let Ok(mut data) = frame.into_data() else { continue };
        let message = match form {
            Form::Log => sender.bytes(data),
            Form::ProtobufEvent => Message::Binary(data.split_off(data.len().min(LENGTH))),
            Form::Event => Message::Text(data.try_into().map_err(|_| Vanished)?),
        };
        sender.send(message).await?;
    }
    Ok(())
}
