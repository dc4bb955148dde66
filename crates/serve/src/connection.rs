//! One connection, from its handshake to its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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
use tower_service::Service;

use crate::activity::Activity;
use crate::body::Body;
use crate::stop::stopped;
use crate::takeover::Next;
use crate::upload::Discarding;
use crate::{Limits, LongRunning, PeerAddr, PeerCertificates, RequestBody, Takeover};

/// Flow-control window of an HTTP/2 stream, as upstream sets it: a small fraction of the largest
/// body.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of a whole connection: a few uploads at the same time.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Detects peers that disappeared without closing the connection.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// The response to plain HTTP on a TLS port (Go's servers send the same).
const PLAIN_TO_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// The parameters of a connection.
pub(super) struct Connection<S> {
    pub(super) peer: PeerAddr,
    pub(super) limits: Limits,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) service: S,
}

/// Adapts the service to hyper's `Service`.
struct Requests<S> {
    service: S,
    peer: PeerAddr,
    certificates: Option<PeerCertificates>,
    stop: watch::Receiver<bool>,
    activity: Arc<Activity>,
    discarding: Arc<Discarding>,
    next: Arc<Next>,
}

// === impl Connection ===

impl<S, B> Connection<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
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
        };
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
            Ok(Err((error, mut stream))) => {
                tracing::debug!(peer = %self.peer.0, %error, "TLS handshake failed");
                let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                if matches!(
                    tls,
                    Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))
                ) {
                    // Best effort with a timeout: the client is not authenticated.
                    let reply = async {
                        stream.write_all(PLAIN_TO_TLS).await?;
                        stream.shutdown().await
                    };
                    let _ = tokio::time::timeout(self.limits.handshake, reply).await;
                }
            }
            Err(_) => tracing::debug!(peer = %self.peer.0, "TLS handshake timed out"),
        }
    }

    /// Speaks HTTP until the connection ends. `h2` is the result of the protocol negotiation, if
    /// there was one.
    async fn drive<I>(self, io: I, h2: Option<bool>, certificates: Option<PeerCertificates>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, limits, stop, service } = self;
        let activity = Arc::new(Activity::default());
        let next = Arc::new(Next::default());
        let builder = builder(&limits, h2);
        let requests = Requests {
            service,
            peer,
            certificates,
            stop: stop.clone(),
            activity: Arc::clone(&activity),
            discarding: Discarding::new(limits, stop.clone()),
            next: Arc::clone(&next),
        };
        let mut connection =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), requests));
        let mut stop = pin!(stopped(stop));
        let mut check = pin!(tokio::time::sleep(limits.first_request));
        let (mut stopping, mut closing, mut seen) = (false, false, 0);
        let stall_pause = limits.stalled.min(limits.stalled_long_running) / 2;
        let mut stall_check = pin!(tokio::time::sleep(stall_pause));
        let (mut progress, mut progressed) = (0, Instant::now());
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    match result {
                        // The connection stays counted, and a stop waits for it.
                        Ok(()) => next.run().await,
                        Err(error) => {
                            tracing::debug!(peer = %peer.0, %error, "connection failed");
                        }
                    }
                    return;
                }
                () = stop.as_mut(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = check.as_mut() => {
                    let requests = activity.requests();
                    let idle = !activity.is_busy() && requests == seen;
                    if idle && (closing || requests == 0) {
                        tracing::debug!(peer = %peer.0, requests, "idle connection closed");
                        return;
                    }
                    if idle {
                        // A graceful shutdown first, so that no request in flight is lost.
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    seen = requests;
                    let pause = if closing { limits.first_request } else { limits.idle };
                    check.as_mut().reset(Instant::now() + pause);
                }
                () = stall_check.as_mut() => {
                    let now = Instant::now();
                    match activity.stall_limit(&limits) {
                        Some(limit) if activity.progress() == progress => {
                            if now.duration_since(progressed) >= limit {
                                tracing::debug!(peer = %peer.0, "connection closed: peer takes no data");
                                return;
                            }
                        }
                        _ => (progress, progressed) = (activity.progress(), now),
                    }
                    stall_check.as_mut().reset(now + stall_pause);
                }
            }
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
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    match h2 {
        Some(true) => builder.http2_only(),
        Some(false) => builder.http1_only(),
        None => builder,
    }
}

// === impl Requests ===

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let busy = Activity::enter(&self.activity);
        let extensions = request.extensions_mut();
        if let Some(certificates) = &self.certificates {
            extensions.insert(certificates.clone());
        }
        extensions.insert(self.peer);
        let (head, body) = request.into_parts();
        let body = RequestBody::new(body, Arc::clone(&self.discarding))
            .expecting(head.version, &head.headers);
        let unasked = body.unasked();
        let request = Request::from_parts(head, body);
        let (mut service, stop) = (self.service.clone(), self.stop.clone());
        let next = Arc::clone(&self.next);
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let mut response = service.call(request).await?;
            if unasked.as_ref().is_some_and(|body| body.is_dropped()) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            if let Some(takeover) = response.extensions().get::<Takeover>() {
                next.set(takeover);
            }
            let long_running = response.extensions().get::<LongRunning>().is_some();
            Ok(response.map(|body| {
                let stop = long_running.then_some(stop);
                Body::new(body, busy, unasked, stop)
            }))
        })
    }
}
