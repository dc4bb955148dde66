//! A request in, an answer out.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use mxjob_api::review;
use mxjob_machinery::json;
use serde_json::Value;
use tower_service::Service;

use super::PATH;
use super::body::Room;
use super::metrics::{Metrics, Operation};

/// The webhook as a service; a cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Reviews(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Room,
    metrics: Metrics,
}

/// Why a request is no review that can be answered.
type Refusal = (StatusCode, String);

// === impl Reviews ===

impl Reviews {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self::within(Room::default(), metrics)
    }

    fn within(room: Room, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { room, metrics }))
    }
}

impl<B> Service<Request<B>> for Reviews
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            Ok(match inner.answer(request).await {
                Ok(bytes) => response(StatusCode::OK, "application/json", bytes.into()),
                Err((status, text)) => {
                    inner.metrics.refused(status);
                    let mut response = response(status, "text/plain; charset=utf-8", text.into());
                    if status == StatusCode::METHOD_NOT_ALLOWED {
                        let post = HeaderValue::from_static("POST");
                        response.headers_mut().insert(header::ALLOW, post);
                    }
                    response
                }
            })
        })
    }
}

// === impl Inner ===

impl Inner {
    async fn answer<B>(&self, request: Request<B>) -> Result<Vec<u8>, Refusal>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (head, body) = request.into_parts();
        if head.uri.path() != PATH {
            return Err((StatusCode::NOT_FOUND, format!("there is {PATH} and nothing else")));
        }
        if head.method != Method::POST {
            let text = "an AdmissionReview is sent by POST".to_owned();
            return Err((StatusCode::METHOD_NOT_ALLOWED, text));
        }
        if !is_json(head.headers.get(header::CONTENT_TYPE)) {
            let text = "the body must be application/json".to_owned();
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let arrived = self.room.read(body).await?;
        let began = Instant::now();
        // On a thread for such work: a large review keeps one for some milliseconds, and whatever went wrong there would end there. It
        // goes on when the API server waits no longer, and so does what it holds.
        let judged = tokio::task::spawn_blocking(move || judge(&arrived.bytes)).await;
        let Ok(judged) = judged else {
            tracing::error!("a review could not be answered; this is a fault of the webhook");
            let text = "the review could not be answered".to_owned();
            return Err((StatusCode::INTERNAL_SERVER_ERROR, text));
        };
        let Judged { bytes, operation, allowed } = judged?;
        self.metrics.answered(operation, allowed, began.elapsed());
        Ok(bytes)
    }
}

/// An answer and what is counted of it.
struct Judged {
    bytes: Vec<u8>,
    operation: Operation,
    allowed: bool,
}

fn judge(bytes: &[u8]) -> Result<Judged, Refusal> {
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    let review = json::decode(bytes).map_err(|error| bad(error.to_string()))?;
    let answer = review::respond(&review).map_err(|error| bad(error.to_string()))?;
    let operation = review.pointer("/request/operation").and_then(Value::as_str);
    let allowed = answer.pointer("/response/allowed").and_then(Value::as_bool).unwrap_or_default();
    Ok(Judged {
        bytes: answer.to_string().into_bytes(),
        operation: Operation::of(operation.unwrap_or_default()),
        allowed,
    })
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let media = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
