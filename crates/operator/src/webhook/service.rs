//! Answers requests with admission reviews.

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

use super::body::BodyMemory;
use super::metrics::{Metrics, Operation};
use crate::names::WEBHOOK_PATH;

/// The webhook as a service; a cheap handle.
#[derive(Debug, Clone)]
pub(super) struct ReviewService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: BodyMemory,
    metrics: Metrics,
}

/// Why a request cannot be answered with a review.
type Refusal = (StatusCode, String);

// === impl ReviewService ===

impl ReviewService {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self::within(BodyMemory::default(), metrics)
    }

    fn within(memory: BodyMemory, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { memory, metrics }))
    }
}

impl<B> Service<Request<B>> for ReviewService
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
        let (head, request_body) = request.into_parts();
        if head.uri.path() != WEBHOOK_PATH {
            return Err((StatusCode::NOT_FOUND, format!("only {WEBHOOK_PATH} is served")));
        }
        if head.method != Method::POST {
            let text = "an AdmissionReview must be sent by POST".to_owned();
            return Err((StatusCode::METHOD_NOT_ALLOWED, text));
        }
        if !is_json(head.headers.get(header::CONTENT_TYPE)) {
            let text = "the body must be application/json".to_owned();
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let body = self.memory.read(request_body).await?;
        let began = Instant::now();
        // On a blocking thread: a large review takes some milliseconds, and a panic stays there.
        // The review continues when the API server stops waiting, and so does its use of memory.
        let reviewed = tokio::task::spawn_blocking(move || review(&body.bytes)).await;
        let Ok(reviewed) = reviewed else {
            tracing::error!("a review panicked; this is a bug of the webhook");
            let text = "the review could not be answered".to_owned();
            return Err((StatusCode::INTERNAL_SERVER_ERROR, text));
        };
        let Reviewed { bytes, operation, allowed } = reviewed?;
        self.metrics.answered(operation, allowed, began.elapsed());
        Ok(bytes)
    }
}

/// An answer with its labels for the metrics.
struct Reviewed {
    bytes: Vec<u8>,
    operation: Operation,
    allowed: bool,
}

fn review(bytes: &[u8]) -> Result<Reviewed, Refusal> {
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    let review = json::decode(bytes).map_err(|error| bad(error.to_string()))?;
    let answer = review::respond(&review).map_err(|error| bad(error.to_string()))?;
    let operation = review.pointer("/request/operation").and_then(Value::as_str);
    let allowed = answer.pointer("/response/allowed").and_then(Value::as_bool).unwrap_or_default();
    Ok(Reviewed {
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
