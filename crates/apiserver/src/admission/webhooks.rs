//! Validating webhooks: web services that may reject a request before it is carried out.
//!
//! ```text
//!  stored configurations ─▶ hooks (read when they change) ─▶ those that match the request
//!                                                          └▶ all concurrently ─▶ the first rejection
//! ```
//!
//! They are asked after the server's own rules and before the store, and nothing is locked
//! meanwhile. The result is stored only if the object that they saw is still the stored one.
//!
//! They are not asked about webhook configurations, so that a broken one can always be fixed or
//! removed.

mod call;
mod conditions;
mod configured;
mod hook;
mod question;
mod review;

use std::sync::Arc;

use futures_util::future::join_all;
use mxjob_machinery::names::{Namespace, ObjectName};
use mxjob_machinery::status::Status;
use serde_json::{Value, json};

use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;
use hook::{Hook, Sides};
use review::{Answer, CallError};

pub(crate) use configured::Webhooks;

/// The operation on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// A request as webhooks are asked about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) operation: Operation,
    pub(crate) name: Option<ObjectName<'a>>,
    pub(crate) namespace: Option<Namespace<'a>>,
    /// The object as it would be; none for a deletion.
    pub(crate) object: Option<&'a Value>,
    /// The object as it is; none for a creation.
    pub(crate) old: Option<&'a Value>,
    pub(crate) dry_run: bool,
    /// Field manager of a write.
    pub(crate) manager: &'a str,
}

// === impl Operation ===

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Delete => "DeleteOptions",
        }
    }
}

/// Asks the webhooks that match a request.
///
/// # Errors
/// The first rejection, or the failure of a call whose `failurePolicy` is `Fail`.
pub(crate) async fn admit(context: &mut Context<'_>, request: Request<'_>) -> Result<(), ApiError> {
    if context.kind.strategy.skips_webhooks() {
        return Ok(());
    }
    let services = context.services;
    let hooks = services.webhooks.hooks(&services.store);
    if hooks.is_empty() {
        return Ok(());
    }
    let mut calls = Vec::new();
    for hook in hooks.iter() {
        let Some(matched) = matched(context, hook, &request) else { continue };
        let review = question::request(context, &request, &matched);
        match conditions::hold(&hook.conditions, &review["request"]) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) if hook.ignores_failure => continue,
            Err(error) => {
                return Err(super::refused(
                    context.kind,
                    request.name.map_or("", ObjectName::as_str),
                    &error,
                ));
            }
        }
        if request.dry_run && hook.sides == Sides::Effects {
            let name = &hook.name;
            let why = format!("admission webhook {name:?} does not support dry run");
            return Err(ApiError::bad_request(why));
        }
        calls.push((Arc::clone(hook), review));
    }
    let answers = join_all(calls.iter().map(|(hook, review)| async move {
        let address = services.webhooks.address(&services.store, hook);
        (hook, services.webhooks.connections.ask(hook, address, review).await)
    }))
    .await;
    let mut refusal = None;
    let mut warnings = Vec::new();
    for (hook, answer) in answers {
        match answer {
            Ok(Answer { allowed, status, warnings: own }) => {
                warnings.extend(own);
                if !allowed && refusal.is_none() {
                    refusal = Some(denied(&hook.name, status));
                }
            }
            Err(CallError(why)) if hook.ignores_failure => {
                tracing::warn!(
                    webhook = hook.name,
                    why,
                    "calling a webhook failed, ignored by its failurePolicy"
                );
            }
            Err(CallError(why)) => {
                let name = &hook.name;
                let error = ApiError::internal(format!("failed calling webhook {name:?}: {why}"));
                refusal = refusal.or(Some(error));
            }
        }
    }
    context.warnings.extend(warnings);
    refusal.map_or(Ok(()), Err)
}

/// The kind under which a hook matches the request, if it does.
fn matched(context: &Context<'_>, hook: &Hook, request: &Request<'_>) -> Option<Arc<Kind>> {
    let subresource = context.path.subresource;
    let wants = |kind: &Kind| {
        let is_namespaced = kind.namespaced;
        hook.rules
            .iter()
            .any(|rule| rule.matches(request.operation.name(), kind, subresource, is_namespaced))
    };
    let own = context.shown;
    let kind = if wants(own) {
        Arc::clone(own)
    } else if hook.exact {
        return None;
    } else {
        let served = context.services.registry.served();
        let same = |kind: &Kind| kind.plural == own.plural && kind.group == own.group;
        let other = |kind: &&Arc<Kind>| !Arc::ptr_eq(kind, own) && same(kind) && wants(kind);
        served.kinds().iter().find(other).cloned()?
    };
    let selects = hook.selects_objects(request.object) || hook.selects_objects(request.old);
    (selects && hook.selects_namespace(|| labels_around(context, request))).then_some(kind)
}

/// The labels of an object's namespace, or of the object if it is one; `None` if it has none.
fn labels_around(context: &Context<'_>, request: &Request<'_>) -> Option<Value> {
    let labels =
        |object: &Value| object.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    let kind = context.kind;
    if kind.strategy.is_namespace() {
        return request.object.or(request.old).map(labels);
    }
    if !kind.namespaced {
        return None;
    }
    let key = format!("/registry/namespaces/{}", request.namespace?);
    let entry = context.services.store.get(&key);
    Some(entry.map_or_else(|| json!({}), |entry| labels(&document::decode(&entry.value))))
}

/// The error of a rejection, in upstream's wording.
fn denied(name: &str, status: Option<Box<Status>>) -> ApiError {
    let by = format!("admission webhook {name:?} denied the request");
    let mut status = status.unwrap_or_else(|| Box::new(Status::failure(400, None, String::new())));
    let said = status.message.take().filter(|message| !message.is_empty());
    let reason = status.reason.as_ref().map(ToString::to_string).filter(|it| !it.is_empty());
    status.message = Some(match said.or(reason) {
        Some(why) => format!("{by}: {why}"),
        None => format!("{by} without explanation"),
    });
    status.code = Some(status.code.filter(|code| *code >= 400).unwrap_or(400));
    ApiError::of_status(status)
}
