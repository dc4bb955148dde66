//! The API server as a tower service: authentication, authorization, routing, rendering.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use mxjob_access::authn::Unauthenticated;
use mxjob_access::authn::impersonation::Impersonation;
use mxjob_access::authz::{self, Attributes, Verb};
use mxjob_access::identity::Identity;
use mxjob_machinery::names::ObjectName;
use mxjob_serve::PeerCertificates;
use tower_service::Service;

use crate::answer::{Answer, error_response};
use crate::body::{Body, BodyError, full};
use crate::context::Context;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::negotiate::{self, Form};
use crate::registry;
use crate::rendering::IncludeObject;
use crate::rendering::Rendering;
use crate::request::{self, Query, ResourcePath, Target};
use crate::server::{ApiServer, Inner};
use crate::verbs::{
    binding, connect, create, delete, eviction, list, log, patch, review, token, update, watch,
};
use crate::{compress, conversion, health, openapi, openid, protobuf, version};

/// How long a client may take to send a body (upstream's time for a whole request).
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest body that is read, in bytes (upstream's limit).
const BODY_MAX: usize = 3 * 1024 * 1024;

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

/// A request before its body is read.
struct Call {
    parts: Parts,
    path: String,
    query: Query,
    identity: Identity,
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
        let Some(path) = request::decode_path(parts.uri.path()).map(std::borrow::Cow::into_owned)
        else {
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
        let is_resource = matches!(Target::parse(&path), Target::Resource(_));
        let authenticated = self.0.authenticator.authenticate(
            &parts.headers,
            parts.extensions.get::<Identity>(),
            parts.extensions.get::<PeerCertificates>().map(|chain| &*chain.0),
            self.0.services.environment.now(),
        );
        let identity = match (authenticated, is_resource) {
            (Ok(identity), _) => identity,
            (Err(Unauthenticated::Missing), false) => self.anonymous(&parts, &path)?,
            (Err(_), _) => return Err(ApiError::unauthorized()),
        };
        let identity = self.impersonated(identity, &parts.headers)?;
        let call = Call { parts, path, query, identity };
        match Target::parse(&call.path) {
            Target::NonResource => self.non_resource(&call),
            Target::Resource(target) => self.resource(&call, &target, body, warnings).await,
        }
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

    fn non_resource(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let method = &call.parts.method;
        let verb = method.as_str().to_ascii_lowercase();
        self.authorize(&Attributes {
            path: &call.path,
            ..Attributes::new(&call.identity, Verb::parse(&verb))
        })?;
        if let ("/metrics", Some(metrics)) = (call.path.as_str(), self.0.metrics.get()) {
            let text = metrics();
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
        let Some(document) = document.or(keys) else { return page_not_found() };
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
            _ => Answer::Json {
                json: document.json,
                content_type: document.content_type,
                etag: document.etag,
            },
        };
        let mut response = answer.into_response(&rendering)?;
        freshness.mark(response.headers_mut(), rendering.now);
        if is_key {
            let caching = HeaderValue::from_static(openid::CACHE_CONTROL);
            response.headers_mut().insert(header::CACHE_CONTROL, caching);
        }
        Ok(response)
    }

    async fn resource<B>(
        &self,
        call: &Call,
        target: &ResourcePath<'_>,
        body: B,
        warnings: &mut Vec<String>,
    ) -> Result<Response<Body>, ApiError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let watching = call.query.flag("watch");
        let verb = request::verb(&call.parts.method, target, watching);
        self.authorize(&Attributes {
            group: target.group,
            version: target.version,
            resource: target.resource,
            subresource: target.subresource,
            namespace: target.namespace,
            name: target.name,
            path: &call.path,
            ..Attributes::new(&call.identity, verb)
        })?;
        let served = self.0.services.registry.served();
        let Some(kind) = served.find(target.group, target.version, target.resource) else {
            return page_not_found();
        };
        if kind.namespaced
            && target.namespace.is_none()
            && !matches!(verb, Verb::List | Verb::Watch)
        {
            return page_not_found();
        }
        // Rights in a namespace were asked for; they must not reach what is in none.
        if !kind.namespaced && target.namespace.is_some() {
            return page_not_found();
        }
        check_verb(kind, target, verb)?;
        let name = target.name.map_or("", ObjectName::as_str);
        let at_item = target.name.is_some() && target.subresource.is_none();
        if verb == Verb::Create && at_item && !kind.conventions.create_at_item {
            return Err(ApiError::method_not_allowed());
        }
        if !verb.is_read()
            && kind.strategy.is_read_only(name, self.0.services.registry.has_mxjobs())
        {
            return Err(ApiError::method_not_supported(kind, verb.as_str()));
        }
        let form = if verb == Verb::Watch {
            Form::for_watch(&call.parts.headers, kind.is_typed())?
        } else {
            Form::for_objects(&call.parts.headers, &call.query, kind.is_typed())?
        };
        let rendering = self.rendering(call, form)?;
        let body = if verb.is_read() { Bytes::new() } else { timed(read(body)).await? };
        let (headers, body) =
            protobuf::to_json(kind, target, verb, &call.parts.headers, body, BODY_MAX)?;
        let mut context = Context {
            services: &self.0.services,
            identity: &call.identity,
            kind: registry::stored(kind),
            shown: kind,
            path: *target,
            query: &call.query,
            headers: &headers,
            body: conversion::body(kind, &headers, body)?,
            now: rendering.now,
            warnings: Vec::new(),
        };
        if connect::is_connection(&context) {
            let node = self.0.node.get();
            return connect::open(&context, node, self.0.closing(), call.parts.extensions.get())
                .await;
        }
        let answer = dispatch(&self.0, &mut context, verb, rendering).await;
        warnings.append(&mut context.warnings);
        conversion::outcome(kind, answer)?.into_response(&rendering)
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

async fn dispatch(
    server: &Inner,
    context: &mut Context<'_>,
    verb: Verb<'_>,
    rendering: Rendering,
) -> Result<Answer, ApiError> {
    match (verb, context.path.subresource) {
        (Verb::Create, Some("binding")) => binding::bind(context).await,
        (Verb::Create, Some("eviction")) => eviction::evict(context).await,
        (Verb::Create, Some("token")) => {
            token::create(context, server.authenticator.service_accounts())
        }
        (Verb::Create, _) => match context.kind.review {
            Some(review) => review::create(context, review, &server.authenticator),
            None => create::create(context).await,
        },
        (Verb::Get, Some("log")) => log::log(context, server.node.get(), server.closing()).await,
        (Verb::Get, _) => list::get(context),
        (Verb::List, _) => list::list(context),
        (Verb::Watch, _) => watch::watch(context, rendering, server.closing()),
        (Verb::Update, _) => update::update(context).await,
        (Verb::Patch, _) => patch::patch(context).await,
        (Verb::Delete, _) => delete::delete(context).await,
        (Verb::DeleteCollection, _) => delete::delete_collection(context).await,
        (Verb::Other(_), _) => Err(ApiError::method_not_supported(context.kind, verb.as_str())),
    }
}

/// Whether the kind, or its subresource, has the verb.
fn check_verb(kind: &Kind, path: &ResourcePath<'_>, verb: Verb<'_>) -> Result<(), ApiError> {
    let verbs = match path.subresource {
        None => kind.verbs,
        Some(subresource) => match kind.subresource(subresource) {
            Some(subresource) => subresource.verbs,
            None if kind.conventions.missing_subresource_names_object => {
                return Err(ApiError::not_found(kind, path.name.map_or("", ObjectName::as_str)));
            }
            None => return Err(ApiError::no_such_resource()),
        },
    };
    let known = verbs.contains(&verb.as_str());
    // Upstream treats a POST to an item as a create, for custom resources only.
    if known { Ok(()) } else { Err(ApiError::method_not_supported(kind, verb.as_str())) }
}

async fn timed(read: impl Future<Output = Result<Bytes, ApiError>>) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::timeout("the request's body did not arrive within 60 seconds")),
    }
}

/// Reads a body up to the limit.
async fn read<B>(body: B) -> Result<Bytes, ApiError>
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

fn page_not_found() -> Result<Response<Body>, ApiError> {
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
