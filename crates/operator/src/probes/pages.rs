//! The HTTP pages of probes and metrics.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use mxjob_serve as serving;
use mxjob_serve::{Bound, Limits, ServeError};
use tower_service::Service;

use super::Health;

/// The pages of one port.
#[derive(Clone)]
pub(crate) enum Pages {
    /// `/healthz`, `/livez`, `/readyz`.
    Probes(Health),
    /// `/metrics`, with the text that this function returns.
    Metrics(Arc<dyn Fn() -> String + Send + Sync>),
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The kubelet and Prometheus need far fewer connections than this.
const MAX_CONNECTIONS: usize = 64;

/// Serves the pages until `shutdown`.
pub(crate) async fn serve(
    bound: Bound,
    pages: Pages,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let limits = Limits { connections: MAX_CONNECTIONS, ..Limits::default() };
    let drain = Duration::from_secs(1);
    serving::serve(limits, bound, None, pages, shutdown, drain).await.map(drop)
}

// === impl Pages ===

impl std::fmt::Debug for Pages {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Probes(_) => "Probes",
            Self::Metrics(_) => "Metrics",
        })
    }
}

impl Pages {
    /// The page of a path: status, content type, text.
    pub(super) fn page(&self, path: &str) -> (StatusCode, &'static str, String) {
        let is_ok = |ok| if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match (self, path) {
            (Self::Probes(health), "/livez" | "/healthz") => {
                let problem = health.liveness_problem();
                (is_ok(problem.is_none()), TEXT, problem.unwrap_or_else(|| "ok".to_owned()) + "\n")
            }
            (Self::Probes(health), "/readyz") => {
                let why = health.readiness_problems();
                let ready = why.is_empty();
                let mut lines = if ready { vec!["ok".to_owned()] } else { why };
                lines.extend(health.problems());
                (is_ok(ready), TEXT, lines.join("\n") + "\n")
            }
            (Self::Metrics(metrics), "/metrics") => {
                (StatusCode::OK, mxjob_controller::metrics::CONTENT_TYPE, metrics())
            }
            _ => (StatusCode::NOT_FOUND, TEXT, "404 page not found\n".to_owned()),
        }
    }
}

impl<B> Service<Request<B>> for Pages {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (status, kind, text) = match *request.method() {
            Method::GET | Method::HEAD => self.page(request.uri().path()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is supported\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        ready(Ok(response))
    }
}
