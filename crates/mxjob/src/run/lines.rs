//! The log lines of one container, from its first to its last.

use futures_util::AsyncBufReadExt as _;
use http::Request;
use kube::Client;
use tokio::sync::mpsc::Sender;

/// Longer lines are cut into pieces; a program that never ends its line must not fill the memory.
const LONGEST: usize = 64 * 1024;

/// One run of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// Uid of the pod.
    pub(crate) uid: String,
    pub(crate) container: String,
    /// How often the container had been restarted before.
    pub(crate) restarts: i32,
    /// What its lines begin with.
    pub(crate) label: String,
}

/// A line without its end.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) label: String,
    /// Uid of the pod.
    pub(crate) uid: String,
    pub(crate) text: Vec<u8>,
}

/// Sends every line until the container ends. What cannot be read (the pod is gone already) has no lines. When the channel
/// is full, the log waits on disk.
pub(crate) async fn follow(client: Client, source: Source, sender: Sender<Line>) {
    let Source { namespace, pod, uid, container, label, .. } = source;
    let path =
        format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?follow=true&container={container}");
    let Ok(request) = Request::get(path).body(Vec::new()) else { return };
    let mut log = match client.request_stream(request).await {
        Ok(log) => std::pin::pin!(log),
        Err(error) => {
            tracing::warn!(pod, container, %error, "cannot read the log");
            return;
        }
    };
    let mut text = Vec::new();
    loop {
        let (used, whole) = match log.fill_buf().await {
            // The end, or a stop of the server.
            Ok([]) | Err(_) => break,
            Ok(buffer) => {
                let room = LONGEST.saturating_sub(text.len());
                let piece = buffer.get(..room).unwrap_or(buffer);
                match piece.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        text.extend(piece.iter().take(end));
                        (end + 1, true)
                    }
                    None => {
                        text.extend(piece);
                        (piece.len(), text.len() >= LONGEST)
                    }
                }
            }
        };
        log.consume_unpin(used);
        if whole {
            let line =
                Line { label: label.clone(), uid: uid.clone(), text: std::mem::take(&mut text) };
            if sender.send(line).await.is_err() {
                return;
            }
        }
    }
    if !text.is_empty() {
        // Nobody listens any more: then nobody misses it.
        let _ = sender.send(Line { label, uid, text }).await;
    }
}
