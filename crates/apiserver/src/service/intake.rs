//! Reading the body of a request.

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use mxjob_serve::{Held, Peer};

use crate::body::BodyError;
use crate::error::ApiError;

/// How long a client may take to send a body (upstream's time for a whole request).
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest body that is read, in bytes (upstream's limit).
pub(super) const BODY_MAX: usize = 3 * 1024 * 1024;

/// The body of a request.
#[derive(Debug, Default)]
pub(super) struct Intake {
    pub(super) bytes: Bytes,
    /// Counts the bytes against the connection of the request.
    pub(super) held: Option<Held>,
}

// === impl Intake ===

impl Intake {
    /// Reads a body. Its bytes count from their arrival on.
    pub(super) async fn read<B>(body: B, peer: Option<&Peer>) -> Result<Self, ApiError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let mut held = peer.map(|peer| peer.hold_request(0));
        let bytes = timed(read(body, held.as_mut())).await?;
        Ok(Self { bytes, held })
    }
}

async fn timed(read: impl Future<Output = Result<Bytes, ApiError>>) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::timeout("the request's body did not arrive within 60 seconds")),
    }
}

/// Reads a body up to the limit.
async fn read<B>(body: B, mut held: Option<&mut Held>) -> Result<Bytes, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    let too_large = || ApiError::too_large(format_args!("limit is {BODY_MAX}"));
    if body.size_hint().lower() > u64::try_from(BODY_MAX).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let mut body = Box::pin(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_request(format!("the body broke off: {}", error.into()))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > BODY_MAX {
            return Err(too_large());
        }
        if let Some(held) = &mut held {
            held.grow(data.len());
        }
        // Most bodies are one frame, which needs no copy.
        if first.is_empty() && rest.is_empty() {
            first = data
        } else {
            rest.extend_from_slice(&data)
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(first.len() + rest.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&rest);
    Ok(all.freeze())
}
