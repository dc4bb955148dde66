use std::convert::Infallible;

use futures_util::FutureExt as _;
use http_body_util::{Full, StreamBody};
use tokio::sync::mpsc;

use super::*;

/// A body of which parts arrive when they are sent.
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
async fn slow_bodies_leave_the_room_to_those_that_arrive() {
    let room = Room::new(100, 10);
    let (first, slow) = body();
    let mut slow = std::pin::pin!(room.read(slow));
    first.try_send(60).unwrap();
    assert!(slow.as_mut().now_or_never().is_none());
    let (second, other) = body();
    let mut other = std::pin::pin!(room.read(other));
    second.try_send(30).unwrap();
    assert!(other.as_mut().now_or_never().is_none());
    assert_eq!(room.held(), 90);
    let arrived = room.read(Full::new(Bytes::from(vec![b' '; 50]))).now_or_never().unwrap();
    assert_eq!(arrived.as_ref().unwrap().bytes.len(), 50);
    assert_eq!(room.held(), 80);
    assert_eq!(slow.await.unwrap_err().0, 503, "the oldest has made room");
    drop(second);
    assert_eq!(other.await.unwrap().bytes.len(), 30, "the other has not");
    drop(arrived);
    assert_eq!(room.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_longer_than_its_api_server_waits_is_given_up() {
    let room = Room::new(100, 10);
    let (_first, slow) = body();
    let begun = tokio::time::Instant::now();
    assert_eq!(room.read(slow).await.unwrap_err().0, 408);
    assert_eq!(begun.elapsed(), PATIENCE);
    assert_eq!(room.held(), 0);
}
