//! Ports over the channels of `v4.channel.k8s.io`: two for each port, named in the query. The first carries data, the
//! second an error; both begin with the port's number. This is what clients speak that are not `kubectl`.

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

/// One read from a port.
const BLOCK: usize = 16 * 1024;
/// Messages from the client that wait for a port.
const WAITING: usize = 16;
/// How long a client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Connects every port and carries data until all have ended or the client goes.
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
        // Only the program at the port ends the connection; it has the last word.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = out => {}
        () = into => {}
    }
}

/// Takes what the client sends until it goes.
async fn read(mut incoming: Incoming, mut inputs: Vec<mpsc::Sender<Bytes>>) {
    while let Some(message) = next(&mut incoming).await {
        let Some((channel, content)) = channel_of(message) else { continue };
        // Nothing is expected on the channels for errors.
        if channel % 2 == 0
            && let Some(input) = inputs.get_mut(usize::from(channel / 2))
        {
            // A port that has ended takes no more.
            let _ = input.send(content).await;
        }
    }
}
