//! Peers that do not take the data of their responses.

use super::*;

/// An HTTP/2 client that lets the server send this many bytes before it reads them.
async fn http2_with_window(server: &Server, bytes: u32) -> Client {
    let io = TokioIo::new(server.tls("h2").await);
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(bytes)
        .handshake(io)
        .await
        .unwrap();
    Client::Two(sender, tokio::spawn(async { connection.await.unwrap_or_default() }))
}

/// Opens a connection whose peer never takes a response, and waits until it is closed.
async fn check_stalled_is_closed(server: &Server) {
    let mut client = http2_with_window(server, 0).await;
    let response = client.get("/").await.unwrap();
    client.closed().await;
    assert!(text(response.into_body()).await.is_err());
}

#[tokio::test]
async fn http2_peer_with_a_zero_window_is_closed() {
    let server = Server::start(Limits { stalled: SHORT, ..Limits::default() }, true, TIMEOUT);
    check_stalled_is_closed(&server).await;
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn http1_peer_that_does_not_read_is_closed() {
    let server = Server::start(Limits { stalled: SHORT, ..Limits::default() }, false, TIMEOUT);
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(stalled.read_u8().await.unwrap(), b'H');
    // Nothing is read until the server has closed the connection, which a write notices.
    let closed = async { while stalled.write_all(b"\n").await.is_ok() {} };
    tokio::time::timeout(TIMEOUT, closed).await.unwrap();
    let mut rest = Vec::new();
    // It does not matter how the other end closes.
    let _ = stalled.read_to_end(&mut rest).await;
    assert!(rest.len() < LARGE, "{}", rest.len());
    server.stop().await;
}

#[tokio::test]
async fn slow_reader_of_one_large_frame_gets_it_all() {
    const STEP: usize = 2 * 1024 * 1024;
    let limits = Limits {
        stalled: SHORT,
        first_request: SHORT,
        idle: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = Server::start(limits, true, TIMEOUT);
    let mut client = http2_with_window(&server, 64 * 1024).await;
    let mut body = client.get("/large").await.unwrap().into_body();
    let (mut all, mut next) = (0, STEP);
    while let Some(frame) = body.frame().await {
        all += frame.unwrap().into_data().unwrap().len();
        if all >= next {
            next += STEP;
            tokio::time::sleep(SHORT / 4).await; // the reader is slow
        }
    }
    assert_eq!(all, LARGE);
    server.stop().await;
}

#[tokio::test]
async fn idle_watch_stays_and_a_watch_whose_events_are_not_taken_is_closed() {
    let limits = Limits { stalled: SHORT, stalled_long_running: SHORT, ..Limits::default() };
    let mut server = Server::start(limits, true, TIMEOUT);
    let mut idle = server.http2().await;
    let response = idle.get("/watch").await.unwrap();
    server.started.recv().await.unwrap();
    // Each takes as long as the idle watch may not stall.
    check_stalled_is_closed(&server).await;
    check_stalled_is_closed(&server).await;
    server.lines.send(frame("still here")).await.unwrap();
    server.stop().await;
    assert_eq!(text(response.into_body()).await.unwrap(), "still here");

    let mut server = Server::start(limits, true, TIMEOUT);
    let mut deaf = http2_with_window(&server, 0).await;
    let response = deaf.get("/watch").await.unwrap();
    server.started.recv().await.unwrap();
    server.lines.send(frame("event")).await.unwrap();
    deaf.closed().await;
    assert!(text(response.into_body()).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn long_running_responses_have_their_own_limit() {
    let limits = Limits { stalled: SHORT, ..Limits::default() };
    let mut server = Server::start(limits, true, TIMEOUT);
    let mut paused = http2_with_window(&server, 64 * 1024).await;
    let response = paused.get("/watch").await.unwrap();
    server.started.recv().await.unwrap();
    let large = Bytes::from(vec![b'x'; LARGE]);
    server.lines.send(Ok(http_body::Frame::data(large))).await.unwrap();
    check_stalled_is_closed(&server).await;
    check_stalled_is_closed(&server).await;
    let reading = tokio::spawn(text(response.into_body()));
    server.stop().await;
    assert_eq!(reading.await.unwrap().unwrap().len(), LARGE);
}

#[tokio::test]
async fn requests_wait_while_the_answers_of_their_connection_are_not_taken() {
    let limits = Limits { answer_bytes: 2 * LARGE, stalled: SHORT, ..Limits::default() };
    let mut server = Server::start(limits, true, TIMEOUT);
    let mut deaf = http2_with_window(&server, 0).await;
    let answers = [deaf.get("/large").await.unwrap(), deaf.get("/large").await.unwrap()];
    // This one waits for the peer, too, which must not keep the connection open.
    let Client::Two(sender, _) = &mut deaf else { panic!("HTTP/1.1") };
    let request = Request::builder().uri("https://localhost/hang").body(Empty::new()).unwrap();
    let waiting = sender.send_request(request);
    deaf.closed().await;
    assert!(waiting.await.is_err());
    assert!(server.started.try_recv().is_err(), "the request must not reach the service");
    drop(answers);
    server.stop().await;
}

#[tokio::test]
async fn connections_that_hold_the_most_memory_are_closed_and_others_are_served() {
    let limits = Limits { memory_bytes: 3 * LARGE, ..Limits::default() };
    let server = Server::start(limits, true, TIMEOUT);
    let mut other = server.http1().await;
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut client = http2_with_window(&server, 0).await;
        let answer = client.get("/large").await.unwrap();
        deaf.push((client, answer));
        assert_eq!(other.text("/").await, "127.0.0.1 HTTP/1.1");
    }
    let is_closed = |(client, _): &(Client, Response<Incoming>)| {
        let (Client::One(_, closed) | Client::Two(_, closed)) = client;
        closed.is_finished()
    };
    let enough = async {
        while deaf.iter().filter(|client| is_closed(client)).count() < 5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, enough).await.unwrap();
    drop(deaf);
    server.stop().await;
}

#[tokio::test]
async fn answers_that_the_peer_cancels_count_no_more() {
    let limits = Limits { answer_bytes: 256 * 1024, ..Limits::default() };
    let server = Server::start(limits, true, TIMEOUT);
    let mut client = http2_with_window(&server, 64 * 1024).await;
    for _ in 0..20 {
        let mut body = client.get("/large").await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
    }
    assert_eq!(client.text("/").await, "127.0.0.1 HTTP/2.0");
    drop(client);
    assert_eq!(server.stop().await, Drained { cut: 0 });
}
