//! Lists and watches over real connections, with HTTP/1.1 and HTTP/2.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::server::{JOBS, PATIENCE, Server, job};

/// An HTTP/1.1 or HTTP/2 client.
enum Sender {
    One(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    async fn connect(address: std::net::SocketAddr, two: bool) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        if two {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Two(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::One(sender)
        }
    }

    async fn get(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::builder()
            .uri(format!("http://server{path}"))
            .header("host", "server")
            .header("authorization", "Bearer good")
            .header("accept-encoding", "gzip")
            .body(Empty::new())
            .unwrap();
        let answer = async {
            match self {
                Self::One(sender) => sender.send_request(request).await.unwrap(),
                Self::Two(sender) => sender.send_request(request).await.unwrap(),
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("no answer came")
    }
}

/// The next line of a watch.
async fn line(body: &mut Incoming, buffer: &mut Vec<u8>) -> Option<Value> {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            return Some(serde_json::from_slice(&line).unwrap());
        }
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("no event came")?;
        buffer.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
}

async fn lists_and_watches(two: bool) {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let listening = server.listen();

    let mut sender = Sender::connect(listening.address, two).await;
    let list = sender.get(JOBS).await;
    assert_eq!(list.status(), 200);
    assert_eq!(list.version() == http::Version::HTTP_2, two);
    let list = list.into_body().collect().await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));

    // A watch without events responds immediately, and each event arrives without delay.
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = sender.get(&format!("{JOBS}?watch=1&resourceVersion={version}")).await;
    assert_eq!(watch.status(), 200);
    assert_eq!(watch.headers()["content-type"], "application/json");
    let (mut body, mut buffer) = (watch.into_body(), Vec::new());
    for name in ["b", "c"] {
        server.make(JOBS, &job(name)).await;
        let event = line(&mut body, &mut buffer).await.unwrap();
        assert_eq!(
            (event["type"].as_str(), &event["object"]["metadata"]["name"]),
            (Some("ADDED"), &name.into())
        );
    }
    if two {
        // Other requests work in parallel on the same connection.
        assert_eq!(sender.get(&format!("{JOBS}/b")).await.status(), 200);
    }
    server.api.close_streams();
    assert!(line(&mut body, &mut buffer).await.is_none(), "the watch ends cleanly");
    drop(sender);
    listening.stop().await;
}

#[tokio::test]
async fn lists_and_watches_work_over_http_1() {
    lists_and_watches(false).await;
}

#[tokio::test]
async fn lists_and_watches_work_over_http_2() {
    lists_and_watches(true).await;
}

#[tokio::test]
async fn large_lists_are_compressed_on_both_protocols() {
    use std::io::Read;
    let server = Server::start().await;
    for index in 0..300 {
        server.make(JOBS, &job(&format!("j{index:03}"))).await;
    }
    let listening = server.listen();
    for two in [false, true] {
        let mut sender = Sender::connect(listening.address, two).await;
        let list = sender.get(JOBS).await;
        assert_eq!(list.headers()["content-encoding"], "gzip");
        let packed = list.into_body().collect().await.unwrap().to_bytes();
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut plain).unwrap();
        let list: Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(300), "HTTP/2: {two}");
    }
    listening.stop().await;
}
