//! Reads the bodies of reviews within limits.
//!
//! Every client that reaches the port can send anything, as slowly as it likes. So memory is not
//! reserved by `Content-Length`: only bytes that have arrived count. When they are too many, the
//! body that has been arriving for the longest time is dropped. An API server's body arrives within
//! milliseconds, so it is not the one.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use pending::{Arrival, PendingBodies};

mod pending;

/// The largest body, in bytes. An object in a cluster's store has at most 1.5 MiB, its JSON may be
/// somewhat larger, and a review of an update holds two objects.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes of all bodies together; their buffers may be twice as large.
const MAX_TOTAL_BYTES: usize = 8 * MAX_BODY_BYTES;
/// The most bodies at the same time.
const MAX_BODIES: usize = 1_000;
/// The most bytes of bodies that are reviewed at the same time. Decoded they take up to twenty
/// times as much. Together with the buffers this is most of the webhook's memory, about 300 MiB at
/// worst, and the limit in the manifests leaves room for it.
const MAX_REVIEW_BYTES: usize = MAX_BODY_BYTES;
/// How long a body may take to arrive, and then to wait for its review: as long as the API server
/// waits for the answer, by the `timeoutSeconds` of the manifests.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes per permit of the semaphore, which cannot count single bytes.
const PERMIT_BYTES: usize = 1024;

/// The memory for bodies.
#[derive(Debug)]
pub(super) struct BodyMemory {
    pending: Arc<Mutex<PendingBodies>>,
    work: Arc<Semaphore>,
}

/// A complete body whose review may begin. Its memory counts until it is dropped.
#[derive(Debug)]
pub(super) struct CompleteBody {
    pub(super) bytes: Bytes,
    _permit: OwnedSemaphorePermit,
    _reservation: Reservation,
}

/// The memory of one body.
#[derive(Debug)]
struct Reservation {
    number: u64,
    pending: Arc<Mutex<PendingBodies>>,
}

/// Why there is no body, as the client gets it.
type Refusal = (StatusCode, String);

// === impl BodyMemory ===

impl Default for BodyMemory {
    fn default() -> Self {
        Self::new(MAX_TOTAL_BYTES, MAX_BODIES)
    }
}

impl BodyMemory {
    /// For at most so many bytes and so many bodies at the same time.
    pub(super) fn new(bytes: usize, count: usize) -> Self {
        Self {
            pending: Arc::new(Mutex::new(PendingBodies::new(bytes, count))),
            work: Arc::new(Semaphore::new(MAX_REVIEW_BYTES / PERMIT_BYTES)),
        }
    }

    /// The bytes of all bodies without an answer.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.pending.lock().held()
    }

    /// Reads a body, and waits until its review may begin.
    pub(super) async fn read<B>(&self, body: B) -> Result<CompleteBody, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let Arrival { number, dropped } = self.pending.lock().enter().ok_or_else(too_many)?;
        let reservation = Reservation { number, pending: Arc::clone(&self.pending) };
        let arriving = tokio::time::timeout(READ_TIMEOUT, reservation.collect(body));
        let bytes = tokio::select! {
            biased;
            // The sender is dropped without a message.
            _ = dropped => return Err(too_many()),
            arrived = arriving => arrived.map_err(|_| {
                (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())
            })??,
        };
        if !self.pending.lock().complete(number) {
            return Err(too_many());
        }
        let permits = u32::try_from(bytes.len().div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.work).acquire_many_owned(permits);
        match tokio::time::timeout(READ_TIMEOUT, permit).await {
            Ok(Ok(permit)) => {
                Ok(CompleteBody { bytes, _permit: permit, _reservation: reservation })
            }
            Ok(Err(_)) | Err(_) => Err(too_many()),
        }
    }
}

// === impl Reservation ===

impl Reservation {
    /// The whole body.
    async fn collect<B>(&self, mut body: B) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                (StatusCode::BAD_REQUEST, format!("cannot read the body: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > MAX_BODY_BYTES {
                return Err(too_large());
            }
            if !self.pending.lock().grow(self.number, data.len()) {
                return Err(too_many());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pending.lock().leave(self.number);
    }
}

fn too_large() -> Refusal {
    (StatusCode::PAYLOAD_TOO_LARGE, format!("the review is larger than {MAX_BODY_BYTES} bytes"))
}

fn too_many() -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at the same time; try again".to_owned())
}

#[cfg(test)]
mod tests;
