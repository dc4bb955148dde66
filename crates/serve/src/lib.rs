//! The HTTP(S) server: accepts connections, passes requests to a service, and shuts down without
//! cutting responses short.
//!
//! ```text
//! bind ─▶ Bound ─▶ accept ─▶ one task a connection: TLS handshake ─▶ HTTP/1.1 or HTTP/2 ─▶ service
//!                    │
//!                    └── shutdown: no new connections or requests; `LongRunning` streams end at their
//!                        next frame, other requests may finish until the deadline
//! ```
//!
//! A client that sends no complete request head (nothing, garbage, one byte a minute), or that
//! idles afterwards, or that does not take the data of its responses, occupies one of a bounded
//! number of connections for a bounded time, and a bounded part of the memory. When either runs
//! out, the connections that use them worst are closed: those without a request for the longest
//! time, or those that hold the most and take the least. After the head, the service is
//! responsible: for bodies and their limits, for all responses, and for panics of its handlers.
//! This crate knows nothing of the API.

mod account;
mod activity;
mod body;
mod connection;
mod metered;
mod peer;
mod stop;
mod table;
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
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::table::Table;

pub use crate::account::Held;
pub use crate::peer::{Counted, Peer};
pub use crate::takeover::Takeover;
pub use crate::upload::RequestBody;

/// The certificate chain of the client, its own certificate first, in the extensions of its
/// requests. The handshake proved only that the client holds the key of the first one.
#[derive(Debug, Clone)]
pub struct PeerCertificates(pub Arc<[CertificateDer<'static>]>);

/// Put into the extensions of a response whose body does not end by itself (watches, followed
/// logs). A stop ends such a body between two frames instead of waiting for it until the deadline.
#[derive(Debug, Clone, Copy)]
pub struct LongRunning;

/// A listening socket. Connections wait in its backlog until [`serve`] accepts them.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Limits on what clients may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections. At the limit the one without a request for the longest time is closed for
    /// a new one; if all have a request, the new one is closed. Connections from other machines may
    /// use seven eighths, those from one address or IPv6 network a quarter.
    pub connections: usize,
    /// Bytes of answers that a connection may keep because its peer does not take them. Above it
    /// further requests of the connection wait.
    pub answer_bytes: usize,
    /// Bytes that all connections together may hold: requests, answers and buffers. Above it the
    /// connections are closed that hold the most and take the least.
    pub memory_bytes: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time from a connection's start to its first complete request head. Also the time from the
    /// first byte of a later head (HTTP/1.1), or from the end of the last request, to the next
    /// head.
    pub first_request: Duration,
    /// How long a connection may idle between requests.
    pub idle: Duration,
    /// How long a peer may take no data while all responses of its connection have some for it.
    /// After that the connection is closed, at the latest after half of that time again. A response
    /// that waits for the service keeps the connection open.
    pub stalled: Duration,
    /// The same if one of the responses is [`LongRunning`].
    pub stalled_long_running: Duration,
    /// Size of a request's head in bytes.
    pub head_bytes: u32,
    /// Concurrent requests on an HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a request's body that are read and discarded after the service dropped it, so that
    /// the client sees the response. All such bodies of a connection together may have four times
    /// as many.
    pub discard_bytes: usize,
    /// How long the rest of such a body is read.
    pub discard_time: Duration,
}

/// The outcome of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the deadline and were closed.
    pub cut: usize,
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process listens on that port.
    #[error(
        "cannot listen on {address}: the port is in use by another process; stop it, or choose another port"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// Ports below 1024 need a privilege.
    #[error("cannot listen on {address}: no permission to use this port; choose one above 1023")]
    NotPermitted {
        /// The address.
        address: SocketAddr,
    },
    /// No interface has the address.
    #[error("cannot listen on {address}: this machine does not have that address")]
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// Any other error.
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
/// If the address cannot be used.
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

/// A service that can be served. Every service with these types is one.
pub trait RequestService:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Body>,
        Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;
}

impl<S, B> RequestService for S
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Body = B;
}

/// Serves until `shutdown` resolves. Requests in progress may then finish within `drain`. Without
/// `tls` it speaks plain HTTP, which is for loopback only.
///
/// Dropping the future closes all connections.
///
/// # Errors
/// If the socket cannot be registered with the runtime. Errors of a single connection are logged
/// and end only that connection.
pub async fn serve<S: RequestService>(
    limits: Limits,
    bound: Bound,
    tls: Option<Arc<ServerConfig>>,
    service: S,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> Result<Drained, ServeError> {
    let Bound { listener, address } = bound;
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|source| ServeError::Listen { address, source })?;
    let acceptor = tls.map(TlsAcceptor::from);
    let (stop, stopped) = watch::channel(false);
    let table = Table::new(limits);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut accept_errors = 0;
    let mut report = Report::default();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = table.memory().exceeded() => report.memory(table.relieve(Instant::now())),
            accepted = accept(&listener, &mut accept_errors), if table.is_ready() => {
                let Some((stream, peer)) = accepted else { continue };
                let (place, full) = Table::enter(&table, peer);
                if full {
                    report.full(place.is_none());
                }
                let Some(place) = place else { continue };
                let connection = connection::Connection {
                    place,
                    limits,
                    stop: stopped.clone(),
                    service: service.clone(),
                };
                connections.spawn(connection.run(stream, acceptor.clone()));
            }
        }
    }
    drop(listener);
    // Sending fails only when no connection is left, which is fine.
    let _ = stop.send(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finished).await.is_ok() {
        return Ok(Drained { cut: 0 });
    }
    let cut = connections.len();
    tracing::warn!(cut, "connections closed: still busy at the drain deadline");
    connections.shutdown().await;
    Ok(Drained { cut })
}

/// Reports closed connections, at most once a minute.
#[derive(Default)]
struct Report {
    last: Option<Instant>,
    idle: usize,
    refused: usize,
    memory: usize,
}

/// The least time between two such reports.
const REPORT_PAUSE: Duration = Duration::from_secs(60);

/// Delay after the first of consecutive errors of `accept`, and the longest delay.
const ACCEPT_RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Accepts the next connection. Returns `None` after a transient error. An error of one connection
/// has no delay. An error of the system (no descriptors, no memory) is followed by a pause, since
/// `accept` would fail again without blocking. Cancellation safe.
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
                tracing::warn!(%error, "accepting connections failed; will retry");
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

/// The delay after this number of consecutive errors.
fn accept_delay(errors: u32) -> Option<Duration> {
    let (first, longest) = ACCEPT_RETRY;
    errors.checked_sub(1).map(|doublings| backoff::exponential(first, longest, doublings))
}

// === impl Report ===

impl Report {
    /// A connection was refused, or another one closed for it.
    fn full(&mut self, refused: bool) {
        *(if refused { &mut self.refused } else { &mut self.idle }) += 1;
        self.log();
    }

    /// Connections were closed because of their memory.
    fn memory(&mut self, count: usize) {
        self.memory += count;
        self.log();
    }

    fn log(&mut self) {
        let Self { idle, refused, memory, last } = *self;
        let now = Instant::now();
        let is_soon = last.is_some_and(|last| now.duration_since(last) < REPORT_PAUSE);
        if is_soon || idle + refused + memory == 0 {
            return;
        }
        tracing::warn!(
            idle,
            refused,
            memory,
            "too many connections, or too much memory in use: idle connections were closed, new ones \
             refused, and those with many untaken answers closed"
        );
        *self = Self { last: Some(now), ..Self::default() };
    }
}

// === impl Bound ===

impl Bound {
    /// The local address, with the port that the system picked for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

// === impl Limits ===

impl Limits {
    /// The default limits for a process that may open so many files. Connections get what is left
    /// beside a reserve for the rest of the process: the store, pods, logs, commands.
    #[must_use]
    pub fn within(open_files: u64) -> Self {
        const RESERVE: u64 = 512;
        let free = open_files - RESERVE.min(open_files / 2);
        let limits = Self::default();
        let connections = usize::try_from(free).unwrap_or(usize::MAX).min(limits.connections);
        Self { connections, ..limits }
    }

    /// How many connections one address or network may have.
    fn per_origin(&self) -> usize {
        self.connections.div_ceil(4)
    }

    /// How many connections other machines may have.
    fn remote(&self) -> usize {
        self.connections - self.connections / 8
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Upstream has no limit. Descriptors may allow fewer, see `within`.
            connections: 3_000,
            // A slow client may fetch a list and still send other requests.
            answer_bytes: 8 * 1024 * 1024,
            memory_bytes: 512 * 1024 * 1024,
            handshake: Duration::from_secs(10),
            // Upstream's header timeout.
            first_request: Duration::from_secs(32),
            // Upstream's idle timeout.
            idle: Duration::from_secs(90),
            stalled: Duration::from_secs(30),
            // Such responses need credentials, and a person may read `kubectl logs -f | less`.
            stalled_long_running: Duration::from_secs(10 * 60),
            // Large enough for selectors, continue tokens and bearer tokens. Upstream has 1 MiB;
            // here every connection may hold as much before it is authenticated.
            head_bytes: 128 * 1024,
            // Upstream's limit: all informers of a controller share one connection.
            streams: 1_000,
            // Larger than any accepted body; a refused client stops sending well before.
            discard_bytes: 8 * 1024 * 1024,
            discard_time: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests;
