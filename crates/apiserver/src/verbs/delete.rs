//! `DELETE` of an object and of a collection.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mxjob_machinery::status::{Details, Status};
use mxjob_machinery::time::rfc3339;
use mxjob_machinery::{field, json, yaml};
use mxjob_store::{Entry, Expect, Op, Transaction};
use serde_json::Value;

use crate::admission::{self, webhooks};
use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::negotiate::OBJECT_TYPES;
use crate::options::{self, ListOptions};
use crate::rendering::ListMeta;
use crate::request::media_type;
use crate::strategy::DeleteMode;
use crate::verbs::list;
use crate::verbs::update::{bump_generation, is_released};

/// The finalizer that keeps an object until its dependents are deleted.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that keeps an object until its dependents are orphaned.
pub(crate) const ORPHAN: &str = "orphan";

/// How dependents are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// Options of a delete, from query and body.
#[derive(Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) grace: Option<i64>,
    pub(crate) dry_run: bool,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    pub(crate) fn parse(context: &Context<'_>) -> Result<Self, ApiError> {
        Self::from_body(context, &Self::body(context)?)
    }

    fn from_body(context: &Context<'_>, body: &Value) -> Result<Self, ApiError> {
        let mut errors = field::Errors::default();
        let query = context.query;
        let text = |name: &str| {
            let body = body.get(name).and_then(Value::as_str);
            body.or_else(|| query.get(name).filter(|text| !text.is_empty())).map(str::to_owned)
        };
        let grace = match body.get("gracePeriodSeconds").and_then(Value::as_i64) {
            Some(grace) => Some(grace),
            None => options::integer(query, "gracePeriodSeconds")?,
        };
        let orphan = body.get("orphanDependents").and_then(Value::as_bool).or_else(|| {
            query
                .get("orphanDependents")
                .filter(|text| !text.is_empty())
                .map(|text| matches!(text, "true" | "1"))
        });
        let path = || field::Path::new("propagationPolicy");
        let policy = text("propagationPolicy");
        let mut propagation = match policy.as_deref() {
            None => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(field::Error::not_supported(&path(), other, &supported));
                None
            }
        };
        if let (Some(policy), Some(_)) = (&policy, orphan) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(field::Error::invalid(&path(), policy.as_str(), detail));
        }
        if propagation.is_none() {
            propagation = orphan
                .map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background });
        }
        let in_body = body
            .get("dryRun")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let dry_run = options::dry_run(in_body.chain(query.all("dryRun")), &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid_as("DeleteOptions", "meta.k8s.io", "", &errors));
        }
        let precondition = |name: &str| {
            let value = body.pointer(&format!("/preconditions/{name}")).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        Ok(Self {
            propagation,
            grace,
            dry_run,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
        })
    }

    /// The `DeleteOptions` in the body; an object without fields where there is no body.
    fn body(context: &Context<'_>) -> Result<Value, ApiError> {
        if context.body.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let broken = |why: String| {
            ApiError::unclassified(format!("couldn't get version/kind; json parse error: {why}"))
        };
        let value = match media_type(context.headers, "application/json") {
            "application/yaml" => {
                yaml::decode(&context.body).map_err(|error| broken(error.to_string()))?
            }
            "application/json" => {
                json::decode(&context.body).map_err(|error| broken(error.to_string()))?
            }
            _ => {
                return Err(ApiError::unsupported_media_type(OBJECT_TYPES));
            }
        };
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            return Err(ApiError::unclassified(format!(
                "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:100\""
            )));
        }
        Ok(value)
    }
}

/// The result of a delete.
enum Outcome {
    /// This object is deleted.
    Gone(Bytes),
    /// Something keeps the object, which is now in this state.
    Pending(Bytes),
}

/// Answers a delete of one object.
pub(crate) async fn delete(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let body = DeleteOptions::body(context)?;
    delete_with(context, &body).await
}

/// Deletes one object with `DeleteOptions` that are not the request's body.
pub(crate) async fn delete_with(
    context: &mut Context<'_>,
    body: &Value,
) -> Result<Answer, ApiError> {
    let options = DeleteOptions::from_body(context, body)?;
    admission::check_delete(context.kind, context.name())?;
    let entry = context.entry()?;
    let name = context.name().to_owned();
    match remove(context, entry, &options, None).await? {
        Some(Outcome::Pending(json)) => {
            Ok(Answer::Object { kind: Arc::clone(context.kind), json, code: StatusCode::OK })
        }
        Some(Outcome::Gone(json)) if context.kind.returns_deleted => {
            Ok(Answer::Object { kind: Arc::clone(context.kind), json, code: StatusCode::OK })
        }
        Some(Outcome::Gone(json)) => {
            let mut details = Details::new(&context.kind.group, &context.kind.plural, &name);
            document::meta_str(&document::decode(&json), "uid").clone_into(&mut details.uid);
            Ok(Answer::Status(Box::new(Status::success(Some(details)))))
        }
        None => Err(ApiError::not_found(context.kind, &name)),
    }
}

/// Answers a delete of a collection with the deleted objects.
pub(crate) async fn delete_collection(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let delete_options = DeleteOptions::parse(context)?;
    let list_options = ListOptions::parse(context.query, context.kind, false)?;
    let (items, meta) = list::select(context, &list_options)?;
    let mut shown = Vec::with_capacity(items.len());
    for item in items {
        let object = document::decode(&item);
        let Some(name) = document::name(&object) else { continue };
        let key = context.kind.key(document::namespace(&object), name);
        let Some(entry) = context.services.store.get(&key) else { continue };
        let built_in_mxjobs = context.services.registry.has_mxjobs();
        if context.kind.strategy.is_read_only(name.as_str(), built_in_mxjobs) {
            continue;
        }
        let chosen = Some(&list_options);
        if remove(context, entry, &delete_options, chosen).await?.is_some() {
            shown.push(item);
        }
    }
    let meta = ListMeta { remaining: None, ..meta };
    Ok(Answer::List { kind: Arc::clone(context.kind), items: shown, meta })
}

/// Deletes an object, or marks it as being deleted; `None` if another request deleted it first, or
/// changed it so that `chosen` no longer selects it.
async fn remove(
    context: &mut Context<'_>,
    mut entry: Entry,
    options: &DeleteOptions,
    chosen: Option<&ListOptions>,
) -> Result<Option<Outcome>, ApiError> {
    loop {
        let old = document::decode(&entry.value);
        if chosen.is_some_and(|chosen| !chosen.selects(context.kind, &old)) {
            return Ok(None);
        }
        check_preconditions(context, &old, options)?;
        let request = webhooks::Request {
            operation: webhooks::Operation::Delete,
            name: document::name(&old),
            namespace: document::namespace(&old),
            object: None,
            old: Some(&old),
            dry_run: options.dry_run,
            manager: "",
        };
        webhooks::admit(context, request).await?;
        let new = marked(context, &old, options);
        let (key, expect) = (entry.key.clone(), Expect::At(entry.revision));
        let (operation, outcome) = match new {
            None => (Op::Delete { key, expect }, Outcome::Gone(entry.value.clone())),
            Some(new) if new == old => return Ok(Some(Outcome::Pending(entry.value))),
            Some(new) => {
                let json = Bytes::from(document::to_vec(&new));
                (Op::Put { key, expect, value: document::encode(&new) }, Outcome::Pending(json))
            }
        };
        if options.dry_run {
            return Ok(Some(outcome));
        }
        match context.services.commit(Transaction(vec![operation])).await? {
            Ok(committed) => {
                let stored = committed.stored.into_iter().flatten().next();
                return Ok(Some(match (outcome, stored) {
                    (Outcome::Pending(_), Some(stored)) => Outcome::Pending(stored.value),
                    (outcome, _) => outcome,
                }));
            }
            Err(Some(current)) => entry = current,
            Err(None) => return Ok(None),
        }
    }
}

fn check_preconditions(
    context: &Context<'_>,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let name = document::meta_str(old, "name");
    let stored = document::meta_str(old, "uid");
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != stored) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({stored}). The object might have been deleted and then recreated"
        );
        return Err(ApiError::precondition(context.kind, name, &why));
    }
    let stored = document::meta_str(old, "resourceVersion");
    if let Some(version) = options.resource_version.as_deref().filter(|version| *version != stored)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({stored}). The object might have been modified"
        );
        return Err(ApiError::precondition(context.kind, name, &why));
    }
    Ok(())
}

/// The object marked as being deleted; `None` if it can be deleted immediately.
fn marked(context: &Context<'_>, old: &Value, options: &DeleteOptions) -> Option<Value> {
    let strategy = &context.kind.strategy;
    let mut new = old.clone();
    let mode = strategy.delete_mode(old, options.grace);
    let mut finalizers = document::finalizers(old);
    let terminating = document::is_terminating(old);
    if !terminating {
        for finalizer in strategy.finalizers_on_delete() {
            hold(&mut finalizers, finalizer, "");
        }
    }
    match options.propagation {
        Some(Propagation::Foreground) => hold(&mut finalizers, FOREGROUND, ORPHAN),
        Some(Propagation::Orphan) => hold(&mut finalizers, ORPHAN, FOREGROUND),
        Some(Propagation::Background) => {
            finalizers.retain(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN);
        }
        None => {}
    }
    let wait = !finalizers.is_empty() || matches!(mode, DeleteMode::Graceful(_));
    if !wait {
        return None;
    }
    let meta = document::metadata_mut(&mut new);
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".to_owned(), finalizers.into());
    }
    let grace = match mode {
        DeleteMode::Now => 0,
        DeleteMode::Graceful(seconds) => seconds,
    };
    let before = meta.get("deletionGracePeriodSeconds").and_then(Value::as_i64);
    if !terminating {
        let end =
            context.now.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(context.now);
        meta.insert("deletionTimestamp".to_owned(), rfc3339(end).into());
        meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        strategy.mark_terminating(&mut new);
        if strategy.has_generation() {
            bump_generation(&mut new);
        }
    } else if before.is_some_and(|before| grace < before) {
        // A second delete may shorten the time that is left, never lengthen it.
        meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    }
    (!is_released(context.kind, &new)).then_some(new)
}

fn hold(finalizers: &mut Vec<String>, with: &str, instead_of: &str) {
    finalizers.retain(|finalizer| finalizer != instead_of);
    if !finalizers.iter().any(|finalizer| finalizer == with) {
        finalizers.push(with.to_owned());
    }
}
