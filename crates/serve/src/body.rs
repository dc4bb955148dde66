//! The body of a response, with what its connection must do while it is sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use crate::account::{Account, Held};
use crate::activity::Busy;
use crate::stop::stopped;
use crate::upload::Unasked;

/// The largest part of a frame that is passed to the connection at a time. The connection takes the
/// next part when the peer has made room for the last one, which shows that the peer still reads.
const PART_BYTES: usize = 64 * 1024;

/// The service's body. It counts as a request in progress until it is dropped. A long-running body
/// ends early when the server stops.
///
/// The connection polls a body again only after it could send the last frame. So a body that was
/// not polled yet, or not since it returned a frame, waits for the peer; one that returned
/// `Pending` waits for the service.
pub(super) struct Body<B> {
    inner: B,
    /// What is left of a large frame.
    rest: Bytes,
    /// Set for a long-running body: ready once the server stops.
    stop: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    busy: Busy,
    account: Arc<Account>,
    /// Counts the bytes that are kept until the response is complete.
    _held: Arc<Held>,
    /// The unread body of the request, kept until the response is complete.
    _unasked: Option<Arc<Unasked>>,
}

// === impl Body ===

impl<B> Body<B> {
    /// `stop` is given for a long-running body, `unasked` where the request's body may never be
    /// read.
    pub(super) fn new(
        inner: B,
        mut busy: Busy,
        (account, held): (Arc<Account>, Arc<Held>),
        unasked: Option<Arc<Unasked>>,
        stop: Option<watch::Receiver<bool>>,
    ) -> Self {
        if stop.is_some() {
            busy.set_long_running();
        }
        busy.advance(true);
        let stop = stop.map(|stop| Box::pin(stopped(stop)) as _);
        Self { inner, rest: Bytes::new(), stop, busy, account, _held: held, _unasked: unasked }
    }

    fn next_part(&mut self) -> Frame<Bytes> {
        let length = self.rest.len().min(PART_BYTES);
        let part = self.rest.split_to(length);
        Frame::data(Account::passed(&self.account, part))
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
        if !self.rest.is_empty() {
            self.busy.advance(true);
            return Poll::Ready(Some(Ok(self.next_part())));
        }
        // Ready frames are sent before the stop is checked: committed events reach the client.
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        self.busy.advance(frame.is_ready());
        if frame.is_pending()
            && let Some(stop) = &mut self.stop
            && stop.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        frame.map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.next_part()
            }
            Err(frame) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
