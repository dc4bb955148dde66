//! One connection, from its handshake to its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::InvalidMessage;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::account::{Account, Held};
use crate::activity::Activity;
use crate::body::Body;
use crate::metered::Metered;
use crate::peer::{Counted, Peer};
use crate::stop::stopped;
use crate::table::Place;
use crate::takeover::Next;
use crate::upload::Discarding;
use crate::{Limits, LongRunning, PeerCertificates, RequestBody, RequestService, Takeover};

/// Flow-control window of an HTTP/2 stream, as upstream sets it: a small fraction of the largest
/// body.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of a whole connection: a few uploads at the same time.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of a response an HTTP/2 stream buffers beyond what its peer asked for. hyper's default
/// of 400 KiB would be 400 MiB for a connection.
const SEND_BUFFER: usize = 64 * 1024;
/// What a request in progress takes beside its head, approximately.
const REQUEST_BYTES: usize = 8 * 1024;
/// Detects peers that disappeared without closing the connection.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// The response to plain HTTP on a TLS port (Go's servers send the same).
const PLAIN_TO_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// The parameters of a connection.
pub(super) struct Connection<S> {
    pub(super) place: Place,
    pub(super) limits: Limits,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) service: S,
}

/// Adapts the service to hyper's `Service`.
struct Requests<S> {
    service: S,
    peer: Peer,
    certificates: Option<PeerCertificates>,
    stop: watch::Receiver<bool>,
    discarding: Arc<Discarding>,
    next: Arc<Next>,
}

/// Finds connections that are idle for too long.
struct IdleCheck {
    seen: u64,
    closing: bool,
}

/// Closes the account of a connection that ends.
struct Closing<'a>(&'a Account);

/// What to do with an idle connection.
enum Idle {
    Keep,
    /// Gracefully, so that no request in flight is lost.
    Close,
    Drop,
}

// === impl Connection ===

impl<S: RequestService> Connection<S> {
    pub(super) async fn run(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        // Responses are written whole; waiting for more data would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = acceptor else {
            return self.drive(stream, None, None).await;
        };
        let handshake =
            tokio::time::timeout(self.limits.handshake, acceptor.accept(stream).into_fallible());
        let result = tokio::select! {
            result = handshake => result,
            () = stopped(self.stop.clone()) => return,
            () = self.place.peer.told_to_leave() => return,
        };
        let peer = self.place.peer.address();
        match result {
            Ok(Ok(stream)) => {
                let session = stream.get_ref().1;
                let h2 = session.alpn_protocol().map(|protocol| protocol == b"h2");
                let certificates = session.peer_certificates().map(|chain| {
                    PeerCertificates(
                        chain.iter().cloned().map(CertificateDer::into_owned).collect(),
                    )
                });
                // Boxed because a TLS stream is large, and a connection spends most of its life
                // here.
                Box::pin(self.drive(stream, h2, certificates)).await;
            }
            Ok(Err((error, stream))) => {
                tracing::debug!(%peer, %error, "TLS handshake failed");
                let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                if matches!(
                    tls,
                    Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))
                ) {
                    // Best effort with a timeout: the client is not authenticated.
                    let _ = tokio::time::timeout(self.limits.handshake, refuse_plain(stream)).await;
                }
            }
            Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }

    /// Speaks HTTP until the connection ends. `h2` is the result of the protocol negotiation, if
    /// there was one.
    async fn drive<I>(self, io: I, h2: Option<bool>, certificates: Option<PeerCertificates>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { place, limits, stop, service } = self;
        let peer = place.peer.clone();
        let activity = Arc::clone(peer.activity());
        let next = Arc::new(Next::default());
        let builder = builder(&limits, h2);
        let io = TokioIo::new(Metered::new(io, Arc::clone(peer.account())));
        let requests = Requests {
            service,
            peer: peer.clone(),
            certificates,
            stop: stop.clone(),
            discarding: Discarding::new(limits, stop.clone()),
            next: Arc::clone(&next),
        };
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, requests));
        // Dropped before the connection, whose requests must not start when it ends.
        let _closing = Closing(peer.account());
        let mut stop = pin!(stopped(stop));
        let mut stopping = false;
        let mut idle = IdleCheck { seen: 0, closing: false };
        let mut idle_check = pin!(tokio::time::sleep(limits.first_request));
        let stall_pause = limits.stalled.min(limits.stalled_long_running) / 2;
        let mut stall_check = pin!(tokio::time::sleep(stall_pause));
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    return finish(result, &peer, &next).await;
                }
                () = stop.as_mut(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = peer.told_to_leave() => {
                    connection.as_mut().graceful_shutdown();
                    // Once, so that a peer that reads learns that it may send its request again.
                    let _ = tokio::time::timeout(Duration::ZERO, connection.as_mut()).await;
                    return;
                }
                () = idle_check.as_mut() => {
                    match idle.look(&activity) {
                        Idle::Keep => {}
                        Idle::Close => connection.as_mut().graceful_shutdown(),
                        Idle::Drop => {
                            tracing::debug!(?peer, "idle connection closed");
                            return;
                        }
                    }
                    let pause = if idle.closing { limits.first_request } else { limits.idle };
                    idle_check.as_mut().reset(Instant::now() + pause);
                }
                () = stall_check.as_mut() => {
                    let now = Instant::now();
                    let without_progress = activity.without_progress(now);
                    if activity.stall_limit(&limits).is_some_and(|limit| without_progress >= limit) {
                        tracing::debug!(?peer, "connection closed: peer takes no data");
                        return;
                    }
                    stall_check.as_mut().reset(now + stall_pause);
                }
            }
        }
    }
}

/// Tells a client that speaks plain HTTP that it must not.
async fn refuse_plain(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(PLAIN_TO_TLS).await?;
    stream.shutdown().await
}

/// The end of the HTTP part of a connection. What follows it counts as a request, and a stop waits
/// for it.
async fn finish<E: std::fmt::Display>(result: Result<(), E>, peer: &Peer, next: &Next) {
    match result {
        Ok(()) => {
            let _busy = Activity::enter(peer.activity());
            tokio::select! {
                () = next.run() => {}
                () = peer.told_to_leave() => {}
            }
        }
        Err(error) => tracing::debug!(?peer, %error, "connection failed"),
    }
}

// === impl Closing ===

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

// === impl IdleCheck ===

impl IdleCheck {
    /// Called after each pause in which a connection may be idle.
    fn look(&mut self, activity: &Activity) -> Idle {
        let requests = activity.requests();
        let is_idle = !activity.is_busy() && requests == self.seen;
        self.seen = requests;
        if is_idle && (self.closing || requests == 0) {
            Idle::Drop
        } else if is_idle {
            self.closing = true;
            Idle::Close
        } else {
            Idle::Keep
        }
    }
}

fn builder(limits: &Limits, h2: Option<bool>) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Etag`, `Content-Type`: as Go writes them, since some clients compare header names with
        // case.
        .title_case_headers(true)
        // This timer also runs between two requests, so it must not be shorter than the idle time.
        .header_read_timeout(limits.idle.max(limits.first_request))
        .max_buf_size(usize::try_from(limits.head_bytes).unwrap_or(usize::MAX).max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.head_bytes)
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    match h2 {
        Some(true) => builder.http2_only(),
        Some(false) => builder.http1_only(),
        None => builder,
    }
}

// === impl Requests ===

impl<S: RequestService> hyper::service::Service<Request<Incoming>> for Requests<S> {
    type Response = Response<Body<S::Body>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let peer = self.peer.clone();
        let busy = Activity::enter(peer.activity());
        peer.account().head_complete();
        let head = peer.hold_request(REQUEST_BYTES + head_bytes(&request));
        let extensions = request.extensions_mut();
        if let Some(certificates) = &self.certificates {
            extensions.insert(certificates.clone());
        }
        extensions.insert(peer.clone());
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(body, Arc::clone(&self.discarding))
            .expecting(parts.version, &parts.headers);
        let unasked = body.unasked();
        let request = Request::from_parts(parts, body);
        let (mut service, stop) = (self.service.clone(), self.stop.clone());
        let next = Arc::clone(&self.next);
        Box::pin(async move {
            peer.room().await;
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let mut response = service.call(request).await?;
            drop(head);
            if unasked.as_ref().is_some_and(|body| body.is_dropped()) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            if let Some(takeover) = response.extensions().get::<Takeover>() {
                next.set(takeover);
            }
            let long_running = response.extensions().get::<LongRunning>().is_some();
            let held = held(&peer, &response);
            Ok(response.map(|body| {
                let stop = long_running.then_some(stop);
                let account: Arc<Account> = Arc::clone(peer.account());
                Body::new(body, busy, (account, held), unasked, stop)
            }))
        })
    }
}

/// The size of a request's head in memory, approximately.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers = request.headers().iter();
    path + headers.map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>()
}

/// The bytes that a response holds: those that the service counted, or the size of its body.
fn held<B: http_body::Body>(peer: &Peer, response: &Response<B>) -> Arc<Held> {
    if let Some(Counted(held)) = response.extensions().get() {
        return Arc::clone(held);
    }
    let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
    Arc::new(peer.hold_answer(bytes))
}
