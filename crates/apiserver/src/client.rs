//! Calling the API in memory: the same service, the same checks, no socket.

use std::convert::Infallible;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use mxjob_access::identity::Identity;
use serde_json::Value;
use tower_service::Service;

use crate::body::{Body, BodyError};
use crate::server::ApiServer;

/// The API server as one identity sees it. Hand it to `kube::Client::new`.
#[derive(Debug, Clone)]
pub struct Connector {
    server: ApiServer,
    identity: Identity,
    user_agent: HeaderValue,
}

impl ApiServer {
    /// A connector for an in-memory client. `user_agent` names the client in managed fields; one
    /// that is no header value is left out.
    #[must_use]
    pub fn connector(&self, identity: Identity, user_agent: &str) -> Connector {
        let user_agent = HeaderValue::from_str(user_agent)
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Connector { server: self.clone(), identity, user_agent }
    }
}

impl<B> Service<Request<B>> for Connector
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <ApiServer as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.identity.clone());
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| self.user_agent.clone());
        self.server.call(request)
    }
}

impl Connector {
    /// Sends one request and reads the answer whole.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let bytes = body.map(crate::document::to_vec).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(bytes)));
        let Ok(request) = request else { return (StatusCode::BAD_REQUEST, Value::Null) };
        let response = match self.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        (status, crate::document::decode(&bytes))
    }
}
