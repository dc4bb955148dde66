//! Port forwarding by SPDY frames inside WebSocket messages, which `kubectl port-forward` uses.
//!
//! For every local connection the client opens two streams with the same request id: one for an
//! error, then one for data. No client of this protocol uses flow-control windows, so none are
//! granted. A port that accepts no data stops reading from the socket, and TCP slows the client
//! down.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::closed;
use super::relay::{WAITING, relay};
use super::socket::{Framing, GOODBYE, Incoming, Outbound, Stream, close, split};
use super::spdy::{Decoder, Encoder, Error, Frame};
use crate::node::{NodeConnector, PortRequest};

/// Concurrent connections through one tunnel.
const CONNECTIONS: usize = 1024;

/// Forwards connections until the client disconnects.
pub(super) async fn run(
    stream: Stream,
    node: Arc<dyn NodeConnector>,
    uid: String,
    closing: watch::Receiver<bool>,
) {
    let (incoming, sender, carry) = split(stream, Framing::Binary);
    let tunnel = Tunnel {
        node,
        uid,
        sender,
        encoder: Encoder::default(),
        waiting: HashMap::new(),
        ports: HashMap::new(),
        works: JoinSet::new(),
    };
    let (mut carry, mut tunnel) = (pin!(carry), pin!(tunnel.run(incoming)));
    tokio::select! {
        () = tunnel.as_mut() => {
            // All senders are dropped with the tunnel, so this only closes the socket.
            let _ = timeout(GOODBYE, carry).await;
        }
        _ = carry.as_mut() => { let _ = timeout(GOODBYE, tunnel).await; }
        () = closed(closing) => {}
    }
}

struct Tunnel {
    node: Arc<dyn NodeConnector>,
    uid: String,
    sender: Outbound,
    encoder: Encoder,
    /// Error streams whose data stream is still to be opened, by request id.
    waiting: HashMap<String, u32>,
    /// The connections, by the id of their data stream.
    ports: HashMap<u32, Port>,
    /// Each task returns the id of its data stream.
    works: JoinSet<u32>,
}

/// One connection to a port.
struct Port {
    /// Sends data to the port; dropped at the client's end of data.
    input: Option<mpsc::Sender<Bytes>>,
    /// The id of the error stream.
    errors: u32,
    work: AbortHandle,
}

impl Tunnel {
    async fn run(mut self, incoming: Incoming) {
        if let Err(error) = self.read(incoming).await {
            tracing::debug!(%error, "port-forwarding client violated the protocol");
            let frame = close(CloseCode::Protocol, &error.to_string());
            let _ = self.sender.send(Message::Close(Some(frame))).await;
            return;
        }
        // The ports still get what the client has sent.
        self.ports.clear();
        let ended = async { while self.works.join_next().await.is_some() {} };
        let _ = timeout(GOODBYE, ended).await;
    }

    async fn read(&mut self, mut incoming: Incoming) -> Result<(), Error> {
        let mut decoder = Decoder::new()?;
        loop {
            tokio::select! {
                message = incoming.next() => {
                    let Some(message) = message else { return Ok(()) };
                    decoder.push(&message);
                    while let Some(frame) = decoder.next()? {
                        if !self.take(frame).await {
                            return Ok(());
                        }
                    }
                }
                Some(ended) = self.works.join_next(), if !self.works.is_empty() => {
                    if let Ok(stream) = ended {
                        self.ports.remove(&stream);
                    }
                }
            }
        }
    }

    /// Handles a frame; returns whether the connection continues.
    async fn take(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::Open { stream, headers, last } => self.open(stream, &headers, last).await,
            Frame::Data { stream, data, last } => {
                let Some(port) = self.ports.get_mut(&stream) else { return true };
                if let Some(input) = &port.input
                    && !data.is_empty()
                {
                    // A port that has ended accepts no more data.
                    let _ = input.send(data).await;
                }
                if last {
                    port.input = None;
                }
                true
            }
            Frame::Reset { stream } => {
                let Some(port) = self.ports.remove(&stream) else { return true };
                port.work.abort();
                // The client still waits for the end of this stream.
                self.send(Encoder::data(port.errors, &[], true)).await
            }
            Frame::Ping { id } => self.send(Encoder::pong(id)).await,
            Frame::Goodbye => false,
            Frame::Other => true,
        }
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)], last: bool) -> bool {
        let reply = self.encoder.accept(stream);
        if !self.send(reply).await {
            return false;
        }
        let header = |name: &str| {
            let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value.as_str())
        };
        let id = header("requestid").to_owned();
        if header("streamtype") == "error" {
            if self.waiting.len() < CONNECTIONS {
                self.waiting.insert(id, stream);
            }
            return true;
        }
        let errors = self.waiting.remove(&id);
        let port = header("port").parse().ok();
        let (Some(errors), Some(port)) = (errors, port) else {
            // An unknown stream is reset immediately.
            return self.send(Encoder::data(stream, &[], true)).await;
        };
        if self.works.len() >= CONNECTIONS {
            let text = format!("error forwarding port {port}: too many concurrent connections");
            return self.send(Encoder::data(errors, text.as_bytes(), true)).await
                && self.send(Encoder::data(stream, &[], true)).await;
        }
        let (input, data) = mpsc::channel(WAITING);
        let request = PortRequest { uid: self.uid.clone(), port };
        let (node, sender) = (Arc::clone(&self.node), self.sender.clone());
        let work = self.works.spawn(async move {
            let message = |block: &[u8]| Message::Binary(Encoder::data(stream, block, false));
            let error =
                relay(node, request, data, &sender, message).await.err().unwrap_or_default();
            // The client waits for the end of both.
            let _ = send(&sender, Encoder::data(errors, error.as_bytes(), true)).await;
            let _ = send(&sender, Encoder::data(stream, &[], true)).await;
            stream
        });
        let input = (!last).then_some(input);
        self.ports.insert(stream, Port { input, errors, work });
        true
    }

    async fn send(&self, frame: Bytes) -> bool {
        send(&self.sender, frame).await
    }
}

async fn send(sender: &Outbound, frame: Bytes) -> bool {
    sender.send(Message::Binary(frame)).await.is_ok()
}
