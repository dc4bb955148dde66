//! Reading the body of a review, within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of a body. An object has at most 1.5 MiB in a cluster's store, its JSON may be somewhat larger, and a review of an update
/// holds two.
pub(super) const BODY: usize = 8 * 1024 * 1024;
/// Bytes of bodies at a time. When they are all taken, further requests wait, for as long as their API server lets them. As values
/// bodies take several times as much, which is most of what the process may need (the limit in the manifests leaves room for it).
const BODIES: usize = 2 * BODY;
/// How long a body may take to arrive: longer than the API server waits for the answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Permits count in this unit, since a semaphore counts to less than its bytes.
const UNIT: usize = 1024;

/// The room for bodies.
#[derive(Debug)]
pub(super) struct Room(Semaphore);

// === impl Room ===

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(BODIES / UNIT))
    }
}

impl Room {
    /// Reads a body, and keeps its room until the permit is dropped.
    pub(super) async fn read<B>(
        &self,
        body: B,
    ) -> Result<(Bytes, SemaphorePermit<'_>), (StatusCode, String)>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let too_large = || {
            let text = format!("the review is larger than {BODY} bytes");
            (StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        // Who does not say how much will come may send as much as is allowed.
        let size = body.size_hint().upper().map_or(Ok(BODY), usize::try_from).unwrap_or(usize::MAX);
        if size > BODY {
            return Err(too_large());
        }
        let permits = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Ok(permit) = self.0.acquire_many(permits).await else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "the webhook is stopping".to_owned()));
        };
        match tokio::time::timeout(PATIENCE, collect(body, size)).await {
            Ok(Ok(Some(bytes))) => Ok((bytes, permit)),
            Ok(Ok(None)) => Err(too_large()),
            Ok(Err(error)) => {
                Err((StatusCode::BAD_REQUEST, format!("the body did not arrive: {error}")))
            }
            Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long".to_owned())),
        }
    }
}

/// The whole body; `None` if it is larger than it may be.
async fn collect<B>(mut body: B, size: usize) -> Result<Option<Bytes>, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > size {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Some(bytes.freeze()))
}
