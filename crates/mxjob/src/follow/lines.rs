//! The log lines of one container, each once, from its first to its last, over a lost connection too.

use std::time::Duration;

use futures_util::{AsyncBufRead, AsyncBufReadExt as _};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use mxjob_client::Lenient;
use tokio::sync::{mpsc::Sender, watch};

/// Longer lines are cut into pieces; a program that never ends its line must not fill the memory.
const LONGEST: usize = 64 * 1024;
/// Between two looks at a log that ended although its container runs, and the longest such pause.
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

/// What a reader has to say.
#[derive(Debug)]
pub(crate) enum Said {
    Line(Line),
    /// We may not read the log, as the server words it.
    Denied(String),
}

/// How far a log has been read.
#[derive(Debug, Default)]
struct Place {
    /// When the newest line that was sent was written.
    time: Option<Timestamp>,
    /// How many lines of that moment were sent.
    lines: usize,
}

/// How reading came to an end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The server has no more.
    Complete,
    /// The connection broke, or there was none.
    Broken,
    /// The log is not there any more.
    Gone,
    /// Nobody listens to us any more.
    Unheard,
}

/// What became of the container.
#[derive(Debug, PartialEq, Eq)]
enum Run {
    Runs,
    /// Its log may still be read.
    Ended,
    /// Another run or another pod is in its place.
    Over,
    /// The server does not say.
    Unknown,
}

/// Sends every line until the container ends. When the channel is full, the log waits where it is. Once `ending` is true,
/// a log that was read to its end is not looked at again.
pub(crate) async fn follow(
    client: Client,
    source: Source,
    sender: Sender<Said>,
    mut ending: watch::Receiver<bool>,
) {
    let mut place = Place::default();
    let mut pause = PAUSE;
    loop {
        let before = (place.time, place.lines);
        let end = read(&client, &source, &mut place, &sender).await;
        if matches!(end, End::Gone | End::Unheard) {
            return;
        }
        match (end, look(&client, &source).await) {
            (_, Run::Over) | (End::Complete, Run::Ended) => return,
            // A server that stops ends a reading as well as the end of a container does.
            (_, Run::Runs | Run::Ended | Run::Unknown) => {}
        }
        pause = if before == (place.time, place.lines) {
            (pause * 2).min(LONGEST_PAUSE)
        } else {
            PAUSE
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // An error says that nobody is left to tell us anything.
            _ = ending.wait_for(|ending| *ending) => return,
        }
    }
}

/// Reads once from where an earlier reading ended.
async fn read(client: &Client, source: &Source, place: &mut Place, sender: &Sender<Said>) -> End {
    let Source { namespace, pod, container, .. } = source;
    let mut path = format!(
        "/api/v1/namespaces/{namespace}/pods/{pod}/log?follow=true&timestamps=true&container={container}"
    );
    // Whole seconds are as exact as the question can be.
    if let Some(second) = place.time.and_then(|time| Timestamp::from_second(time.as_second()).ok())
    {
        path = format!("{path}&sinceTime={second}");
    }
    let Ok(request) = Request::get(path).body(Vec::new()) else { return End::Gone };
    let log = match client.request_stream(request).await {
        Ok(log) => std::pin::pin!(log),
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
            // It may be allowed later, or the server has just begun and does not know its roles yet.
            return match sender.send(Said::Denied(status.message.clone())).await {
                Ok(()) => End::Broken,
                Err(_) => End::Unheard,
            };
        }
        Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
            tracing::warn!(pod, container, message = status.message, "cannot read the log");
            return End::Gone;
        }
        Err(error) => {
            tracing::warn!(pod, container, %error, "cannot read the log");
            return End::Broken;
        }
    };
    Reading { source, sender, skip: place.lines, seen: 0, since: place.time, place }.all(log).await
}

/// One reading of a log.
struct Reading<'a> {
    source: &'a Source,
    sender: &'a Sender<Said>,
    /// Where this reading began, and how many lines of that moment are known already.
    since: Option<Timestamp>,
    skip: usize,
    seen: usize,
    place: &'a mut Place,
}

// === impl Reading ===

impl Reading<'_> {
    async fn all(mut self, mut log: impl AsyncBufRead + Unpin) -> End {
        let mut text = Vec::new();
        // Whether what comes next begins a line, and whether that line is known already.
        let (mut begins, mut known) = (true, false);
        loop {
            let (used, whole) = match log.fill_buf().await {
                Ok([]) => break,
                Err(_) => return End::Broken,
                Ok(buffer) => {
                    let room = LONGEST.saturating_sub(text.len());
                    let piece = buffer.get(..room).unwrap_or(buffer);
                    match piece.iter().position(|byte| *byte == b'\n') {
                        Some(end) => {
                            text.extend(piece.iter().take(end));
                            (end + 1, Some(true))
                        }
                        None => {
                            text.extend(piece);
                            (piece.len(), (text.len() >= LONGEST).then_some(false))
                        }
                    }
                }
            };
            log.consume_unpin(used);
            let Some(ends) = whole else { continue };
            let piece = std::mem::take(&mut text);
            if !self.piece(piece, begins, &mut known).await {
                return End::Unheard;
            }
            begins = ends;
        }
        if !text.is_empty() && !self.piece(text, begins, &mut known).await {
            return End::Unheard;
        }
        End::Complete
    }

    /// Sends a line or a piece of one, unless it is known. Returns whether somebody listens.
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
        self.sender.send(Said::Line(line)).await.is_ok()
    }

    /// Whether a line was sent by an earlier reading. Lines that a program writes at once have the same time.
    fn is_known(&mut self, time: Timestamp) -> bool {
        let Some(since) = self.since else { return false };
        if time == since {
            self.seen += 1;
        }
        time < since || (time == since && self.seen <= self.skip)
    }
}

/// The time that a line begins with, and how many bytes that takes.
fn time_of(text: &[u8]) -> Option<(Timestamp, usize)> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()?;
    Some((time, end + 1))
}

/// Finds out what has become of the container.
async fn look(client: &Client, source: &Source) -> Run {
    let pods: Api<Lenient<Pod>> = Api::namespaced(client.clone(), &source.namespace);
    let pod = match pods.get(&source.pod).await {
        Ok(Lenient(Ok(pod))) => pod,
        Ok(Lenient(Err(_))) => return Run::Unknown,
        Err(kube::Error::Api(status)) if status.code == 404 => return Run::Over,
        Err(_) => return Run::Unknown,
    };
    if pod.uid().as_ref() != Some(&source.uid) {
        return Run::Over;
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
        Some(status) if status.restart_count != source.restarts => Run::Over,
        Some(status) if status.state.as_ref().is_some_and(|state| state.running.is_some()) => {
            Run::Runs
        }
        _ => Run::Ended,
    }
}

#[cfg(test)]
mod tests;
