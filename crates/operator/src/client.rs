//! The client of the cluster: one connection pool, and around it what a controller's requests need.
//!
//! ```text
//! controller ─▶ again (429) ─▶ limit ─▶ fence ─▶ deadline ─▶ count ─▶ kube: who we are, TLS, connections
//! lease      ───────────────────────────────────────────────▶ count ─▶ the same
//! ```
//!
//! The lease's requests have deadlines of their own and are neither limited nor repeated here: a renewal that waits is one
//! that is late. Watches are not limited either, and end after a silence instead of at a deadline.
//!
//! HTTP/1.1 is all that `kube` speaks, so each request in flight has a connection of its own; they are kept and used again.
//! Its own way of asking again is switched off: it tries up to fifteen times with pauses of up to a quarter of an hour, where
//! nothing can count, limit or stop it.

mod access;
mod again;
mod bucket;
mod call;
pub(crate) mod clock;
mod counts;
mod fence;
mod idle;

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

pub use access::{Access, AccessError, Cluster};
use bucket::Bucket;
pub use bucket::Rate;
use call::Call;
pub(crate) use counts::Counts;
pub(crate) use fence::Fence;
use idle::UntilSilence;

/// How long a request may take, its answer included; API servers cut theirs after a minute too.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a connection may take to come about. A host that is there answers at once.
const CONNECT: Duration = Duration::from_secs(10);

/// A way to the cluster from which clients are made.
#[derive(Clone)]
pub(crate) struct Transport {
    base: kube::Client,
    counts: Counts,
    bucket: Option<Arc<Bucket>>,
}

/// A request that was cut.
#[derive(Debug, thiserror::Error)]
#[error("the API server has not answered within {} seconds", .0.as_secs())]
struct Late(Duration);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

// === impl Transport ===

impl Transport {
    /// The way to that cluster. Connects to nothing yet.
    pub(crate) fn new(
        mut config: kube::Config,
        rate: Option<Rate>,
        counts: Counts,
    ) -> kube::Result<Self> {
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT);
        let agent = HeaderValue::from_static(concat!("mxjob-operator/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, agent));
        Ok(Self::over(kube::Client::try_from(config)?, rate, counts))
    }

    /// The way over a client that there is already.
    pub(crate) fn over(base: kube::Client, rate: Option<Rate>, counts: Counts) -> Self {
        Self { base, counts, bucket: rate.map(|rate| Arc::new(Bucket::new(rate))) }
    }

    /// A client whose writes need a fence that is open.
    pub(crate) fn client(&self, fence: Fence) -> kube::Client {
        let patient = Patient { transport: self.clone(), fence };
        kube::Client::new(patient, self.base.default_namespace())
    }

    /// A client whose requests go out as they are.
    pub(crate) fn plain(&self) -> kube::Client {
        kube::Client::new(Plain(self.clone()), self.base.default_namespace())
    }

    async fn send(&self, call: &Call, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let mut sent = Sent { counts: &self.counts, call, begun: Instant::now(), code: None };
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

/// A request on its way. It counts when its answer is there, and when nobody waits for that any more.
struct Sent<'a> {
    counts: &'a Counts,
    call: &'a Call,
    begun: Instant,
    code: Option<StatusCode>,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.counts.sent(self.call, self.code, self.begun.elapsed());
    }
}

/// Sends requests as they are.
#[derive(Clone)]
struct Plain(Transport);

impl Service<Request<Body>> for Plain {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let transport = self.0.clone();
        async move {
            let call = Call::of(request.method(), request.uri());
            transport.send(&call, request).await
        }
        .boxed()
    }
}

/// Sends requests within limits, deadlines and the fence, and again where they were turned away.
#[derive(Clone)]
struct Patient {
    transport: Transport,
    fence: Fence,
}

/// An answer that is whole, or a watch.
type AnswerBody = Either<Full<Bytes>, UntilSilence>;

impl Service<Request<Body>> for Patient {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let patient = self.clone();
        async move { patient.answer(request).await }.boxed()
    }
}

// === impl Patient ===

impl Patient {
    async fn answer(&self, request: Request<Body>) -> Result<Response<AnswerBody>, BoxError> {
        let call = Call::of(request.method(), request.uri());
        let mut next = Some(request);
        let mut tries = 0;
        loop {
            // A body that cannot be sent twice is sent once.
            let Some(request) = next.take() else { return Err("nothing to send".into()) };
            next = copy(&request);
            tries += 1;
            let answer = self.once(&call, request).await?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let luck = uuid::Uuid::new_v4().as_bytes()[0];
            match again::pause(answer.status(), answer.headers(), tries, luck) {
                Some(pause) if next.is_some() => {
                    tracing::debug!(
                        ?pause,
                        verb = call.verb,
                        resource = call.resource,
                        "turned away"
                    );
                    tokio::time::sleep(pause).await;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// One try, whole: the answer of whatever is no watch has been read to its end.
    async fn once(
        &self,
        call: &Call,
        request: Request<Body>,
    ) -> Result<Response<AnswerBody>, BoxError> {
        if let Some(bucket) = self.transport.bucket.as_deref().filter(|_| !call.is_watch()) {
            bucket.turn().await;
        }
        // The last moment before it is sent.
        let left = if call.is_write() { self.fence.check()? } else { Duration::MAX };
        let deadline = DEADLINE.min(left);
        let late = |_| Late(deadline);
        if call.is_watch() {
            let sent = self.transport.send(call, request);
            let answer = tokio::time::timeout(deadline, sent).await.map_err(late)??;
            return Ok(answer.map(|body| Either::Right(UntilSilence::new(body, idle::SILENCE))));
        }
        let whole = async {
            let (parts, body) = self.transport.send(call, request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::from_parts(parts, Either::Left(Full::new(body))))
        };
        tokio::time::timeout(deadline, whole).await.map_err(late)?
    }
}

/// What went wrong, for a message: the server's own words where it gave some, otherwise the innermost cause, since what lies between
/// is the words of libraries about themselves.
pub(crate) fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        if status.code == StatusCode::UNAUTHORIZED.as_u16() {
            return "the API server does not accept our credentials".to_owned();
        }
        let said = [&status.message, &status.reason].into_iter().find(|said| !said.is_empty());
        return said.cloned().unwrap_or_else(|| format!("the API server answers {}", status.code));
    }
    root_cause(error)
}

/// The same request again, if its body can be had twice.
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
