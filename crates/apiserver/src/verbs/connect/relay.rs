//! Bytes between one connection to a port and the client.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split as split_link};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::socket::{Outbound, Vanished};
use crate::node::{NodeConnector, PortRequest};

/// Number of queued messages from the client to a port.
pub(super) const WAITING: usize = 16;
/// Size of one read from a port.
const BLOCK: usize = 16 * 1024;

/// Connects to a port and forwards data until the program there ends the connection. `data` ends
/// when the client has sent everything; all of it reaches the port even if the client is gone.
///
/// # Errors
/// The text for the client.
pub(super) async fn relay(
    node: Arc<dyn NodeConnector>,
    request: PortRequest,
    data: mpsc::Receiver<Bytes>,
    sender: &Outbound,
    message: impl Fn(&[u8]) -> Message + Send,
) -> Result<(), String> {
    let port = request.port;
    let text = |error: io::Error| format!("error forwarding port {port}: {error}");
    let link = node.connect(request).await.map_err(text)?;
    let (mut reader, writer) = split_link(link);
    let mut into = pin!(feed(writer, data));
    let mut out = pin!(async {
        let mut block = vec![0; BLOCK];
        loop {
            let read = reader.read(&mut block).await.map_err(text)?;
            if read == 0 {
                return Ok(Ok(()));
            }
            let message = message(block.get(..read).unwrap_or_default());
            if let Err(vanished) = sender.send(message).await {
                return Ok(Err(vanished));
            }
        }
    });
    let ended: Result<Result<(), Vanished>, String> = tokio::select! {
        ended = out.as_mut() => ended,
        // The program at the port may still send.
        () = into.as_mut() => return out.await.map(|_| ()),
    };
    if let Err(Vanished) = ended? {
        into.await;
    }
    Ok(())
}

/// Writes everything that the client sends.
async fn feed(mut writer: impl AsyncWrite + Unpin, mut data: mpsc::Receiver<Bytes>) {
    while let Some(data) = data.recv().await {
        if writer.write_all(&data).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}
