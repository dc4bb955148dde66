//! Admission: limits of a namespace or the cluster on requests that are well-formed and authorized.
//!
//! Priority classes and limit ranges fill in and limit pods, quotas limit namespaces. The messages
//! are upstream's (`plugin/pkg/admission`). Never does: validation of objects, authorization.

pub(crate) mod limits;
pub(crate) mod pod_fields;
pub(crate) mod priority;
pub(crate) mod quota;
mod storage;
pub(crate) mod webhooks;

use mxjob_machinery::names::Namespace;
use mxjob_store::{Entry, ListOptions};
use serde_json::Value;

use crate::context::Context;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::registry;

/// Fills in fields of an object that is to be created.
///
/// # Errors
/// 403 where a priority class is unknown or contradicted.
pub(crate) fn complete(context: &Context<'_>, object: &mut Value) -> Result<(), ApiError> {
    let strategy = &context.kind.strategy;
    if strategy.runs_containers() {
        priority::resolve(context, object)?;
        limits::apply_defaults(context, object);
    }
    if strategy.claims_storage() {
        storage::choose_class(context, object);
    }
    strategy.finish_create(object);
    Ok(())
}

/// Checks an object that is to be created. Quotas are checked when it is stored.
///
/// # Errors
/// 403 where a limit is exceeded.
pub(crate) fn check(context: &Context<'_>, object: &Value) -> Result<(), ApiError> {
    if context.kind.strategy.runs_containers() {
        limits::check(context, object)?;
    }
    if context.kind.strategy.claims_storage() {
        limits::check_claim(context, object)?;
    }
    priority::check_global_default(context, object)
}

/// Whether an object may be deleted.
///
/// # Errors
/// 403 for an object that must stay.
pub(crate) fn check_delete(kind: &Kind, name: &str) -> Result<(), ApiError> {
    kind.strategy.undeletable(name).map_or(Ok(()), |why| Err(refused(kind, name, why)))
}

/// 403 with upstream's wording.
pub(crate) fn refused(kind: &Kind, name: &str, why: &str) -> ApiError {
    let message = format!("{} \"{name}\" is forbidden: {why}", kind.qualified_resource());
    ApiError::forbidden(message, Some((name, &kind.group, &kind.plural)))
}

/// All stored objects of a kind; of one namespace where that is given.
fn stored(
    store: &mxjob_store::Store,
    group: &str,
    version: &str,
    plural: &str,
    namespace: Option<Namespace<'_>>,
) -> Vec<Entry> {
    let Some(kind) = registry::find(group, version, plural) else { return Vec::new() };
    let prefix = kind.prefix_in(namespace);
    store.list(&prefix, &ListOptions::default()).map(|page| page.entries).unwrap_or_default()
}
