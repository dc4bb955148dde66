//! A watch that hears nothing is taken for dead.
//!
//! A connection that was cut without a word (a router forgot it, the other end lost power) looks like one on which nothing
//! happens. API servers send a bookmark about every minute, so a longer silence ends the watch, and whoever follows it asks
//! for a new one from where it stood: one cheap request where the watch was alive after all.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep};

/// The longest silence: one bookmark may be lost on the way.
pub(crate) const SILENCE: Duration = Duration::from_secs(130);

/// A body that ends after a silence.
pub(crate) struct UntilSilence {
    body: Body,
    silence: Duration,
    end: Pin<Box<Sleep>>,
}

// === impl UntilSilence ===

impl UntilSilence {
    pub(crate) fn new(body: Body, silence: Duration) -> Self {
        Self { body, silence, end: Box::pin(sleep(silence)) }
    }
}

impl HttpBody for UntilSilence {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, kube::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let end = Instant::now() + self.silence;
            self.end.as_mut().reset(end);
            return Poll::Ready(frame);
        }
        ready!(self.end.as_mut().poll(context));
        tracing::debug!(silence = ?self.silence, "a watch has said nothing and is taken for dead");
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_after_a_silence_and_not_before() {
        let seconds = Duration::from_secs;
        let words = stream::unfold(0, move |said| async move {
            // Three words, 100 seconds apart, then nothing any more.
            tokio::time::sleep(if said < 3 { seconds(100) } else { Duration::MAX }).await;
            Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("a"))), said + 1))
        });
        let client = kube::Client::new(Answer(Some(StreamBody::new(Box::pin(words)))), "default");
        let answer = client.send(http::Request::new(Body::empty())).await.unwrap();
        let begun = Instant::now();
        let body = UntilSilence::new(answer.into_body(), seconds(130)).collect().await.unwrap();
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
