//! Ends a watch that receives no data.
//!
//! A connection that broke without notice (a router forgot it, the other end lost power) looks like
//! one on which nothing happens. API servers send a bookmark about every minute, so a watch without
//! data for longer is ended, and its client resumes with a new one: a single cheap request if the
//! watch was alive after all.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep};

/// The longest time without data: one bookmark may be lost.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(130);

/// A body that ends after a time without data.
pub(crate) struct IdleTimeout {
    body: Body,
    timeout: Duration,
    end: Pin<Box<Sleep>>,
}

// === impl IdleTimeout ===

impl IdleTimeout {
    pub(crate) fn new(body: Body, timeout: Duration) -> Self {
        Self { body, timeout, end: Box::pin(sleep(timeout)) }
    }
}

impl HttpBody for IdleTimeout {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, kube::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let end = Instant::now() + self.timeout;
            self.end.as_mut().reset(end);
            return Poll::Ready(frame);
        }
        ready!(self.end.as_mut().poll(context));
        tracing::debug!(timeout = ?self.timeout, "ended a watch that received no data");
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_after_the_timeout_and_not_before() {
        let seconds = Duration::from_secs;
        let chunks = stream::unfold(0, move |sent| async move {
            // Three chunks, 100 seconds apart, then nothing.
            tokio::time::sleep(if sent < 3 { seconds(100) } else { Duration::MAX }).await;
            Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("a"))), sent + 1))
        });
        let client = kube::Client::new(Answer(Some(StreamBody::new(Box::pin(chunks)))), "default");
        let answer = client.send(http::Request::new(Body::empty())).await.unwrap();
        let begun = Instant::now();
        let body = IdleTimeout::new(answer.into_body(), seconds(130)).collect().await.unwrap();
        assert_eq!(body.to_bytes(), "aaa");
        assert_eq!(begun.elapsed().as_secs(), 430);
    }

    /// Answers once, with this body.
    struct Answer<B>(Option<B>);

    impl<B: Unpin> tower_service::Service<http::Request<Body>> for Answer<B> {
        type Response = http::Response<B>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            std::future::ready(Ok(http::Response::new(self.0.take().unwrap())))
        }
    }
}
