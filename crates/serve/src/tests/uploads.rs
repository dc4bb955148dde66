//! Responses that are sent before the request's body was read.

use futures_util::future::select_all;
use hyper::client::conn::http2::SendRequest;
use tokio_rustls::client::TlsStream;

use super::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Every status that a service may answer before it has read the body.
const EARLY: [u16; 8] = [401, 403, 404, 405, 408, 413, 415, 429];

type Chunks = mpsc::Receiver<Result<http_body::Frame<Bytes>, Infallible>>;
type UploadBody = UnsyncBoxBody<Bytes, Infallible>;

/// A body that is being sent for as long as this exists.
struct Upload(mpsc::Sender<Result<http_body::Frame<Bytes>, Infallible>>);

impl Upload {
    fn start() -> (Self, UploadBody) {
        let (sender, mut chunks): (_, Chunks) = mpsc::channel(1);
        let stream = futures_util::stream::poll_fn(move |cx| chunks.poll_recv(cx));
        (Self(sender), StreamBody::new(stream).boxed_unsync())
    }

    /// Sends this many bytes, or until the stream is reset; returns how many were sent.
    async fn send(&self, bytes: usize) -> usize {
        let mut sent = 0;
        while sent < bytes {
            let chunk = Bytes::from(vec![b'x'; (bytes - sent).min(16 * KIB)]);
            let length = chunk.len();
            if self.0.send(Ok(http_body::Frame::data(chunk))).await.is_err() {
                break;
            }
            sent += length;
        }
        sent
    }

    /// Waits until the server has reset the stream.
    async fn reset(&self) {
        self.0.closed().await;
    }
}

/// One HTTP/2 connection whose requests have bodies.
async fn connect(server: &Server) -> SendRequest<UploadBody> {
    let io = TokioIo::new(server.tls("h2").await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Status and body of the answer to an upload.
async fn post(
    client: &mut SendRequest<UploadBody>,
    path: &str,
    body: UploadBody,
) -> (StatusCode, String) {
    let request = Request::post(format!("https://localhost{path}")).body(body).unwrap();
    let response = client.send_request(request).await.unwrap();
    (response.status(), text(response.into_body()).await.unwrap())
}

/// A refused upload that continues sending.
async fn refused(client: &mut SendRequest<UploadBody>) -> Upload {
    let (upload, body) = Upload::start();
    let answer = post(client, "/refuse/401", body).await;
    assert_eq!(answer, (StatusCode::UNAUTHORIZED, "refused".to_owned()));
    upload
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("timed out")
}

/// The head of a request by HTTP/1.1, with more header lines.
fn head(path: &str, size: usize, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n{more}\r\n")
}

/// Reads until the end of a response with this body.
async fn answer(stream: &mut TlsStream<TcpStream>, body: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(body.as_bytes()) {
        let count = stream.read_buf(&mut answer).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn early_response_on_http2_is_complete_and_the_stream_ends_cleanly() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    let mut client = connect(&server).await;
    within(async {
        for status in EARLY {
            let (upload, body) = Upload::start();
            let (found, text) = post(&mut client, &format!("/refuse/{status}"), body).await;
            assert_eq!((found.as_u16(), &*text), (status, "refused"));
            // Many windows of data: the server reads the stream and does not reset it.
            assert_eq!(upload.send(3 * MIB).await, 3 * MIB, "{status}");
        }
    })
    .await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn early_response_on_http1_is_complete_and_the_connection_stays_usable() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    let mut stream = server.tls("http/1.1").await;
    within(async {
        for status in EARLY {
            let (path, size) = (format!("/refuse/{status}"), 3 * MIB);
            stream.write_all(head(&path, size, "").as_bytes()).await.unwrap();
            let answer = answer(&mut stream, "refused").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(!answer.contains("Connection:"), "{answer}");
            stream.write_all(&vec![b'x'; size]).await.unwrap();
        }
    })
    .await;
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn early_response_on_http1_reaches_a_client_that_sends_its_whole_body_first() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    let mut stream = server.tls("http/1.1").await;
    within(async {
        for _ in 0..2 {
            let size = 4 * MIB;
            stream.write_all(head("/refuse/413", size, "").as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; size]).await.unwrap();
            let answer = answer(&mut stream, "refused").await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        }
    })
    .await;
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn unread_body_gets_no_100_continue_and_the_response_closes_the_connection() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    // A client that sends the body without `100 Continue` also sees the response.
    for sends in [false, true] {
        let mut stream = server.tls("http/1.1").await;
        let size = 3 * MIB;
        let head = head("/refuse/401", size, "Expect: 100-continue\r\n");
        within(async {
            stream.write_all(head.as_bytes()).await.unwrap();
            if sends {
                stream.write_all(&vec![b'x'; size]).await.unwrap();
            }
            let answer = answer(&mut stream, "refused").await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            if sends {
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert!(rest.is_empty());
            }
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn read_body_gets_100_continue_and_the_connection_stays_usable() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    let mut stream = server.tls("http/1.1").await;
    within(async {
        for _ in 0..2 {
            let head = head("/read", 3, "Expect: 100-continue\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            answer(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
            stream.write_all(b"abc").await.unwrap();
            let answer = answer(&mut stream, "\r\n\r\n3").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(!answer.contains("Connection:"), "{answer}");
        }
    })
    .await;
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn refused_upload_without_progress_ends_after_the_discard_time() {
    let limits = Limits { discard_time: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(limits, true, TIMEOUT);
    let mut client = connect(&server).await;
    within(async {
        let upload = refused(&mut client).await;
        upload.reset().await;
        // The connection is still usable.
        let (upload, body) = Upload::start();
        drop(upload);
        assert_eq!(post(&mut client, "/read", body).await.1, "0");

        let mut stream = server.tls("http/1.1").await;
        stream.write_all(head("/refuse/401", MIB, "").as_bytes()).await.unwrap();
        answer(&mut stream, "refused").await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the server closes the connection");
    })
    .await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn endless_refused_upload_is_reset_beyond_the_limit() {
    let limits = Limits { discard_bytes: 2 * MIB, discard_time: TIMEOUT, ..Limits::default() };
    let server = Server::start(limits, true, TIMEOUT);
    let mut client = connect(&server).await;
    let sent = within(async { refused(&mut client).await.send(100 * MIB).await }).await;
    // The window and the client's buffers limit what was sent but not read.
    assert!((2 * MIB..4 * MIB).contains(&sent), "{sent} bytes");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn refused_uploads_share_a_limit_and_leave_the_window_to_others() {
    let limits = Limits { discard_bytes: MIB, discard_time: TIMEOUT, ..Limits::default() };
    let server = Server::start(limits, true, TIMEOUT);
    let mut client = connect(&server).await;
    within(async {
        // Each is within its own limit and none ends; the connection has room for five of them.
        let mut uploads = Vec::new();
        for _ in 0..5 {
            uploads.push(refused(&mut client).await);
        }
        for upload in &uploads {
            assert_eq!(upload.send(800 * KIB).await, 800 * KIB);
        }
        // They have sent four times the connection's window.
        let (upload, body) = Upload::start();
        let read = post(&mut client, "/read", body);
        let send = async move { assert_eq!(upload.send(2 * MIB).await, 2 * MIB) };
        assert_eq!(tokio::join!(read, send).0.1, (2 * MIB).to_string());

        let upload = refused(&mut client).await;
        upload.send(800 * KIB).await;
        uploads.push(upload);
        select_all(uploads.iter().map(|upload| Box::pin(upload.reset()))).await;
        let (upload, body) = Upload::start();
        drop(upload);
        assert_eq!(post(&mut client, "/read", body).await.1, "0");
    })
    .await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_refused_uploads() {
    let limits = Limits { discard_time: 10 * TIMEOUT, ..Limits::default() };
    let server = Server::start(limits, true, 10 * TIMEOUT);
    let mut client = connect(&server).await;
    let upload = within(refused(&mut client)).await;
    let mut stream = server.tls("http/1.1").await;
    stream.write_all(head("/refuse/401", MIB, "").as_bytes()).await.unwrap();
    within(answer(&mut stream, "refused")).await;
    assert_eq!(server.stop().await, Drained { cut: 0 });
    within(upload.reset()).await;
}
