use std::convert::Infallible;

use futures_util::FutureExt as _;
use http_body_util::{Full, StreamBody};
use tokio::sync::mpsc;

use super::*;

/// A body whose parts arrive when a test sends them.
fn body() -> (mpsc::Sender<usize>, impl Body<Data = Bytes, Error = Infallible> + Unpin) {
    let (send, mut parts) = mpsc::channel::<usize>(1);
    let frames = futures_util::stream::poll_fn(move |cx| {
        parts
            .poll_recv(cx)
            .map(|part| part.map(|size| Ok(http_body::Frame::data(Bytes::from(vec![b' '; size])))))
    });
    (send, StreamBody::new(frames))
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_are_dropped_for_those_that_arrive() {
    let memory = BodyMemory::new(100, 10);
    let (first, slow) = body();
    let mut slow = std::pin::pin!(memory.read(slow));
    first.try_send(60).unwrap();
    assert!(slow.as_mut().now_or_never().is_none());
    let (second, other) = body();
    let mut other = std::pin::pin!(memory.read(other));
    second.try_send(30).unwrap();
    assert!(other.as_mut().now_or_never().is_none());
    assert_eq!(memory.held(), 90);
    let arrived = memory.read(Full::new(Bytes::from(vec![b' '; 50]))).now_or_never().unwrap();
    assert_eq!(arrived.as_ref().unwrap().bytes.len(), 50);
    assert_eq!(memory.held(), 80);
    assert_eq!(slow.await.unwrap_err().0, 503, "the oldest was dropped");
    drop(second);
    assert_eq!(other.await.unwrap().bytes.len(), 30, "the other was not");
    drop(arrived);
    assert_eq!(memory.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_longer_than_its_api_server_waits_is_dropped() {
    let memory = BodyMemory::new(100, 10);
    let (_first, slow) = body();
    let begun = tokio::time::Instant::now();
    assert_eq!(memory.read(slow).await.unwrap_err().0, 408);
    assert_eq!(begun.elapsed(), READ_TIMEOUT);
    assert_eq!(memory.held(), 0);
}
