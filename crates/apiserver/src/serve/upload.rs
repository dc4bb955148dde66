//! The body of a request on its way to the service.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// How much of a body that nobody wants is still read, and for how long.
const UNWANTED_BYTES: usize = 8 * 1024 * 1024;
const UNWANTED_TIME: Duration = Duration::from_secs(5);

/// The body of a request that came over the network.
///
/// A service may answer without reading it all (too large, not allowed). A client of HTTP/1.1 that sends first and reads
/// afterwards would then run into a closed connection and never see the answer, so what is left of the body is read and
/// thrown away, within bounds. HTTP/2 says on the stream itself that no more is wanted.
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    sends_all: bool,
}

// === impl RequestBody ===

impl RequestBody {
    pub(super) fn new(inner: Incoming, version: Version) -> Self {
        Self { inner: Some(inner), sends_all: version < Version::HTTP_2 }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
        let Some(body) = self.inner.take().filter(|body| self.sends_all && !body.is_end_stream())
        else {
            return;
        };
        // Outside a runtime there is no connection either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(UNWANTED_TIME, discard(body)));
        }
    }
}

/// Reads until the end, an error or the bound.
async fn discard(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > UNWANTED_BYTES {
            return;
        }
    }
}
