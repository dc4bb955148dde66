//! The body of a response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// An error while a body is sent or received.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body with these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body with these bytes and a line break. Large ones are not copied.
pub(crate) fn line(bytes: Bytes) -> Body {
    /// Below it, one frame more costs more than a copy.
    const COPIED: usize = 16 * 1024;
    if bytes.len() > COPIED {
        return Parts([bytes, Bytes::from_static(b"\n")]).boxed_unsync();
    }
    let mut line = Vec::with_capacity(bytes.len() + 1);
    line.extend_from_slice(&bytes);
    line.push(b'\n');
    full(line)
}

/// A body that keeps a value until it has been sent.
pub(crate) fn keeping(body: Body, kept: impl Send + Unpin + 'static) -> Body {
    Keeping { body, _kept: kept }.boxed_unsync()
}

/// Put into the extensions of a response whose bytes are kept anyway, and shared by all responses
/// with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared;

/// Two frames; those that were sent are empty.
struct Parts([Bytes; 2]);

struct Keeping<T> {
    body: Body,
    _kept: T,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = self.0.iter_mut().find(|part| !part.is_empty());
        Poll::Ready(next.map(|part| Ok(Frame::data(std::mem::take(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}

impl<T: Unpin> http_body::Body for Keeping<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
