//! The body of a response, with what its connection must do while it is sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use crate::activity::Busy;
use crate::stop::stopped;
use crate::upload::Unasked;

/// The service's body. It counts as a request in progress until it is dropped. A long-running body
/// ends early when the server stops.
pub(super) struct Body<B> {
    inner: B,
    /// Set for a long-running body: ready once the server stops.
    stop: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _busy: Busy,
    /// The unread body of the request, kept until the response is complete.
    _unasked: Option<Arc<Unasked>>,
}

// === impl Body ===

impl<B> Body<B> {
    /// `stop` is given for a long-running body, `unasked` where the request's body may never be
    /// read.
    pub(super) fn new(
        inner: B,
        busy: Busy,
        unasked: Option<Arc<Unasked>>,
        stop: Option<watch::Receiver<bool>>,
    ) -> Self {
        let stop = stop.map(|stop| Box::pin(stopped(stop)) as _);
        Self { inner, stop, _busy: busy, _unasked: unasked }
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // Ready frames are sent before the stop is checked: committed events reach the client.
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if frame.is_pending()
            && let Some(stop) = &mut self.stop
            && stop.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
