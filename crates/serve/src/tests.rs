//! The server on loopback sockets, with real TLS.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;

use super::*;

mod stalls;
mod uploads;

/// Longer than any step of these tests takes; a hanging test fails after it.
const TIMEOUT: Duration = Duration::from_secs(20);
/// A timeout that bad clients reach and good ones do not, even on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

/// More than sockets and windows buffer.
const LARGE: usize = 32 * 1024 * 1024;

type Lines = mpsc::Receiver<Result<http_body::Frame<Bytes>, Infallible>>;

/// `/` answers with the peer and the protocol, `/watch` and `/hang` stream what the test sends,
/// marked and not, `/large` answers with [`LARGE`] bytes in one frame, `/refuse/{status}` answers
/// without reading the body, `/read` with the length of the body.
#[derive(Clone)]
struct Fixture {
    lines: Arc<std::sync::Mutex<Option<Lines>>>,
    /// Receives a message when a stream is being answered.
    started: mpsc::Sender<()>,
}

impl Service<Request<RequestBody>> for Fixture {
    type Response = Response<UnsyncBoxBody<Bytes, Infallible>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let peer = request.extensions().get::<Peer>().unwrap().address().ip();
            let path = request.uri().path().to_owned();
            if path == "/" {
                let text = format!("{peer} {:?}", request.version());
                return Ok(Response::new(Full::from(text).boxed_unsync()));
            }
            if path == "/large" {
                return Ok(Response::new(Full::from(vec![b'x'; LARGE]).boxed_unsync()));
            }
            if let Some(status) = path.strip_prefix("/refuse/") {
                drop(request);
                // The body is dropped before the response is ready, and the connection may see both
                // states.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                let refusal = Response::builder().status(status);
                return Ok(refusal.body(Full::from("refused").boxed_unsync()).unwrap());
            }
            if path == "/read" {
                let length = request.into_body().collect().await.unwrap().to_bytes().len();
                return Ok(Response::new(Full::from(length.to_string()).boxed_unsync()));
            }
            let mut lines = this.lines.lock().unwrap().take().unwrap();
            this.started.send(()).await.unwrap();
            let stream = futures_util::stream::poll_fn(move |cx| lines.poll_recv(cx));
            let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
            if path == "/watch" {
                response.extensions_mut().insert(LongRunning);
            }
            Ok(response)
        })
    }
}

/// A running server.
struct Server {
    address: SocketAddr,
    roots: rustls::RootCertStore,
    lines: mpsc::Sender<Result<http_body::Frame<Bytes>, Infallible>>,
    started: mpsc::Receiver<()>,
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<Drained>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start(limits: Limits, tls: bool, drain: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bound = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = bound.local_addr();
        let names = mxjob_access::tls::server_names(address.ip(), None);
        let pki = mxjob_access::tls::open(dir.path(), &names, jiff::Timestamp::now()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap()).unwrap();
        let (lines, receiver) = mpsc::channel(8);
        let (notify, started) = mpsc::channel(8);
        let fixture =
            Fixture { lines: Arc::new(std::sync::Mutex::new(Some(receiver))), started: notify };
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let config = tls.then_some(pki.config);
        let done = tokio::spawn(async move {
            serve(limits, bound, config, fixture, shutdown, drain).await.unwrap()
        });
        Self { address, roots, lines, started, stop, done, _dir: dir }
    }

    async fn tls(&self, alpn: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn http1(&self) -> Client {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.tls("http/1.1").await))
                .await
                .unwrap();
        Client::One(sender, tokio::spawn(async { connection.await.unwrap_or_default() }))
    }

    async fn http2(&self) -> Client {
        let io = TokioIo::new(self.tls("h2").await);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        Client::Two(sender, tokio::spawn(async { connection.await.unwrap_or_default() }))
    }

    async fn stop(self) -> Drained {
        let Self { stop, done, lines, .. } = self;
        drop(lines);
        stop.send(()).unwrap();
        tokio::time::timeout(TIMEOUT, done).await.unwrap().unwrap()
    }
}

type Closed = tokio::task::JoinHandle<()>;

enum Client {
    One(hyper::client::conn::http1::SendRequest<Empty<Bytes>>, Closed),
    Two(hyper::client::conn::http2::SendRequest<Empty<Bytes>>, Closed),
}

impl Client {
    async fn get(&mut self, path: &str) -> hyper::Result<Response<Incoming>> {
        let request = |uri: String| {
            Request::builder().uri(uri).header("host", "localhost").body(Empty::new()).unwrap()
        };
        match self {
            Self::One(sender, _) => sender.send_request(request(path.to_owned())).await,
            Self::Two(sender, _) => {
                sender.send_request(request(format!("https://localhost{path}"))).await
            }
        }
    }

    async fn text(&mut self, path: &str) -> String {
        let response = self.get(path).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        text(response.into_body()).await.unwrap()
    }

    /// Waits until the connection is closed.
    async fn closed(self) {
        let (Self::One(_, closed) | Self::Two(_, closed)) = self;
        tokio::time::timeout(TIMEOUT, closed).await.unwrap().unwrap();
    }
}

async fn text(body: Incoming) -> hyper::Result<String> {
    let bytes = tokio::time::timeout(TIMEOUT, body.collect()).await.unwrap()?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

fn frame(text: &'static str) -> Result<http_body::Frame<Bytes>, Infallible> {
    Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn http1_and_http2_work_over_tls_and_requests_have_the_peer_address() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    let (mut one, mut two) = (server.http1().await, server.http2().await);
    for _ in 0..2 {
        assert_eq!(one.text("/").await, "127.0.0.1 HTTP/1.1");
        assert_eq!(two.text("/").await, "127.0.0.1 HTTP/2.0");
    }
    assert_eq!(server.stop().await, Drained { cut: 0 });
    one.closed().await;
    two.closed().await;
}

#[tokio::test]
async fn plain_http_is_served_without_tls() {
    let server = Server::start(Limits::default(), false, TIMEOUT);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("127.0.0.1 HTTP/1.1"),
        "{answer}"
    );
    server.stop().await;
}

async fn check_stop_ends_watch_after_sent_events(mut server: Server, mut client: Client) {
    let response = client.get("/watch").await.unwrap();
    server.started.recv().await.unwrap();
    server.lines.send(frame("one\n")).await.unwrap();
    server.lines.send(frame("two\n")).await.unwrap();
    let lines = server.lines.clone(); // held: the watch would never end by itself
    assert_eq!(server.stop().await, Drained { cut: 0 });
    assert_eq!(text(response.into_body()).await.unwrap(), "one\ntwo\n");
    client.closed().await;
    drop(lines);
}

#[tokio::test]
async fn a_stop_ends_a_watch_cleanly_on_http1() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    let client = server.http1().await;
    check_stop_ends_watch_after_sent_events(server, client).await;
}

#[tokio::test]
async fn a_stop_ends_a_watch_cleanly_on_http2() {
    let server = Server::start(Limits::default(), true, TIMEOUT);
    let client = server.http2().await;
    check_stop_ends_watch_after_sent_events(server, client).await;
}

#[tokio::test]
async fn stop_waits_for_a_response_in_progress() {
    let mut server = Server::start(Limits::default(), true, TIMEOUT);
    let mut client = server.http1().await;
    let response = client.get("/hang").await.unwrap();
    server.started.recv().await.unwrap();
    let lines = server.lines.clone();
    let address = server.address;
    let stopping = tokio::spawn(server.stop());
    // New connections are refused before the response is complete.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    lines.send(frame("late")).await.unwrap();
    drop(lines);
    assert_eq!(text(response.into_body()).await.unwrap(), "late");
    assert_eq!(stopping.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn endless_response_is_cut_at_the_drain_deadline() {
    let mut server = Server::start(Limits::default(), true, Duration::from_millis(50));
    let mut client = server.http2().await;
    let response = client.get("/hang").await.unwrap();
    server.started.recv().await.unwrap();
    let lines = server.lines.clone();
    assert_eq!(server.stop().await, Drained { cut: 1 });
    assert!(text(response.into_body()).await.is_err());
    drop(lines);
}

#[tokio::test]
async fn silent_slow_and_garbage_clients_are_dropped_and_do_not_block_others() {
    let limits = Limits { handshake: SHORT, first_request: SHORT, ..Limits::default() };
    let server = Server::start(limits, true, TIMEOUT);
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut garbage = TcpStream::connect(server.address).await.unwrap();
    garbage.write_all(&[0xff; 64]).await.unwrap();
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut half_head = server.tls("http/1.1").await;
    half_head.write_all(b"GET / HT").await.unwrap();
    let mut half_preface = server.tls("h2").await;
    half_preface.write_all(b"PRI * HT").await.unwrap();

    assert_eq!(server.http1().await.text("/").await, "127.0.0.1 HTTP/1.1");

    let end = async {
        let mut bytes = Vec::new();
        // It does not matter how the other end closes (cleanly, with a reset, without a TLS close).
        let _ = silent.read_to_end(&mut bytes).await;
        let _ = garbage.read_to_end(&mut bytes).await;
        let _ = half_head.read_to_end(&mut bytes).await;
        let _ = half_preface.read_to_end(&mut bytes).await;
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(
            answer.ends_with(b"Client sent an HTTP request to an HTTPS server.\n"),
            "{answer:?}"
        );
    };
    tokio::time::timeout(TIMEOUT, end).await.unwrap();
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let limits =
        Limits { first_request: SHORT, idle: Duration::from_millis(100), ..Limits::default() };
    let mut server = Server::start(limits, true, TIMEOUT);
    let mut busy = server.http2().await;
    let response = busy.get("/watch").await.unwrap();
    server.started.recv().await.unwrap();
    for h2 in [false, true] {
        let mut idle = if h2 { server.http2().await } else { server.http1().await };
        idle.text("/").await;
        idle.closed().await;
    }
    server.lines.send(frame("still here")).await.unwrap();
    server.stop().await;
    assert_eq!(text(response.into_body()).await.unwrap(), "still here");
}

/// A server for one connection, and a client on it whose response never ends.
async fn full() -> (Server, Client, Response<Incoming>) {
    let mut server = Server::start(Limits { connections: 1, ..Limits::default() }, true, TIMEOUT);
    let mut busy = server.http2().await;
    let response = busy.get("/watch").await.unwrap();
    server.started.recv().await.unwrap();
    (server, busy, response)
}

#[tokio::test]
async fn at_the_connection_limit_an_idle_connection_is_closed_for_the_next() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() }, true, TIMEOUT);
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    for h2 in [false, true] {
        let mut one = if h2 { server.http2().await } else { server.http1().await };
        assert!(one.text("/").await.starts_with("127.0.0.1"));
        let mut next = server.http1().await;
        next.text("/").await;
        // The oldest left first, and this one for a third.
        let mut third = server.http1().await;
        third.text("/").await;
        one.closed().await;
    }
    let mut bytes = Vec::new();
    // It does not matter how the other end closes.
    let _ = tokio::time::timeout(TIMEOUT, silent.read_to_end(&mut bytes)).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_connection_with_a_request_is_never_closed_for_another() {
    let (server, busy, response) = full().await;
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(TIMEOUT, refused.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.is_empty());
    server.lines.send(frame("still here")).await.unwrap();
    server.stop().await;
    assert_eq!(text(response.into_body()).await.unwrap(), "still here");
    busy.closed().await;
}

#[tokio::test]
async fn too_large_head_is_refused() {
    let server =
        Server::start(Limits { head_bytes: 16 * 1024, ..Limits::default() }, true, TIMEOUT);
    let mut one = server.http1().await;
    let response = one.get(&format!("/{}", "a".repeat(20 * 1024))).await.unwrap();
    assert!(response.status().is_client_error(), "{}", response.status());
    server.stop().await;
}

#[test]
fn unusable_address_is_explained_in_one_sentence() {
    let taken = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let message = bind(taken.local_addr()).unwrap_err().to_string();
    let port = taken.local_addr().port();
    let want = format!(
        "cannot listen on 127.0.0.1:{port}: the port is in use by another process; stop it, or choose another port"
    );
    assert_eq!(message, want);
    let message = bind(([192, 0, 2, 1], 0).into()).unwrap_err().to_string();
    assert_eq!(message, "cannot listen on 192.0.2.1:0: this machine does not have that address");
}

#[test]
fn connections_leave_descriptors_for_the_rest_of_the_process() {
    for (files, connections) in
        [(65_536, 3_000), (4_096, 3_000), (3_000, 2_488), (1_024, 512), (256, 128), (0, 0)]
    {
        assert_eq!(Limits::within(files).connections, connections, "{files}");
    }
}

#[test]
fn accept_errors_back_off_exponentially_up_to_a_second() {
    let pause = |errors| accept_delay(errors).map(|delay| delay.as_millis());
    assert_eq!(
        [0, 1, 2, 3, 8, 9, u32::MAX].map(pause),
        [None, Some(5), Some(10), Some(20), Some(640), Some(1000), Some(1000)]
    );
}
