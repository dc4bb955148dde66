//! The serving loop: sockets in, requests out, and a stop that leaves nothing half said.
//!
//! ```text
//! bind ─▶ Bound ─▶ accept ─▶ one task a connection: TLS handshake ─▶ HTTP/1.1 or HTTP/2 ─▶ the service
//!                    │                                                            ▲
//!                    └── shutdown: no more connections, no more requests on those there are,
//!                        streams marked `LongRunning` end at their next frame, the rest may finish until the deadline
//! ```
//!
//! Whatever a client does before its first whole request head (nothing, garbage, one byte a minute), and however long it
//! idles afterwards, costs a slot in a bounded number of connections for a bounded time, and nobody else anything. From the
//! head on, the service decides: bodies, their limits and all answers are its matter, and so are panics of its handlers.
//! This module knows nothing of the API.

mod body;
mod connection;
mod takeover;
mod upload;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use mxjob_machinery::backoff;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

pub use crate::takeover::Takeover;
pub use crate::upload::RequestBody;

/// Address of the other end, in the extensions of every request that came over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The certificates that a client showed, its own first; in the extensions of its requests. The client holds the key of the
/// first; nothing else about them is known yet.
#[derive(Debug, Clone)]
pub struct PeerCertificates(pub Arc<[CertificateDer<'static>]>);

/// Put into the extensions of a response whose body has no end of its own (watches, followed logs): a stop ends such a
/// body between two frames, instead of waiting for it until the deadline.
#[derive(Debug, Clone, Copy)]
pub struct LongRunning;

/// A socket that listens; connections wait in it until [`serve`] takes it.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Bounds on what clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. When so many are open, no more are accepted until one is closed; the next ones wait in the
    /// socket's backlog, and when that is full too, the kernel turns them away.
    pub connections: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time from a connection's start to its first whole request head, and from the first byte of a later head (HTTP/1.1)
    /// or the end of the last request to the next head.
    pub first_request: Duration,
    /// How long a connection may idle between requests.
    pub idle: Duration,
    /// Bytes of a request's head.
    pub head_bytes: u32,
    /// Requests at a time on an HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a request's body that are read and discarded after the service dropped it, so that the client sees the
    /// answer; of all such bodies of a connection at the same time, four times as many.
    pub discard_bytes: usize,
    /// How long such a body is read.
    pub discard_time: Duration,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the deadline and were cut.
    pub cut: usize,
}

/// Why serving is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address}: the port is in use by another process; stop it, or choose another port"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// Ports below 1024 need a right.
    #[error("cannot listen on {address}: missing right to use this port; choose one above 1023")]
    NotPermitted {
        /// The address.
        address: SocketAddr,
    },
    /// The address belongs to no interface.
    #[error("cannot listen on {address}: this machine does not have that address")]
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Listens on an address; port 0 picks a free one.
///
/// # Errors
/// Where that is not possible.
pub fn bind(address: SocketAddr) -> Result<Bound, ServeError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Bound { listener, address })
    };
    listen().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::InUse { address },
        io::ErrorKind::PermissionDenied => ServeError::NotPermitted { address },
        io::ErrorKind::AddrNotAvailable => ServeError::NotLocal { address },
        _ => ServeError::Listen { address, source },
    })
}

/// Serves with the usual [`Limits`] until `shutdown`, then lets requests finish for up to `drain`. Without `tls` it
/// speaks plain HTTP, which is for loopback only.
///
/// Dropping the future cuts all connections.
///
/// # Errors
/// Where the socket cannot be used by this runtime. Errors of single connections are logged and end those alone.
pub async fn serve<S, B>(
    bound: Bound,
    tls: Option<Arc<ServerConfig>>,
    service: S,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> Result<Drained, ServeError>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_within(Limits::default(), bound, tls, service, shutdown, drain).await
}

/// [`serve`] with limits of one's own.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within<S, B>(
    limits: Limits,
    bound: Bound,
    tls: Option<Arc<ServerConfig>>,
    service: S,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> Result<Drained, ServeError>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Bound { listener, address } = bound;
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|source| ServeError::Listen { address, source })?;
    let acceptor = tls.map(TlsAcceptor::from);
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut accept_errors = 0;
    let mut full = false;
    loop {
        let room = connections.len() < limits.connections;
        if !room && !full {
            tracing::warn!(
                limit = limits.connections,
                "all connections are taken; new ones wait until one is closed"
            );
        }
        full = !room;
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept(&listener, &mut accept_errors), if room => {
                let Some((stream, peer)) = accepted else { continue };
                let connection = connection::Connection {
                    peer: PeerAddr(peer),
                    limits,
                    stop: stopped.clone(),
                    service: service.clone(),
                };
                connections.spawn(connection.run(stream, acceptor.clone()));
            }
        }
    }
    drop(listener);
    // Every connection holds a receiver; that none is left to hear it is no error.
    let _ = stop.send(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finished).await.is_ok() {
        return Ok(Drained { cut: 0 });
    }
    let cut = connections.len();
    tracing::warn!(cut, "connections were still busy at the deadline of the stop and are cut");
    connections.shutdown().await;
    Ok(Drained { cut })
}

/// The delay after the first of several errors of `accept` in a row, and the longest one.
const ACCEPT_RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// The next connection. `None` after an error that may pass: of the connection at once, of the system (no descriptors, no
/// memory: `accept` would fail again and again without waiting) after a pause. May be dropped at any time.
async fn accept(
    listener: &tokio::net::TcpListener,
    errors: &mut u32,
) -> Option<(TcpStream, SocketAddr)> {
    if let Some(delay) = accept_delay(*errors) {
        tokio::time::sleep(delay).await;
    }
    match listener.accept().await {
        Ok(accepted) => {
            *errors = 0;
            Some(accepted)
        }
        Err(error) if is_of_one_connection(&error) => None,
        Err(error) => {
            if *errors == 0 {
                tracing::warn!(%error, "cannot accept connections for now");
            }
            *errors = errors.saturating_add(1);
            None
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// How long to wait after so many errors in a row.
fn accept_delay(errors: u32) -> Option<Duration> {
    let (first, longest) = ACCEPT_RETRY;
    errors.checked_sub(1).map(|doublings| backoff::exponential(first, longest, doublings))
}

// === impl Bound ===

impl Bound {
    /// The address it listens on, with the port that was picked.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Upstream has no bound; this one stays below the usual limit of 1024 × 4 descriptors with room for files.
            connections: 3_000,
            handshake: Duration::from_secs(10),
            // Upstream's header timeout.
            first_request: Duration::from_secs(32),
            // Upstream's idle timeout.
            idle: Duration::from_secs(90),
            // Selectors and continue tokens are long, tokens too; a quarter of upstream's bound of a MiB holds them all.
            head_bytes: 256 * 1024,
            // Upstream's bound: informers of a controller share one connection.
            streams: 1_000,
            // More than any body that is accepted; a client that was refused stops sending well before.
            discard_bytes: 8 * 1024 * 1024,
            discard_time: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests;
