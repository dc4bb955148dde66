//! Port forwarding over the channels of `v4.channel.k8s.io`: two for each port in the query. The
//! first carries data, the second an error; both begin with the port's number. Clients other than
//! `kubectl` use it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, split as split_link};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::closed;
use super::socket::{Incoming, Outbound, Stream, channel_of, next, on_channel, split};
use crate::node::{NodeConnector, PortRequest};

/// Size of one read from a port.
const BLOCK: usize = 16 * 1024;
/// Number of queued messages from the client to a port.
const WAITING: usize = 16;
/// How long a client may take to close the connection.
const GOODBYE: Duration = Duration::from_secs(5);

/// Connects every port and forwards data until all have ended or the client disconnects.
pub(super) async fn run(
    stream: Stream,
    node: Arc<dyn NodeConnector>,
    uid: String,
    ports: Vec<u16>,
    closing: watch::Receiver<bool>,
) {
    let (incoming, sender, carry) = split(stream);
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
    let mut input = pin!(read(incoming, inputs));
    tokio::select! {
        () = input.as_mut() => return,
        () = closed(closing) => return,
        both = try_join(join_all(works).map(Ok), carry) => if both.is_err() { return },
    }
    let _ = timeout(GOODBYE, input).await;
}

/// One port, from its connection to its end.
async fn one(
    node: Arc<dyn NodeConnector>,
    request: PortRequest,
    channel: u8,
    mut data: mpsc::Receiver<Bytes>,
    sender: Outbound,
) {
    let (port, error_channel) = (request.port, channel | 1);
    for channel in [channel, error_channel] {
        let _ = sender.send(on_channel(channel, &port.to_le_bytes())).await;
    }
    let link = match node.connect(request).await {
        Ok(link) => link,
        Err(error) => {
            let text = format!("error forwarding port {port}: {error}");
            let _ = sender.send(on_channel(error_channel, text.as_bytes())).await;
            return;
        }
    };
    let (mut reader, mut writer) = split_link(link);
    let out = async {
        let mut block = vec![0; BLOCK];
        loop {
            match reader.read(&mut block).await {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    let block = block.get(..read).unwrap_or_default();
                    if sender.send(on_channel(channel, block)).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    let into = async {
        while let Some(data) = data.recv().await {
            if writer.write_all(&data).await.is_err() {
                break;
            }
        }
        // Only the program at the port ends the connection, since it may still send.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = out => {}
        () = into => {}
    }
}

/// Receives messages until the client disconnects.
async fn read(mut incoming: Incoming, mut inputs: Vec<mpsc::Sender<Bytes>>) {
    while let Some(message) = next(&mut incoming).await {
        let Some((channel, content)) = channel_of(message) else { continue };
        // Clients send nothing on error channels.
        if channel % 2 == 0
            && let Some(input) = inputs.get_mut(usize::from(channel / 2))
        {
            // A port that has ended accepts no more data.
            let _ = input.send(content).await;
        }
    }
}
