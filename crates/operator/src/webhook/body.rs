//! Reading the body of a review, within bounds.
//!
//! Whoever reaches the port may send anything, as slowly as it likes, so nothing is set aside for what was only announced: what
//! has arrived counts. When that is too much, the body that has been on its way for longest is given up. An API server's
//! arrives within milliseconds, so it is not the one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use arrivals::{Arrival, Arrivals};

mod arrivals;

/// Bytes of a body. An object has at most 1.5 MiB in a cluster's store, its JSON may be somewhat larger, and a review of an update
/// holds two.
pub(super) const BODY: usize = 8 * 1024 * 1024;
/// Bytes of bodies at a time; their buffers may be twice as large.
const BODIES: usize = 8 * BODY;
/// Bodies at a time.
const COUNT: usize = 1_000;
/// Bytes of bodies that are worked on at a time. As values they take up to twenty times as much. With the buffers that is the most of
/// what the webhook may need, some 300 MiB at worst, and the limit in the manifests leaves room for it.
const WORK: usize = BODY;
/// How long a body may take to arrive, and to wait for its turn then: as long as the API server waits for the answer, by the
/// `timeoutSeconds` of the manifests.
const PATIENCE: Duration = Duration::from_secs(5);
/// Permits count in this unit, since a semaphore counts to less than its bytes.
const UNIT: usize = 1024;

/// The room for bodies.
#[derive(Debug)]
pub(super) struct Room {
    arrivals: Arc<Mutex<Arrivals>>,
    work: Arc<Semaphore>,
}

/// A body that is there, and its turn to be worked on. It holds its room until it is dropped.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: Bytes,
    _turn: OwnedSemaphorePermit,
    _share: Share,
}

/// What one body takes of the room.
#[derive(Debug)]
struct Share {
    number: u64,
    arrivals: Arc<Mutex<Arrivals>>,
}

/// Why there is no body, for whoever sent it.
type Refusal = (StatusCode, String);

// === impl Room ===

impl Default for Room {
    fn default() -> Self {
        Self::new(BODIES, COUNT)
    }
}

impl Room {
    /// For so many bytes and so many bodies at a time.
    pub(super) fn new(bytes: usize, count: usize) -> Self {
        Self {
            arrivals: Arc::new(Mutex::new(Arrivals::new(bytes, count))),
            work: Arc::new(Semaphore::new(WORK / UNIT)),
        }
    }

    /// The bytes that are there of bodies that have not been answered.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        lock(&self.arrivals).held()
    }

    /// Reads a body, and waits for its turn.
    pub(super) async fn read<B>(&self, body: B) -> Result<Arrived, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        if body.size_hint().lower() > BODY as u64 {
            return Err(too_large());
        }
        let Arrival { number, given_up } = lock(&self.arrivals).enter().ok_or_else(too_many)?;
        let share = Share { number, arrivals: Arc::clone(&self.arrivals) };
        let arriving = tokio::time::timeout(PATIENCE, share.collect(body));
        let bytes = tokio::select! {
            biased;
            // The sender is dropped without a word.
            _ = given_up => return Err(too_many()),
            arrived = arriving => arrived.map_err(|_| {
                (StatusCode::REQUEST_TIMEOUT, "the body took too long".to_owned())
            })??,
        };
        if !lock(&self.arrivals).settle(number) {
            return Err(too_many());
        }
        let permits = u32::try_from(bytes.len().div_ceil(UNIT)).unwrap_or(u32::MAX);
        let turn = Arc::clone(&self.work).acquire_many_owned(permits);
        match tokio::time::timeout(PATIENCE, turn).await {
            Ok(Ok(turn)) => Ok(Arrived { bytes, _turn: turn, _share: share }),
            Ok(Err(_)) | Err(_) => Err(too_many()),
        }
    }
}

// === impl Share ===

impl Share {
    /// The whole body.
    async fn collect<B>(&self, mut body: B) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                (StatusCode::BAD_REQUEST, format!("the body did not arrive: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > BODY {
                return Err(too_large());
            }
            if !lock(&self.arrivals).grow(self.number, data.len()) {
                return Err(too_many());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.arrivals).leave(self.number);
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    // No code that can panic runs under this lock.
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_large() -> Refusal {
    (StatusCode::PAYLOAD_TOO_LARGE, format!("the review is larger than {BODY} bytes"))
}

fn too_many() -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at a time; try again".to_owned())
}

#[cfg(test)]
mod tests;
