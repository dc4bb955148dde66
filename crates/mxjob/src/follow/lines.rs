//! Reads the log of one container from its first line to its last, each line once, also across
//! reconnects.

use std::time::Duration;

use futures_util::{AsyncBufRead, AsyncBufReadExt as _};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use mxjob_client::Lenient;
use mxjob_machinery::backoff::Backoff;
use tokio::sync::{mpsc::Sender, watch};

/// Longer lines are split, so that a program that never ends a line does not exhaust the memory.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// The first and the longest delay before a log is read again that ended although its container
/// runs.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One run of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// Uid of the pod.
    pub(crate) uid: String,
    pub(crate) container: String,
    /// The restart count of this run.
    pub(crate) restarts: i32,
    /// The prefix of its lines.
    pub(crate) label: String,
}

/// A line without its line break.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) label: String,
    /// Uid of the pod.
    pub(crate) uid: String,
    pub(crate) text: Vec<u8>,
}

/// What a reader sends.
#[derive(Debug)]
pub(crate) enum Message {
    Line(Line),
    /// Reading the log is forbidden; the server's message.
    Denied(String),
}

/// How far a log has been read.
#[derive(Debug, Default)]
struct Place {
    /// The timestamp of the newest line that was sent.
    time: Option<Timestamp>,
    /// The number of lines with that timestamp that were sent.
    lines: usize,
}

/// How a read ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The server has no more.
    Complete,
    /// The connection was lost or could not be made.
    Broken,
    /// The log no longer exists.
    Gone,
    /// The receiver was dropped.
    Dropped,
}

/// The state of the container.
#[derive(Debug, PartialEq, Eq)]
enum ContainerState {
    Running,
    /// Its log can still be read.
    Ended,
    /// A later run or another pod has replaced it.
    Replaced,
    /// The server did not answer.
    Unknown,
}

/// Sends every line until the container ends. When the channel is full, reading pauses. Once
/// `ending` is true, a log that was read to its end is not read again.
pub(crate) async fn follow(
    client: Client,
    source: Source,
    sender: Sender<Message>,
    mut ending: watch::Receiver<bool>,
) {
    let mut place = Place::default();
    let mut backoff = Backoff::new(PAUSE, LONGEST_PAUSE);
    loop {
        let before = (place.time, place.lines);
        let end = read(&client, &source, &mut place, &sender).await;
        if matches!(end, End::Gone | End::Dropped) {
            return;
        }
        match (end, container_state(&client, &source).await) {
            (_, ContainerState::Replaced) | (End::Complete, ContainerState::Ended) => return,
            // A log also ends when the server stops.
            (_, ContainerState::Running | ContainerState::Ended | ContainerState::Unknown) => {}
        }
        if before != (place.time, place.lines) {
            backoff.reset();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            // An error means that the sender was dropped.
            _ = ending.wait_for(|ending| *ending) => return,
        }
    }
}

/// Reads once, from where the previous read ended.
async fn read(
    client: &Client,
    source: &Source,
    place: &mut Place,
    sender: &Sender<Message>,
) -> End {
    let Source { namespace, pod, container, .. } = source;
    let mut path = format!(
        "/api/v1/namespaces/{namespace}/pods/{pod}/log?follow=true&timestamps=true&container={container}"
    );
    // The API takes whole seconds.
    if let Some(second) = place.time.and_then(|time| Timestamp::from_second(time.as_second()).ok())
    {
        path = format!("{path}&sinceTime={second}");
    }
    let Ok(request) = Request::get(path).body(Vec::new()) else { return End::Gone };
    let log = match client.request_stream(request).await {
        Ok(log) => std::pin::pin!(log),
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
            // It may be allowed later, or the server has just started and has not loaded its roles
            // yet.
            return match sender.send(Message::Denied(status.message.clone())).await {
                Ok(()) => End::Broken,
                Err(_) => End::Dropped,
            };
        }
        Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
            tracing::warn!(pod, container, message = status.message, "reading the log failed");
            return End::Gone;
        }
        Err(error) => {
            tracing::warn!(pod, container, %error, "reading the log failed");
            return End::Broken;
        }
    };
    Reading { source, sender, skip: place.lines, seen: 0, since: place.time, place }.all(log).await
}

/// One read of a log.
struct Reading<'a> {
    source: &'a Source,
    sender: &'a Sender<Message>,
    /// The timestamp at which this read began, and the number of lines with it that were already
    /// sent.
    since: Option<Timestamp>,
    skip: usize,
    seen: usize,
    place: &'a mut Place,
}

// === impl Reading ===

impl Reading<'_> {
    async fn all(mut self, mut log: impl AsyncBufRead + Unpin) -> End {
        let mut text = Vec::new();
        // Whether the next piece begins a line, and whether that line was already sent.
        let (mut begins, mut known) = (true, false);
        loop {
            let (used, whole) = match log.fill_buf().await {
                Ok([]) => break,
                Err(_) => return End::Broken,
                Ok(buffer) => {
                    let room = MAX_LINE_BYTES.saturating_sub(text.len());
                    let piece = buffer.get(..room).unwrap_or(buffer);
                    match piece.iter().position(|byte| *byte == b'\n') {
                        Some(end) => {
                            text.extend(piece.iter().take(end));
                            (end + 1, Some(true))
                        }
                        None => {
                            text.extend(piece);
                            (piece.len(), (text.len() >= MAX_LINE_BYTES).then_some(false))
                        }
                    }
                }
            };
            log.consume_unpin(used);
            let Some(ends) = whole else { continue };
            let piece = std::mem::take(&mut text);
            if !self.piece(piece, begins, &mut known).await {
                return End::Dropped;
            }
            begins = ends;
        }
        if !text.is_empty() && !self.piece(text, begins, &mut known).await {
            return End::Dropped;
        }
        End::Complete
    }

    /// Sends a line or a piece of one, unless it was already sent. Returns false if the receiver
    /// was dropped.
    async fn piece(&mut self, mut text: Vec<u8>, begins: bool, known: &mut bool) -> bool {
        if begins && let Some((time, length)) = time_of(&text) {
            text.drain(..length);
            *known = self.is_known(time);
            if !*known {
                self.place.lines =
                    if self.place.time == Some(time) { self.place.lines + 1 } else { 1 };
                self.place.time = Some(time);
            }
        }
        if *known {
            return true;
        }
        let Source { label, uid, .. } = self.source;
        let line = Line { label: label.clone(), uid: uid.clone(), text };
        self.sender.send(Message::Line(line)).await.is_ok()
    }

    /// Whether an earlier read sent the line. Lines that are written at the same time have the same
    /// timestamp.
    fn is_known(&mut self, time: Timestamp) -> bool {
        let Some(since) = self.since else { return false };
        if time == since {
            self.seen += 1;
        }
        time < since || (time == since && self.seen <= self.skip)
    }
}

/// The timestamp at the start of a line, and its length in bytes.
fn time_of(text: &[u8]) -> Option<(Timestamp, usize)> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()?;
    Some((time, end + 1))
}

/// Reads the state of the container.
async fn container_state(client: &Client, source: &Source) -> ContainerState {
    let pods: Api<Lenient<Pod>> = Api::namespaced(client.clone(), &source.namespace);
    let pod = match pods.get(&source.pod).await {
        Ok(Lenient(Ok(pod))) => pod,
        Ok(Lenient(Err(_))) => return ContainerState::Unknown,
        Err(kube::Error::Api(status)) if status.code == 404 => return ContainerState::Replaced,
        Err(_) => return ContainerState::Unknown,
    };
    if pod.uid().as_ref() != Some(&source.uid) {
        return ContainerState::Replaced;
    }
    let statuses = pod.status.iter().flat_map(|status| {
        status
            .init_container_statuses
            .iter()
            .flatten()
            .chain(status.container_statuses.iter().flatten())
    });
    let mut this = statuses.filter(|status| status.name == source.container);
    match this.next() {
        Some(status) if status.restart_count != source.restarts => ContainerState::Replaced,
        Some(status) if status.state.as_ref().is_some_and(|state| state.running.is_some()) => {
            ContainerState::Running
        }
        _ => ContainerState::Ended,
    }
}

#[cfg(test)]
mod tests;
