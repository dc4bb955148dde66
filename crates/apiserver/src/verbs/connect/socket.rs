//! The messages of a WebSocket.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::SplitStream;
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc::{Receiver, Sender, WeakSender, channel as queue};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// The largest accepted message in bytes; clients send at most 64 KiB.
pub(super) const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// How long a client may take to close the connection.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);
/// Number of queued outgoing messages before senders wait.
const OUTBOUND: usize = 16;
/// The time limits of the connection.
const TIMES: Times = Times { ping: Duration::from_secs(15), stalled: Duration::from_secs(10 * 60) };

pub(super) type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// How messages carry bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Binary messages.
    Binary,
    /// Text messages in base64. The number of a channel is one digit before it.
    Base64,
}

/// The client is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vanished;

/// Receives messages from the client.
pub(super) struct Incoming {
    stream: SplitStream<Stream>,
    framing: Framing,
    /// Sends the message that ends the connection after an invalid message.
    sender: WeakSender<Message>,
    /// Why the connection must end.
    refusal: Option<CloseFrame>,
}

/// Sends messages to the client.
#[derive(Debug, Clone)]
pub(super) struct Outbound {
    sender: Sender<Message>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    /// Interval of pings on a silent connection. While a command or a port accepts no input,
    /// nothing is read from the client, so only a failed write shows that it is gone.
    ping: Duration,
    /// How long the client may not take a message, as for long-running responses of HTTP.
    stalled: Duration,
}

// === impl Outbound ===

impl Outbound {
    /// Sends a message.
    pub(super) async fn send(&self, message: Message) -> Result<(), Vanished> {
        self.sender.send(message).await.map_err(|_| Vanished)
    }

    /// Sends bytes on a channel.
    pub(super) async fn send_on(&self, channel: u8, data: &[u8]) -> Result<(), Vanished> {
        self.send(self.on_channel(channel, data)).await
    }

    /// A message with bytes on a channel.
    pub(super) fn on_channel(&self, channel: u8, data: &[u8]) -> Message {
        match self.framing {
            Framing::Binary => {
                let mut message = BytesMut::with_capacity(1 + data.len());
                message.put_u8(channel);
                message.put_slice(data);
                Message::Binary(message.freeze())
            }
            Framing::Base64 => {
                let mut text = String::with_capacity(1 + data.len().div_ceil(3) * 4);
                text.push(char::from(b'0'.saturating_add(channel)));
                BASE64_STANDARD.encode_string(data, &mut text);
                Message::text(text)
            }
        }
    }

    /// A message with bytes of the only stream.
    pub(super) fn bytes(&self, data: Bytes) -> Message {
        match self.framing {
            Framing::Binary => Message::Binary(data),
            Framing::Base64 => Message::text(BASE64_STANDARD.encode(data)),
        }
    }
}

// === impl Incoming ===

impl Incoming {
    /// The next message; `None` when the client closes or has disconnected. A message that is
    /// invalid ends the connection with its reason.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        while self.refusal.is_none() {
            match self.stream.next().await? {
                Ok(Message::Binary(data)) => return Some(data),
                Ok(Message::Text(text)) => return Some(text.into()),
                // The WebSocket library responds to these. A close is followed by the end.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_)) => {
                }
                Err(error) => {
                    tracing::debug!(%error, "a WebSocket failed");
                    self.refusal = Some(refusal(&error)?);
                }
            }
        }
        self.refuse().await;
        None
    }

    /// The channel and the bytes of the next message.
    pub(super) async fn next_on_channel(&mut self) -> Option<(u8, Bytes)> {
        loop {
            let message = self.next().await?;
            // Clients may send empty messages to keep the connection open.
            if message.is_empty() {
                continue;
            }
            match decode(message, self.framing) {
                Some(decoded) => return Some(decoded),
                None => {
                    let reason = "a message is not a channel's digit and base64";
                    self.refusal = Some(close(CloseCode::Invalid, reason));
                }
            }
        }
    }

    /// Sends the reason of the end and waits until it is sent.
    async fn refuse(&self) {
        let (Some(frame), Some(sender)) = (&self.refusal, self.sender.upgrade()) else { return };
        let sent = async {
            if sender.send(Message::Close(Some(frame.clone()))).await.is_ok() {
                sender.closed().await;
            }
        };
        let _ = timeout(GOODBYE, sent).await;
    }
}

/// The reason that the client gets for an invalid message; `None` if it is gone.
fn refusal(error: &Error) -> Option<CloseFrame> {
    match error {
        Error::Capacity(_) => {
            let reason = format!("a message is longer than {MESSAGE_MAX} bytes");
            Some(close(CloseCode::Size, &reason))
        }
        Error::Utf8(_) => Some(close(CloseCode::Invalid, "a text message is not valid UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(close(CloseCode::Protocol, "a frame is invalid")),
        _ => None,
    }
}

/// The end of a connection. `reason` is at most 123 bytes long.
pub(super) fn close(code: CloseCode, reason: &str) -> CloseFrame {
    CloseFrame { code, reason: Utf8Bytes::from(reason) }
}

/// The channel and the bytes of a message.
fn decode(mut message: Bytes, framing: Framing) -> Option<(u8, Bytes)> {
    let &channel = message.first()?;
    let content = message.split_off(1);
    match framing {
        Framing::Binary => Some((channel, content)),
        Framing::Base64 => {
            let content = BASE64_STANDARD.decode(content).ok()?;
            Some((channel.checked_sub(b'0')?, content.into()))
        }
    }
}

/// Splits a socket into incoming messages, a sender, and the future that writes the sent messages.
/// The future closes the connection once every sender is dropped, and after a sent close.
pub(super) fn split(
    stream: Stream,
    framing: Framing,
) -> (Incoming, Outbound, impl Future<Output = Result<(), Vanished>> + Send) {
    let (sink, stream) = stream.split();
    let (sender, receiver) = queue(OUTBOUND);
    let incoming = Incoming { stream, framing, sender: sender.downgrade(), refusal: None };
    (incoming, Outbound { sender, framing }, carry(sink, receiver, TIMES))
}

/// Writes messages. An error means that the client is gone, or gets no more messages.
async fn carry<S: Sink<Message> + Unpin>(
    mut sink: S,
    mut messages: Receiver<Message>,
    times: Times,
) -> Result<(), Vanished> {
    loop {
        // The client may not be read at the moment; a write shows whether it is still there.
        let message = match timeout(times.ping, messages.recv()).await {
            Ok(Some(message)) => message,
            // Clients treat a close without a code as an error.
            Ok(None) => {
                let end = Message::Close(Some(close(CloseCode::Normal, "")));
                return write(&mut sink, end, times.stalled).await;
            }
            Err(_) => Message::Ping(Bytes::new()),
        };
        let closes = matches!(message, Message::Close(_));
        write(&mut sink, message, times.stalled).await?;
        if closes {
            return Err(Vanished);
        }
    }
}

async fn write<S: Sink<Message> + Unpin>(
    sink: &mut S,
    message: Message,
    limit: Duration,
) -> Result<(), Vanished> {
    timeout(limit, sink.send(message)).await.map_err(|_| Vanished)?.map_err(|_| Vanished)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(3600);

    fn outbound(framing: Framing) -> Outbound {
        Outbound { sender: queue(1).0, framing }
    }

    #[tokio::test]
    async fn a_disconnected_client_is_detected_on_a_silent_connection() {
        let (sender, receiver) = queue(1);
        let sink = futures_util::sink::unfold((), |(), message: Message| async move {
            if matches!(message, Message::Ping(_)) { Err(()) } else { Ok(()) }
        });
        sender.send(Message::Binary(Bytes::new())).await.unwrap();
        let times = Times { ping: SOON, stalled: NEVER };
        assert!(matches!(carry(Box::pin(sink), receiver, times).await, Err(Vanished)));
        drop(sender);
    }

    #[tokio::test]
    async fn a_client_that_takes_no_messages_is_given_up() {
        let (sender, receiver) = queue(1);
        let sink = futures_util::sink::unfold((), |(), _: Message| pending::<Result<(), ()>>());
        sender.send(Message::Binary(Bytes::new())).await.unwrap();
        let times = Times { ping: NEVER, stalled: SOON };
        assert!(matches!(carry(Box::pin(sink), receiver, times).await, Err(Vanished)));
        drop(sender);
    }

    #[test]
    fn messages_begin_with_their_channel_and_are_decoded() {
        let check = |framing: Framing, message: &Message| {
            assert_eq!(&outbound(framing).on_channel(1, b"ab"), message);
            let decoded = decode(message.clone().into_data(), framing);
            assert_eq!(decoded, Some((1, Bytes::from_static(b"ab"))));
        };
        check(Framing::Binary, &Message::Binary(Bytes::from_static(b"\x01ab")));
        check(Framing::Base64, &Message::text("1YWI="));
    }

    #[test]
    fn invalid_messages_are_not_decoded() {
        let check = |framing: Framing, message: &'static str, want: Option<(u8, &'static [u8])>| {
            let decoded = decode(Bytes::from_static(message.as_bytes()), framing);
            let want = want.map(|(channel, data)| (channel, Bytes::from_static(data)));
            assert_eq!(decoded, want, "{message:?}");
        };
        check(Framing::Binary, "", None);
        check(Framing::Binary, "\x01", Some((1, b"")));
        check(Framing::Base64, "", None);
        check(Framing::Base64, "0", Some((0, b"")));
        check(Framing::Base64, "0***", None);
        check(Framing::Base64, "0YWI", None);
        check(Framing::Base64, " YWI=", None);
    }

    #[test]
    fn bytes_are_sent_as_they_are_or_in_base64() {
        let data = Bytes::from_static(b"ab");
        assert_eq!(outbound(Framing::Binary).bytes(data.clone()), Message::Binary(data.clone()));
        assert_eq!(outbound(Framing::Base64).bytes(data), Message::text("YWI="));
    }
}
