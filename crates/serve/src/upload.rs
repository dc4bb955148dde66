//! Request bodies, and discarding the part that the service did not read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Limits;
use crate::stop::stopped;

/// How many bodies of the largest discarded size a connection may discard at the same time.
const CONNECTION_DISCARDS: usize = 4;

/// The body of a request that came over the network.
///
/// A service may respond without reading it all (no credentials, too large, not allowed) while the
/// client is still sending. Closing the connection (HTTP/1.1) or resetting the stream (HTTP/2, even
/// with `NO_ERROR`) makes many clients report that error and lose the response. So the rest of the
/// body is read and discarded, within limits of bytes and time. After that, HTTP/1.1 closes the
/// connection and HTTP/2 resets the stream behind the response's last frame.
///
/// A client that sent `Expect: 100-continue` may never send a body that the service does not read.
/// Its body is left alone until the response is complete, and the response closes the connection,
/// since only the client knows what it will send next.
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    discarding: Arc<Discarding>,
    /// Set while the client waits for `100 Continue`, which the first poll sends.
    unasked: Option<Arc<Unasked>>,
}

/// The state that the discarded bodies of one connection share.
#[derive(Debug)]
pub(super) struct Discarding {
    limits: Limits,
    /// Bytes read so far from bodies that are being discarded.
    bytes: AtomicUsize,
    stop: watch::Receiver<bool>,
}

/// A body that the service never read. The request and the response hold it; when both are dropped,
/// it is discarded.
#[derive(Debug)]
pub(super) struct Unasked {
    body: Mutex<Option<Incoming>>,
    discarding: Arc<Discarding>,
}

/// The bytes that one body has added to the connection's total.
struct Share<'a> {
    discarding: &'a Discarding,
    bytes: usize,
}

// === impl RequestBody ===

impl RequestBody {
    pub(super) fn new(inner: Incoming, discarding: Arc<Discarding>) -> Self {
        Self { inner: Some(inner), discarding, unasked: None }
    }

    /// Notes whether a client that sent this head waits for `100 Continue`. HTTP/2 needs no special
    /// case: a body that is never sent ends with its stream, not with the connection.
    pub(super) fn expecting(mut self, version: Version, headers: &HeaderMap) -> Self {
        let expects = headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if version == Version::HTTP_11 && expects && !self.is_end_stream() {
            let discarding = Arc::clone(&self.discarding);
            self.unasked = Some(Arc::new(Unasked { body: Mutex::default(), discarding }));
        }
        self
    }

    /// Where the body is kept if the service never reads it.
    pub(super) fn unasked(&self) -> Option<Arc<Unasked>> {
        self.unasked.clone()
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.unasked = None;
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = Pin::new(inner).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(body) = self.inner.take() else { return };
        match &self.unasked {
            Some(unasked) => unasked.put(body),
            None => Discarding::start(&self.discarding, body),
        }
    }
}

// === impl Discarding ===

impl Discarding {
    pub(super) fn new(limits: Limits, stop: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self { limits, bytes: AtomicUsize::new(0), stop })
    }

    /// Reads the rest of a body until its end, an error, a limit or the server's stop, which does
    /// not wait for it.
    fn start(discarding: &Arc<Self>, mut body: Incoming) {
        if body.is_end_stream() {
            return;
        }
        // Without a runtime there is no connection either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let discarding = Arc::clone(discarding);
        runtime.spawn(async move {
            let mut share = Share { discarding: &discarding, bytes: 0 };
            let read = async {
                while let Some(Ok(frame)) = body.frame().await {
                    if !share.grow(frame.data_ref().map_or(0, Bytes::len)) {
                        return;
                    }
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(discarding.limits.discard_time, read) => {}
                () = stopped(discarding.stop.clone()) => {}
            }
        });
    }
}

// === impl Unasked ===

impl Unasked {
    fn put(&self, body: Incoming) {
        *self.body.lock() = Some(body);
    }

    /// Whether the service dropped the body without reading it.
    pub(super) fn is_dropped(&self) -> bool {
        self.body.lock().is_some()
    }
}

impl Drop for Unasked {
    fn drop(&mut self) {
        let body = self.body.get_mut().take();
        if let Some(body) = body {
            Discarding::start(&self.discarding, body);
        }
    }
}

// === impl Share ===

impl Share<'_> {
    /// Counts bytes; false beyond a limit.
    fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let all = self.discarding.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let limit = self.discarding.limits.discard_bytes;
        self.bytes <= limit && all <= limit.saturating_mul(CONNECTION_DISCARDS)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.discarding.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
