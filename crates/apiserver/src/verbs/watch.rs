//! Watches: a list's successor, streamed.
//!
//! A watch is a position in the store's log. It has no buffer, so that a slow client delays nobody:
//! once the history that it needs is gone, it gets a 410 in the stream and ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::TryStreamExt;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mxjob_store::{Event, EventKind, ReadError, Revision};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::body::BodyError;
use crate::context::Context;
use crate::conversion;
use crate::document;
use crate::environment::Environment;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::negotiate::{Encoding, Transform};
use crate::options::ListOptions;
use crate::protobuf;
use crate::rendering::Rendering;
use crate::server::Closing;
use crate::table;
use crate::verbs::list;

/// Timeout of a watch if the client sets none. Upstream's is between 30 and 60 minutes.
const DEFAULT_LIFE: Duration = Duration::from_secs(45 * 60);
/// How often a quiet watch that asked for bookmarks gets one (upstream: about a minute).
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before its end a watch gets a last bookmark (upstream's two seconds).
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Interval at which a watch that waits for a resource version checks for it.
const INITIAL_END_POLL: Duration = Duration::from_millis(50);
/// The annotation of the bookmark that ends the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Answers a watch.
pub(crate) fn watch(
    context: &Context<'_>,
    rendering: Rendering,
    closing: Closing,
) -> Result<Answer, ApiError> {
    let options = ListOptions::parse(context.query, context.shown, true)?;
    let options = ListOptions { name: context.path.name.map(|name| name.to_string()), ..options };
    let store = &context.services.store;
    let prefix = list::narrowed(context, &options, &list::prefix(context));
    let asked = options.resource_version.filter(|version| *version != Revision::ZERO);
    let wants_state = options.initial_events.unwrap_or_else(|| asked.is_none());
    let current = store.revision();
    let mut from = asked.unwrap_or(current);
    let options = ListOptions { limit: 0, resource_version: None, version_match: None, ..options };
    let mut encoder = Encoder::new(context, rendering, options);
    let (mut items, mut end) = (Vec::new(), None);
    if wants_state {
        let meta;
        (items, meta) = list::select(context, &encoder.options)?;
        from = meta.resource_version.parse().map_or(from, Revision::new);
        if encoder.options.initial_events == Some(true) && encoder.options.bookmarks {
            // The client may ask for a future version; until it is reached, the list is not
            // complete.
            match asked.filter(|asked| *asked > from) {
                None => end = Some(Initial::End(from)),
                Some(asked) => encoder.initial_until = Some(asked),
            }
        }
    }
    // A version from the future is waited for, as upstream waits.
    encoder.not_before = from;
    match store.watch(&prefix, from.min(current)) {
        Ok(events) => {
            let initial = items.into_iter().map(Initial::Object).chain(end).collect();
            Ok(encoder.answer(initial, events, closing))
        }
        Err(error) => {
            let mut lines: Vec<_> = items.iter().map(|item| encoder.frame("ADDED", item)).collect();
            if let ReadError::TooOld { floor } = error {
                let message = format!("too old resource version: {from} ({floor})");
                lines.push(encoder.error(&ApiError::expired(message)));
            }
            let encoding = rendering.form.encoding;
            Ok(answer(encoding, stream::iter(lines.into_iter().map(Ok))))
        }
    }
}

/// Turns store events into lines of the watch.
struct Encoder {
    kind: Arc<Kind>,
    options: ListOptions,
    rendering: Rendering,
    environment: Arc<dyn Environment>,
    /// When the watch ends.
    deadline: Option<Instant>,
    /// Events up to here are not for the client.
    not_before: Revision,
    /// The revision at which the initial events end, where that is still to come.
    initial_until: Option<Revision>,
    first_table: bool,
}

impl Encoder {
    fn new(context: &Context<'_>, rendering: Rendering, options: ListOptions) -> Self {
        Self {
            kind: Arc::clone(context.shown),
            deadline: Instant::now()
                .checked_add(options.timeout_seconds.map_or(DEFAULT_LIFE, Duration::from_secs)),
            options,
            rendering,
            environment: Arc::clone(&context.services.environment),
            not_before: Revision::ZERO,
            initial_until: None,
            first_table: true,
        }
    }

    /// The line for a store event; `None` where the client does not see it.
    fn event(&mut self, event: &Event) -> Option<Bytes> {
        if event.revision <= self.not_before {
            return None;
        }
        if self.options.selects_all() {
            return Some(match event.kind {
                EventKind::Put if event.created => self.frame("ADDED", &event.value),
                EventKind::Put => self.frame("MODIFIED", &event.value),
                EventKind::Delete => {
                    self.frame("DELETED", &document::restamp(&event.value, event.revision))
                }
            });
        }
        // An object enters and leaves the selection: what the client sees depends on before and
        // after.
        let selected = |bytes: &Bytes| self.options.selects(&self.kind, &document::decode(bytes));
        let before = event.previous.as_ref().is_some_and(selected);
        let after = event.kind == EventKind::Put && selected(&event.value);
        match (before, after) {
            (false, true) => Some(self.frame("ADDED", &event.value)),
            (true, true) => Some(self.frame("MODIFIED", &event.value)),
            (true, false) => {
                let last = event.previous.as_ref().unwrap_or(&event.value);
                Some(self.frame("DELETED", &document::restamp(last, event.revision)))
            }
            (false, false) => None,
        }
    }

    fn frame(&mut self, kind: &str, stored: &Bytes) -> Bytes {
        let object = conversion::shown(&self.kind, stored);
        self.event_with(kind, &object)
    }

    /// An event with an object in the requested form.
    fn event_with(&mut self, kind: &str, object: &[u8]) -> Bytes {
        let form = self.rendering.form;
        match (form.encoding, form.transform) {
            (Encoding::Protobuf, Transform::Partial(version) | Transform::PartialList(version)) => {
                mxjob_protobuf::watch_frame(kind, &protobuf::partial(object, version)).into()
            }
            (Encoding::Protobuf, _) => protobuf_frame(kind, object),
            (Encoding::Json | Encoding::Yaml, _) => {
                let transformed = self.transform(object);
                line(kind, transformed.as_deref().unwrap_or(object))
            }
        }
    }

    /// The requested form of objects; `None` for the objects themselves.
    fn transform(&mut self, object: &[u8]) -> Option<Vec<u8>> {
        let rendering = Rendering { now: self.environment.now(), ..self.rendering };
        match rendering.form.transform {
            Transform::None => None,
            Transform::Table(version) => {
                let first = std::mem::take(&mut self.first_table);
                Some(table::event_table(
                    &self.kind,
                    &document::decode(object),
                    version,
                    &rendering,
                    first,
                ))
            }
            Transform::Partial(version) | Transform::PartialList(version) => {
                Some(table::partial(object, version))
            }
        }
    }

    /// A bookmark comes in the form of the events, since clients decode it like them.
    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let mut object = serde_json::json!({
            "kind": self.kind.kind,
            "apiVersion": self.kind.api_version(),
            "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
        });
        if initial_end {
            let annotations = serde_json::json!({INITIAL_EVENTS_END: "true"});
            document::metadata_mut(&mut object).insert("annotations".to_owned(), annotations);
        }
        self.event_with("BOOKMARK", &document::to_vec(&object))
    }

    /// When the next bookmark is due: about every minute, and shortly before the end, so that the
    /// next watch can go on from there.
    fn next_bookmark(&self, now: Instant) -> Instant {
        if self.initial_until.is_some() {
            // other kinds' changes move the version without waking this watch
            return now + INITIAL_END_POLL;
        }
        let regular = now + BOOKMARK_EVERY;
        let last = self.deadline.and_then(|deadline| deadline.checked_sub(BOOKMARK_BEFORE_END));
        last.filter(|last| *last > now).map_or(regular, |last| last.min(regular))
    }

    fn error(&self, error: &ApiError) -> Bytes {
        let status = serde_json::to_vec(error.status()).unwrap_or_default();
        match self.rendering.form.encoding {
            Encoding::Protobuf => protobuf_frame("ERROR", &status),
            Encoding::Json | Encoding::Yaml => line("ERROR", &status),
        }
    }

    fn answer(
        self,
        initial: VecDeque<Initial>,
        events: mxjob_store::Watch,
        mut closing: Closing,
    ) -> Answer {
        let closed = Box::pin(async move {
            // An error means that the server is gone, which ends the watch as well.
            let _ = closing.wait_for(|closing| *closing).await;
        });
        let deadline = self.deadline;
        let end = Box::pin(async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        });
        let next_bookmark = Box::pin(tokio::time::sleep_until(self.next_bookmark(Instant::now())));
        let encoding = self.rendering.form.encoding;
        let lines =
            Lines { encoder: self, initial, events, next_bookmark, closed, end, done: false };
        answer(encoding, lines)
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    Bytes::from(out)
}

/// An event with an object whose kind has a protobuf form; without the object if it has none.
fn protobuf_frame(kind: &str, object: &[u8]) -> Bytes {
    mxjob_protobuf::watch_frame(kind, &protobuf::object(object).unwrap_or_default()).into()
}

fn answer(
    encoding: Encoding,
    events: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
) -> Answer {
    let body = StreamBody::new(events.map_ok(Frame::data)).boxed_unsync();
    let content_type = match encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::Yaml => "application/json",
    };
    Answer::Stream { body, content_type }
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a watch begins with. Each becomes a line when the client takes it, so that a client that
/// takes nothing holds no copy of the objects.
enum Initial {
    Object(Bytes),
    /// The bookmark that ends the initial events.
    End(Revision),
}

/// The lines of a watch.
struct Lines {
    encoder: Encoder,
    initial: VecDeque<Initial>,
    events: mxjob_store::Watch,
    next_bookmark: Pin<Box<tokio::time::Sleep>>,
    closed: Signal,
    end: Signal,
    done: bool,
}

impl Lines {
    /// The bookmark that ends the initial events, once the requested version is reached.
    fn initial_end(&mut self) -> Option<Bytes> {
        let requested = self.encoder.initial_until?;
        let revision = self.events.revision();
        if revision < requested {
            return None;
        }
        self.encoder.initial_until = None;
        Some(self.encoder.bookmark(revision, true))
    }
}

impl Stream for Lines {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Some(initial) = self.initial.pop_front() {
            return Poll::Ready(Some(Ok(match initial {
                Initial::Object(stored) => self.encoder.frame("ADDED", &stored),
                Initial::End(revision) => self.encoder.bookmark(revision, true),
            })));
        }
        loop {
            match Pin::new(&mut self.events).poll_next(task) {
                Poll::Ready(Some(Ok(event))) => {
                    if let Some(line) = self.encoder.event(&event) {
                        return Poll::Ready(Some(Ok(line)));
                    }
                    if let Some(line) = self.initial_end() {
                        return Poll::Ready(Some(Ok(line)));
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    self.done = true;
                    let error = ApiError::expired(
                        "too old resource version: the watch fell behind the kept history",
                    );
                    return Poll::Ready(Some(Ok(self.encoder.error(&error))));
                }
                Poll::Ready(None) => {
                    self.done = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => break,
            }
        }
        if self.closed.as_mut().poll(task).is_ready() || self.end.as_mut().poll(task).is_ready() {
            self.done = true;
            return Poll::Ready(None);
        }
        if let Some(line) = self.initial_end() {
            return Poll::Ready(Some(Ok(line)));
        }
        if self.encoder.options.bookmarks && self.next_bookmark.as_mut().poll(task).is_ready() {
            let next = self.encoder.next_bookmark(Instant::now());
            self.next_bookmark.as_mut().reset(next);
            // Registers the timer again. It cannot be ready immediately.
            let _ = self.next_bookmark.as_mut().poll(task);
            let revision = self.events.revision();
            // There is nothing to mark before the end of the initial events, and before the first
            // event.
            if self.encoder.initial_until.is_none() && revision > self.encoder.not_before {
                return Poll::Ready(Some(Ok(self.encoder.bookmark(revision, false))));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_stored_bytes_in_an_envelope() {
        let line = line("ADDED", br#"{"kind":"MXJob"}"#);
        assert_eq!(&line[..], b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"MXJob\"}}\n");
    }
}
