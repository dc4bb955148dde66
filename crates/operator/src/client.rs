//! The client of the cluster: one connection pool, with the limits and retries that a controller
//! needs.
//!
//! ```text
//! controller ─▶ retry (429) ─▶ rate limit ─▶ fence ─▶ deadline ─▶ count ─▶ kube: identity, TLS, connections
//! lease      ────────────────────────────────────────────────────▶ count ─▶ the same
//! ```
//!
//! The lease's requests have their own deadlines and are neither limited nor retried here: a
//! renewal that waits is late. Watches are not limited either, and end after a time without data
//! instead of at a deadline.
//!
//! `kube` speaks HTTP/1.1 only, so each request in flight has its own connection; idle connections
//! are reused. Its retries are switched off: up to fifteen attempts with delays of up to a quarter
//! of an hour, which nothing here could count, limit or stop.

mod bucket;
pub(crate) mod clock;
mod fence;
mod idle_timeout;
mod kubeconfig;
mod metrics;
mod request_info;
mod retry;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use kube::client::Body;
use mxjob_machinery::error::root_cause;
use tokio::time::Instant;
use tower_service::Service;

use bucket::Bucket;
use idle_timeout::IdleTimeout;
use request_info::RequestInfo;

pub use bucket::Rate;
pub(crate) use fence::Fence;
pub use kubeconfig::{Access, AccessError, Cluster};
pub(crate) use metrics::RequestMetrics;

/// How long a request may take, including its answer; API servers end theirs after a minute too.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long connecting may take. A reachable host answers within milliseconds.
const CONNECT: Duration = Duration::from_secs(10);

/// The connection to the cluster, from which clients are made.
#[derive(Clone)]
pub(crate) struct Transport {
    base: kube::Client,
    metrics: RequestMetrics,
    bucket: Option<Arc<Bucket>>,
}

/// A request that took too long.
#[derive(Debug, thiserror::Error)]
#[error("the API server has not answered within {} seconds", .0.as_secs())]
struct DeadlineExceeded(Duration);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

// === impl Transport ===

impl Transport {
    /// A transport to that cluster. It does not connect yet.
    pub(crate) fn new(
        mut config: kube::Config,
        rate: Option<Rate>,
        metrics: RequestMetrics,
    ) -> kube::Result<Self> {
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT);
        let agent = HeaderValue::from_static(concat!("mxjob-operator/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, agent));
        Ok(Self::over(kube::Client::try_from(config)?, rate, metrics))
    }

    /// A transport over an existing client.
    pub(crate) fn over(base: kube::Client, rate: Option<Rate>, metrics: RequestMetrics) -> Self {
        Self { base, metrics, bucket: rate.map(|rate| Arc::new(Bucket::new(rate))) }
    }

    /// A client whose writes need an open fence.
    pub(crate) fn client(&self, fence: Fence) -> kube::Client {
        let guarded = Guarded { transport: self.clone(), fence };
        kube::Client::new(guarded, self.base.default_namespace())
    }

    /// A client without limits, deadlines, retries and fence.
    pub(crate) fn direct_client(&self) -> kube::Client {
        kube::Client::new(Direct(self.clone()), self.base.default_namespace())
    }

    async fn send(
        &self,
        info: &RequestInfo,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let mut sent = InFlight { metrics: &self.metrics, info, begun: Instant::now(), code: None };
        let answer = self.base.send(request).await?;
        sent.code = Some(answer.status());
        Ok(answer)
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Transport").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

/// A request in flight. It is counted when its answer arrives, and when the caller stops waiting.
struct InFlight<'a> {
    metrics: &'a RequestMetrics,
    info: &'a RequestInfo,
    begun: Instant,
    code: Option<StatusCode>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.sent(self.info, self.code, self.begun.elapsed());
    }
}

/// Sends requests unchanged.
#[derive(Clone)]
struct Direct(Transport);

impl Service<Request<Body>> for Direct {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let transport = self.0.clone();
        async move {
            let info = RequestInfo::of(request.method(), request.uri());
            transport.send(&info, request).await
        }
        .boxed()
    }
}

/// Applies the rate limit, the deadline and the fence, and retries requests that the server turned
/// away.
#[derive(Clone)]
struct Guarded {
    transport: Transport,
    fence: Fence,
}

/// A complete answer, or a watch.
type AnswerBody = Either<Full<Bytes>, IdleTimeout>;

impl Service<Request<Body>> for Guarded {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guarded = self.clone();
        async move { guarded.answer(request).await }.boxed()
    }
}

// === impl Guarded ===

impl Guarded {
    async fn answer(&self, request: Request<Body>) -> Result<Response<AnswerBody>, BoxError> {
        let info = RequestInfo::of(request.method(), request.uri());
        let mut next = Some(request);
        let mut attempts = 0;
        loop {
            // A body that cannot be copied is sent once.
            let Some(request) = next.take() else {
                return Err("there is no request to send".into());
            };
            next = copy(&request);
            attempts += 1;
            let answer = self.try_once(&info, request).await?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let random = uuid::Uuid::new_v4().as_bytes()[0];
            match retry::delay(answer.status(), answer.headers(), attempts, random) {
                Some(delay) if next.is_some() => {
                    tracing::debug!(
                        ?delay,
                        verb = info.verb,
                        resource = info.resource,
                        "the API server asked to retry a request later"
                    );
                    tokio::time::sleep(delay).await;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// One attempt. The answer is read to its end, unless it is a watch.
    async fn try_once(
        &self,
        info: &RequestInfo,
        request: Request<Body>,
    ) -> Result<Response<AnswerBody>, BoxError> {
        if let Some(bucket) = self.transport.bucket.as_deref().filter(|_| !info.is_watch()) {
            bucket.acquire().await;
        }
        // Checked at the last moment before the request is sent.
        let left = if info.is_write() { self.fence.check()? } else { Duration::MAX };
        let deadline = DEADLINE.min(left);
        let timed_out = |_| DeadlineExceeded(deadline);
        if info.is_watch() {
            let sent = self.transport.send(info, request);
            let answer = tokio::time::timeout(deadline, sent).await.map_err(timed_out)??;
            return Ok(answer
                .map(|body| Either::Right(IdleTimeout::new(body, idle_timeout::IDLE_TIMEOUT))));
        }
        let whole = async {
            let (parts, body) = self.transport.send(info, request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::from_parts(parts, Either::Left(Full::new(body))))
        };
        tokio::time::timeout(deadline, whole).await.map_err(timed_out)?
    }
}

/// An error in one line: the server's message if there is one, otherwise the innermost cause. The
/// errors in between are the libraries' own wrapping.
pub(crate) fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        if status.code == StatusCode::UNAUTHORIZED.as_u16() {
            return "the API server rejected the operator's credentials".to_owned();
        }
        let texts = [&status.message, &status.reason];
        let text = texts.into_iter().find(|text| !text.is_empty());
        return text.cloned().unwrap_or_else(|| format!("the API server answered {}", status.code));
    }
    root_cause(error)
}

/// A copy of the request, if its body can be copied.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

#[cfg(test)]
mod tests;
