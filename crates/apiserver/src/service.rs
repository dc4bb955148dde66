//! The API server as a tower service: authentication, flow control, authorization, routing,
//! rendering.

mod intake;
mod resource;

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use mxjob_access::authn::Unauthenticated;
use mxjob_access::authn::impersonation::Impersonation;
use mxjob_access::authz::{self, Attributes, Verb};
use mxjob_access::identity::Identity;
use mxjob_serve::{Counted, Peer, PeerCertificates};
use tower_service::Service;

use crate::answer::{Answer, error_response};
use crate::body::{Body, BodyError, Shared, full};
use crate::error::ApiError;
use crate::flow::{Arrival, Priority, Seat, offload};
use crate::negotiate::{self, Form};
use crate::registry::Served;
use crate::rendering::IncludeObject;
use crate::rendering::Rendering;
use crate::request::{self, Query, Target};
use crate::server::ApiServer;
use crate::{compress, health, openapi, openid, version};

impl<B> Service<Request<B>> for ApiServer
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.respond(request).await) })
    }
}

/// A request of an authenticated caller, before its body is read.
struct Call {
    parts: Parts,
    path: Arc<str>,
    query: Query,
    identity: Identity,
    priority: Priority,
}

impl ApiServer {
    async fn respond<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let form = Form::for_errors(&parts.headers, &query);
        let head = parts.method == Method::HEAD;
        let mut warnings = Vec::new();
        // A panic in a handler must fail one request only.
        let answer =
            AssertUnwindSafe(self.answer(parts, query, body, &mut warnings)).catch_unwind().await;
        let mut response = match answer
            .unwrap_or_else(|_| Err(ApiError::internal("a handler failed, see the log")))
        {
            Ok(response) => response,
            Err(error) => error_response(&error, form),
        };
        let headers = response.headers_mut();
        let caching = HeaderValue::from_static("no-cache, private");
        headers.entry(header::CACHE_CONTROL).or_insert(caching);
        add_warnings(headers, &warnings);
        if head {
            *response.body_mut() = full(Bytes::new());
        }
        response
    }

    async fn answer<B>(
        &self,
        parts: Parts,
        query: Query,
        body: B,
        warnings: &mut Vec<String>,
    ) -> Result<Response<Body>, ApiError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let Some(path) = request::decode_path(parts.uri.path()).map(Arc::<str>::from) else {
            return Err(ApiError::bad_request(
                "the path is not valid UTF-8 or has a broken percent-escape",
            ));
        };
        let store_ok = self.0.services.store.failed().is_none();
        if let Some(page) = health::answer(
            &path,
            parts.uri.query().unwrap_or_default(),
            &self.0.readiness,
            store_ok,
        ) {
            return plain(page);
        }
        let target = Target::parse(&path);
        let identity = match self.authenticate(&parts).await? {
            Ok(identity) => identity,
            Err(Unauthenticated::Missing) if target == Target::NonResource => {
                self.anonymous(&parts, &path)?
            }
            Err(_) => return Err(ApiError::unauthorized()),
        };
        let identity = self.impersonated(identity, &parts.headers)?;
        let priority = if parts.extensions.get::<Identity>().is_some() {
            Priority::Exempt
        } else {
            Priority::of(&identity, target.is_about_leases())
        };
        let arrival = self.0.flow.arrive(priority, &identity.name)?;
        let call = Call { parts, path: Arc::clone(&path), query, identity, priority };
        match target {
            Target::Resource(target) => self.resource(call, target, arrival, body, warnings).await,
            Target::NonResource => self.non_resource(call, arrival).await,
        }
    }

    /// The caller. Connections that had a request without valid credentials wait for each other, so
    /// that checking their credentials takes no more than one processor.
    async fn authenticate(
        &self,
        parts: &Parts,
    ) -> Result<Result<Identity, Unauthenticated>, ApiError> {
        let peer = parts.extensions.get::<Peer>();
        let _turn = match peer.filter(|peer| peer.is_suspect()) {
            Some(peer) => {
                let flow = format!("connection {}", peer.id()).into();
                let arrival = self.0.flow.arrive(Priority::CatchAll, &flow)?;
                Some((arrival.seat().await?, arrival))
            }
            None => None,
        };
        let identity = self.0.authenticator.authenticate(
            &parts.headers,
            parts.extensions.get::<Identity>(),
            parts.extensions.get::<PeerCertificates>().map(|chain| &*chain.0),
            self.0.services.environment.now(),
        );
        // Without credentials there was nothing to check.
        let is_suspect = identity.as_ref().is_err_and(|error| *error != Unauthenticated::Missing);
        if let Some(peer) = peer.filter(|_| is_suspect) {
            peer.suspect();
        }
        Ok(identity)
    }

    /// The identity of a caller without credentials, for paths that a role opens to everybody. Any
    /// other path asks for credentials, whether or not it exists.
    fn anonymous(&self, parts: &Parts, path: &str) -> Result<Identity, ApiError> {
        let identity = Identity::anonymous();
        let verb = parts.method.as_str().to_ascii_lowercase();
        let attributes = Attributes { path, ..Attributes::new(&identity, Verb::parse(&verb)) };
        if self.0.services.authorizer.authorize(&attributes).is_allowed() {
            return Ok(identity);
        }
        Err(ApiError::unauthorized())
    }

    /// Waits until a request may be executed: until the peer has taken enough of its earlier
    /// answers, until there is a seat, and for a turn if the request is heavy.
    async fn admit(
        &self,
        call: &Call,
        arrival: &Arrival,
        heavy: bool,
    ) -> Result<(Seat, Option<Seat>), ApiError> {
        let peer = call.parts.extensions.get::<Peer>();
        loop {
            if let Some(peer) = peer {
                peer.room().await;
            }
            let seat = arrival.seat().await?;
            let turn = match heavy {
                true => Some(self.0.flow.turn(&call.identity.name).await),
                false => None,
            };
            // Other requests of the connection may have been answered meanwhile.
            if peer.is_none_or(Peer::has_room) {
                return Ok((seat, turn));
            }
        }
    }

    async fn non_resource(&self, call: Call, arrival: Arrival) -> Result<Response<Body>, ApiError> {
        // Documents about all kinds are made at their first request.
        let is_heavy = &*call.path != "/version";
        let server = self.clone();
        let work = async move {
            let (_seat, turn) = server.admit(&call, &arrival, is_heavy).await?;
            let Some(turn) = turn else { return server.page(&call) };
            let server = server.clone();
            offload::run(turn, async move { server.page(&call) }).await
        };
        if is_heavy { offload::apart(work).await } else { work.await }
    }

    /// Answers a request for something other than objects.
    fn page(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let mut response = self.document(call)?;
        count(call, &mut response);
        Ok(response)
    }

    fn document(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let method = &call.parts.method;
        let verb = method.as_str().to_ascii_lowercase();
        self.authorize(&Attributes {
            path: &call.path,
            ..Attributes::new(&call.identity, Verb::parse(&verb))
        })?;
        if &*call.path == "/metrics" {
            let text = self.metrics();
            return Answer::Metrics { text }.into_response(&self.rendering(call, Form::JSON)?);
        }
        let accept = negotiate::accept(&call.parts.headers);
        let served = self.0.services.registry.served();
        let document = if matches!(call.path.trim_end_matches('/'), "/version") {
            Some(version::document())
        } else {
            served
                .discovery()
                .find(&call.path, &accept)
                .or_else(|| served.openapi().find(served.kinds(), &call.path))
        };
        let accounts = self.0.authenticator.service_accounts();
        let keys = openid::find(&call.path, accounts);
        let is_key = keys.is_some();
        let Some(document) = document.or(keys) else { return not_found(&served, &call.path) };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed());
        }
        let hash = call.query.get("hash").unwrap_or_default();
        let freshness = openapi::freshness(&call.path, hash, &document);
        if let Some(moved) = freshness.redirect() {
            return Ok(moved);
        }
        let known = call.parts.headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
        if let Some(packed) = served.openapi().packed(served.kinds(), &call.path, &accept, known) {
            return Ok(packed);
        }
        let form = match &document.content_type {
            Some(_) => Form::for_documents(&call.parts.headers, &call.query),
            // Discovery has a protobuf form of this kind, OpenAPI has not.
            None => {
                let typed = call.path.starts_with("/api");
                Form::for_objects(&call.parts.headers, &call.query, typed)?
            }
        };
        let rendering = self.rendering(call, form)?;
        let answer = match &document.etag {
            Some(etag) if known == Some(etag) => Answer::NotModified { etag: etag.clone() },
            _ => Answer::Document(Box::new(document)),
        };
        let mut response = answer.into_response(&rendering)?;
        freshness.mark(response.headers_mut(), rendering.now);
        if is_key {
            let caching = HeaderValue::from_static(openid::CACHE_CONTROL);
            response.headers_mut().insert(header::CACHE_CONTROL, caching);
        }
        Ok(response)
    }

    /// The identity that the caller impersonates, if allowed.
    fn impersonated(&self, caller: Identity, headers: &HeaderMap) -> Result<Identity, ApiError> {
        let Some(impersonation) = Impersonation::parse(headers).map_err(ApiError::bad_request)?
        else {
            return Ok(caller);
        };
        for question in impersonation.questions(&caller) {
            self.authorize(&question)?;
        }
        Ok(impersonation.identity())
    }

    fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        let decision = self.0.services.authorizer.authorize(attributes);
        if decision.is_allowed() {
            return Ok(());
        }
        let message = authz::message(attributes, &decision.reason());
        tracing::debug!(message, "refused");
        Err(ApiError::forbidden(message, authz::details(attributes)))
    }

    /// The metrics of this server and of the program.
    fn metrics(&self) -> String {
        const END: &str = "# EOF\n";
        let program = self.0.metrics.get().map(|metrics| metrics()).unwrap_or_default();
        let program = program.strip_suffix(END).unwrap_or(&program);
        format!("{program}{}{END}", self.0.flow.metrics())
    }

    fn rendering(&self, call: &Call, form: Form) -> Result<Rendering, ApiError> {
        let include = IncludeObject::parse(&call.query)?;
        Ok(Rendering {
            form,
            include,
            now: self.0.services.environment.now(),
            gzip: compress::accepted(&call.parts.headers),
        })
    }
}

/// Counts what a response holds in memory against the connection of its request. It is counted
/// before the next request of the connection may be executed.
fn count(call: &Call, response: &mut Response<Body>) {
    let Some(peer) = call.parts.extensions.get::<Peer>() else { return };
    let bytes = match response.extensions().get::<Shared>() {
        Some(Shared) => 0,
        None => usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX),
    };
    let held = Arc::new(peer.hold_answer(bytes));
    response.extensions_mut().insert(Counted(held));
}

/// The answer to a path that is not served.
fn not_found(served: &Served, path: &str) -> Result<Response<Body>, ApiError> {
    // An empty name in front of a subresource.
    if let Some((collection, _)) = path.split_once("//")
        && let Target::Resource(target) = Target::parse(collection)
        && let Some(kind) = served.find(target.group, target.version, target.resource)
        && kind.conventions.missing_subresource_names_object
    {
        return Err(ApiError::not_found(kind, ""));
    }
    if served.is_routed(path) {
        return Err(ApiError::no_such_resource());
    }
    let rendering = Rendering {
        form: Form::JSON,
        include: IncludeObject::None,
        now: jiff::Timestamp::UNIX_EPOCH,
        gzip: false,
    };
    Answer::page_not_found().into_response(&rendering)
}

fn plain(page: health::Page) -> Result<Response<Body>, ApiError> {
    let code = StatusCode::from_u16(page.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let rendering = Rendering {
        form: Form::JSON,
        include: IncludeObject::None,
        now: jiff::Timestamp::UNIX_EPOCH,
        gzip: false,
    };
    Answer::Text { code, text: page.text, nosniff: page.nosniff }.into_response(&rendering)
}

/// One `Warning` header each, code 299, as upstream formats them.
fn add_warnings(headers: &mut HeaderMap, warnings: &[String]) {
    /// Upstream stops adding warnings after 4 KiB.
    const TOTAL_MAX: usize = 4 * 1024;
    let mut total = 0;
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        total += quoted.len();
        if total > TOTAL_MAX {
            break;
        }
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            headers.append(header::WARNING, value);
        }
    }
}
