//! Requests on objects: routing, the verb, and the answer.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::UPGRADE;
use http_body::Body as HttpBody;
use mxjob_access::authz::{Attributes, Verb};
use mxjob_machinery::names::ObjectName;
use mxjob_serve::{LongRunning, Peer, Takeover};

use super::intake::{BODY_MAX, Intake};
use super::{Call, count, not_found};
use crate::answer::Answer;
use crate::body::{Body, BodyError, keeping};
use crate::context::Context;
use crate::error::ApiError;
use crate::flow::{Arrival, OpenStream, Stream, offload};
use crate::kind::Kind;
use crate::negotiate::Form;
use crate::rendering::Rendering;
use crate::request::{self, ResourcePath, Target, media_type};
use crate::server::{ApiServer, Inner};
use crate::verbs::connect::Messages;
use crate::verbs::{
    binding, connect, create, delete, eviction, list, log, patch, review, token, update, usage,
    watch,
};
use crate::{conversion, definitions, protobuf, registry};

/// Requests with larger bodies, or on larger objects, are heavy.
const HEAVY: usize = 64 * 1024;

/// A request on objects, ready to be executed.
struct Work {
    call: Call,
    kind: Arc<Kind>,
    verb: Verb<'static>,
    rendering: Rendering,
    body: Intake,
}

/// The outcome of a request, and the texts for its `Warning` headers.
type Outcome = (Result<Response<Body>, ApiError>, Vec<String>);

impl ApiServer {
    pub(super) async fn resource<B>(
        &self,
        call: Call,
        target: ResourcePath<'_>,
        arrival: Arrival,
        body: B,
        warnings: &mut Vec<String>,
    ) -> Result<Response<Body>, ApiError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let unknown = || not_found(&self.0.services.registry.served(), &call.path);
        let verb = request::verb(&call.parts.method, &target, call.query.flag("watch"));
        let Some(kind) = self.route(&call, &target, verb)? else { return unknown() };
        let form = if verb == Verb::Watch {
            Form::for_watch(&call.parts.headers, kind.is_typed())?
        } else if kind.review.is_some() || verb == Verb::Create && target.subresource.is_some() {
            Form::for_answers(&call.parts.headers, &call.query, kind.is_typed())?
        } else {
            Form::for_objects(&call.parts.headers, &call.query, kind.is_typed())?
        };
        let rendering = self.rendering(&call, form)?;
        let stream = stream(&call, &target, verb)
            .map(|stream| self.0.flow.open(call.priority, &call.identity.name, stream))
            .transpose()?;
        let body = if verb.is_read() {
            Intake::default()
        } else {
            Intake::read(body, call.parts.extensions.get::<Peer>()).await?
        };
        let work = Work { call, kind, verb, rendering, body };
        let is_heavy = self.is_heavy(&work, &target);
        let server = self.clone();
        let done = Box::pin(async move {
            let (_seat, turn) = server.admit(&work.call, &arrival, is_heavy).await?;
            let work = server.clone().execute(work);
            Ok(match turn {
                Some(turn) => offload::run(turn, work).await,
                None => work.await,
            })
        });
        let (response, texts): Outcome =
            if is_heavy { offload::apart(done).await? } else { done.await? };
        warnings.extend(texts);
        Ok(keep_open(response?, stream))
    }

    /// The kind, if the caller may do that and the kind can; `None` where the page of unknown paths
    /// is the answer.
    fn route(
        &self,
        call: &Call,
        target: &ResourcePath<'_>,
        verb: Verb<'_>,
    ) -> Result<Option<Arc<Kind>>, ApiError> {
        let selected = request::selected_name(&call.query, verb);
        let selected = selected.as_deref().and_then(ObjectName::new);
        self.authorize(&Attributes {
            group: target.group,
            version: target.version,
            resource: target.resource,
            subresource: target.subresource,
            namespace: target.namespace,
            name: target.name.or(selected),
            path: &call.path,
            ..Attributes::new(&call.identity, verb)
        })?;
        let served = self.0.services.registry.served();
        let Some(kind) = served.find(target.group, target.version, target.resource) else {
            return Ok(None);
        };
        // Rights in a namespace were asked for; they must not reach what is in none.
        if !kind.namespaced && target.namespace.is_some() {
            return Ok(None);
        }
        if kind.is_typed() && target.name.is_none() {
            check_collection(kind, target, verb)?;
        }
        if kind.namespaced
            && target.namespace.is_none()
            && !matches!(verb, Verb::List | Verb::Watch)
        {
            return Ok(None);
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
        Ok(Some(Arc::clone(kind)))
    }

    /// Whether a request may compute for more than a millisecond: with the body or the object, with
    /// all objects of a collection, with the kinds that a definition adds.
    fn is_heavy(&self, work: &Work, target: &ResourcePath<'_>) -> bool {
        let Work { call, kind, verb, body, .. } = work;
        let is_yaml = || media_type(&call.parts.headers, "application/json").contains("yaml");
        if matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection)
            || body.bytes.len() > HEAVY
            || !body.bytes.is_empty() && is_yaml()
        {
            return true;
        }
        let stored = registry::stored(kind);
        if !verb.is_read() && stored.prefix() == definitions::PREFIX {
            return true;
        }
        target.name.is_some_and(|name| {
            let object = self.0.services.store.get(&stored.key(target.namespace, name));
            object.is_some_and(|entry| entry.value.len() > HEAVY)
        })
    }

    /// Executes a request.
    async fn execute(self, work: Work) -> Outcome {
        let Work { call, kind, verb, rendering, body } = work;
        let Intake { bytes, held: _held } = body;
        // Parsed again, because the request may be executed on another thread.
        let Target::Resource(target) = Target::parse(&call.path) else {
            return (Err(ApiError::no_such_resource()), Vec::new());
        };
        let given = &call.parts.headers;
        let decoded = protobuf::to_json(&kind, &target, verb, given, bytes, BODY_MAX);
        let decoded = decoded.and_then(|(headers, body)| {
            let body = conversion::body(&kind, &headers, body)?;
            Ok((headers, body))
        });
        let (headers, body) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => return (Err(error), Vec::new()),
        };
        let mut context = Context {
            services: &self.0.services,
            identity: &call.identity,
            kind: registry::stored(&kind),
            shown: &kind,
            path: target,
            query: &call.query,
            headers: &headers,
            body,
            now: rendering.now,
            warnings: Vec::new(),
        };
        if connect::is_connection(&context) {
            let (node, upgrade) = (self.0.node.get(), call.parts.extensions.get());
            let answer = connect::open(&context, node, self.0.closing(), upgrade).await;
            return (answer, context.warnings);
        }
        let messages = match Messages::requested(&context, verb, &rendering, &call.parts) {
            Ok(messages) => messages,
            Err(error) => return (Err(error), context.warnings),
        };
        let answer = dispatch(&self.0, &mut context, verb, rendering).await;
        let warnings = context.warnings;
        let response =
            conversion::outcome(&kind, answer).and_then(|answer| match (answer, messages) {
                (Answer::Stream { body, .. }, Some(messages)) => {
                    Ok(messages.send(body, self.0.closing()))
                }
                (answer, _) => answer.into_response(&rendering),
            });
        let response = response.map(|mut response| {
            count(&call, &mut response);
            response
        });
        (response, warnings)
    }
}

/// Whether a request is long-running, if it succeeds.
fn stream(call: &Call, target: &ResourcePath<'_>, verb: Verb<'_>) -> Option<Stream> {
    match (verb, target.subresource) {
        (Verb::Watch, _) => Some(Stream::Watch),
        (_, Some("exec" | "attach" | "portforward")) => Some(Stream::Connection),
        (Verb::Get, Some("log"))
            if call.query.flag("follow") || call.parts.headers.contains_key(UPGRADE) =>
        {
            Some(Stream::Connection)
        }
        _ => None,
    }
}

/// Counts a long-running request until its stream ends.
fn keep_open(response: Response<Body>, stream: Option<OpenStream>) -> Response<Body> {
    let Some(stream) = stream else { return response };
    if let Some(takeover) = response.extensions().get::<Takeover>() {
        takeover.keep(stream);
        response
    } else if response.extensions().get::<LongRunning>().is_some() {
        response.map(|body| keeping(body, stream))
    } else {
        response
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
        (Verb::Get, _) if context.kind.is_measured => usage::get(context, server.node.get()).await,
        (Verb::List, _) if context.kind.is_measured => {
            usage::list(context, server.node.get()).await
        }
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
    match verbs.contains(&verb.as_str()) {
        true => Ok(()),
        false if kind.is_typed() => Err(ApiError::method_not_allowed()),
        false => Err(ApiError::method_not_supported(kind, verb.as_str())),
    }
}

/// Whether the path of a collection of a built-in kind has the method.
fn check_collection(kind: &Kind, path: &ResourcePath<'_>, verb: Verb<'_>) -> Result<(), ApiError> {
    let in_all_namespaces = kind.namespaced && path.namespace.is_none();
    match verb {
        Verb::List | Verb::Watch => Ok(()),
        Verb::Create | Verb::DeleteCollection if !in_all_namespaces => Ok(()),
        _ => Err(ApiError::method_not_allowed()),
    }
}
