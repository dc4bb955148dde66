//! Port forwarding over the channels of a WebSocket: two for each port in the query. The first
//! carries data, the second an error; both begin with the port's number. Clients other than
//! `kubectl` use it.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::closed;
use super::handshake::Protocol;
use super::relay::{WAITING, relay};
use super::socket::{GOODBYE, Incoming, Outbound, Stream, split};
use crate::node::{NodeConnector, PortRequest};

/// Connects every port and forwards data until all have ended or the client disconnects.
pub(super) async fn run(
    stream: Stream,
    protocol: Protocol,
    node: Arc<dyn NodeConnector>,
    uid: String,
    ports: Vec<u16>,
    closing: watch::Receiver<bool>,
) {
    let (incoming, sender, carry) = split(stream, protocol.framing());
    let (inputs, works): (Vec<_>, Vec<_>) = (0_u8..)
        .step_by(2)
        .zip(ports)
        .map(|(channel, port)| {
            let (input, data) = mpsc::channel(WAITING);
            let request = PortRequest { uid: uid.clone(), port };
            (input, one(Arc::clone(&node), request, channel, data, sender.clone()))
        })
        .unzip();
    drop(sender);
    let session = async move {
        let mut input = Box::pin(read(incoming, inputs));
        let mut works = pin!(join_all(works));
        let mut carry = Box::pin(carry);
        tokio::select! {
            () = input.as_mut() => {}
            _ = carry.as_mut() => {}
            _ = works.as_mut() => {
                tokio::select! {
                    () = input.as_mut() => {}
                    sent = carry.as_mut() => if sent.is_ok() {
                    let _ = timeout(GOODBYE, input.as_mut()).await;
                },
                }
                return;
            }
        }
        // The ports still get what the client has sent.
        drop((input, carry));
        let _ = timeout(GOODBYE, works).await;
    };
    tokio::select! {
        () = session => {}
        () = closed(closing) => {}
    }
}

/// One port, from its connection to its end.
async fn one(
    node: Arc<dyn NodeConnector>,
    request: PortRequest,
    channel: u8,
    data: mpsc::Receiver<Bytes>,
    sender: Outbound,
) {
    let error_channel = channel | 1;
    for channel in [channel, error_channel] {
        let _ = sender.send_on(channel, &request.port.to_le_bytes()).await;
    }
    let message = |block: &[u8]| sender.on_channel(channel, block);
    if let Err(error) = relay(node, request, data, &sender, message).await {
        let _ = sender.send_on(error_channel, error.as_bytes()).await;
    }
}

/// Receives messages until the client disconnects.
async fn read(mut incoming: Incoming, mut inputs: Vec<mpsc::Sender<Bytes>>) {
    while let Some((channel, content)) = incoming.next_on_channel().await {
        // Clients send nothing on error channels.
        if channel % 2 == 0
            && let Some(input) = inputs.get_mut(usize::from(channel / 2))
        {
            // A port that has ended accepts no more data.
            let _ = input.send(content).await;
        }
    }
}
