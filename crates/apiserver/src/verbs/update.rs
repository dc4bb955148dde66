//! Changing an object: the part that `PUT`, `PATCH` and the `status` subresource share.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mxjob_machinery::names::Uid;
use mxjob_machinery::ownership::same_but_for_times;
use mxjob_machinery::{field, json, metadata};
use mxjob_store::{Entry, Expect, Op, Transaction};
use serde_json::Value;

use crate::admission::{self, webhooks};
use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::escalation;
use crate::kind::Kind;
use crate::options::{self, WriteOptions};
use crate::ownership::{self, Write};
use crate::schemas;
use crate::verbs::{ATTEMPTS, MODIFIED, body, create};

/// Returns the new object, given the stored one.
pub(crate) type Change<'a> = dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync + 'a;

/// The new object, or a change.
pub(crate) enum Submission<'a> {
    /// The whole object.
    Whole(Value),
    /// A change to the stored object.
    Change {
        /// Returns the changed object.
        change: &'a Change<'a>,
        /// Errors of the change itself, for `fieldValidation`.
        errors: &'a [String],
    },
}

/// Answers a `PUT`.
pub(crate) async fn update(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    if context.path.name.is_none() {
        return Err(ApiError::bad_request("name must be provided"));
    }
    let options = WriteOptions::parse(context.query, context.user_agent(), "UpdateOptions")?;
    let mut object = body::object(context, options.field_validation)?;
    body::check_name(context, &object)?;
    body::settle_namespace(context, &mut object)?;
    let may_create = context.kind.create_on_update && context.path.subresource.is_none();
    if context.find().is_none() {
        if may_create {
            return create_missing(context, object, &options).await;
        }
        return Err(ApiError::not_found(context.kind, context.name()));
    }
    // MXJobs that are built in; for those of a definition it is a validation error.
    if context.kind.create_on_update
        && object.get("kind").and_then(Value::as_str) != Some(&context.kind.kind)
    {
        return Err(wrong_kind(context, &object));
    }
    let json = write(context, Submission::Whole(object), &options).await?;
    Ok(Answer::Object { kind: Arc::clone(context.kind), json, code: StatusCode::OK })
}

/// 400: the body has another kind than the path (CONTRACT section 2).
fn wrong_kind(context: &Context<'_>, object: &Value) -> ApiError {
    let given = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let expected = &context.kind.kind;
    ApiError::bad_request(format!(
        "the kind in the data ({given}) does not match the expected kind ({expected})"
    ))
}

/// `PUT` to a name that does not exist. A uid means a deleted object, and so does the resource
/// version of a custom resource (CONTRACT section 2); that of built-in kinds is ignored, as
/// upstream does.
async fn create_missing(
    context: &mut Context<'_>,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Answer, ApiError> {
    let (kind, name) = (context.kind, context.name().to_owned());
    if let Some(uid) = document::uid(&object) {
        return Err(uid_conflict(context, uid, None));
    }
    let version = document::meta_str(&object, "resourceVersion");
    if kind.conventions.version_means_existing && !matches!(version, "" | "0") {
        return Err(ApiError::not_found(kind, &name));
    }
    document::metadata_mut(&mut object).remove("resourceVersion");
    let json = create::insert(context, object, options).await?;
    Ok(Answer::Object {
        kind: Arc::clone(kind),
        json: create::decorated(context, json),
        code: StatusCode::CREATED,
    })
}

/// Applies a submission to the stored object, atomically, and returns the object as stored.
pub(crate) async fn write(
    context: &mut Context<'_>,
    mut submission: Submission<'_>,
    options: &WriteOptions,
) -> Result<Bytes, ApiError> {
    // Another object can invalidate the write, too, so that one attempt may not be enough.
    let depends = context.kind.strategy.depends_on_others();
    for _ in 0..ATTEMPTS {
        let entry = context.entry()?;
        let mut old = document::decode(&entry.value);
        context.show_stored(&mut old);
        // As in the submission, so that nulls stored by an earlier version are no change.
        schemas::zero_nulls(context.kind, &mut old);
        let (mut submitted, once) = match &mut submission {
            Submission::Whole(object) => {
                let insists = check_versions(context, &old, object, true)?;
                body::check_kind(context, object)?;
                // A writer who insists on a version gets one attempt: the common case copies
                // nothing.
                let once = insists && !depends;
                (if once { std::mem::take(object) } else { object.clone() }, once)
            }
            Submission::Change { change, .. } => {
                let changed = change(&old)?;
                check_versions(context, &old, &changed, false)?;
                (changed, false)
            }
        };
        match &submission {
            Submission::Change { errors, .. } if !options.applying => {
                body::normalize_patched(context, &mut submitted, options.field_validation, errors)?;
            }
            _ => body::normalize_fields(context, &mut submitted, options.field_validation)?,
        }
        // Only then, as upstream: an object of another kind is no valid patch.
        body::settle_namespace(context, &mut submitted)?;
        body::check_name(context, &submitted)?;
        let new = next(context, &old, submitted, options)?;
        context.warn(&new);
        if context.path.subresource.is_none() {
            let errors = admission::pod_fields::check(context, Some(&old), &new);
            if !errors.is_empty() {
                return Err(ApiError::invalid(context.kind, context.name(), &errors));
            }
        }
        let request = webhooks::Request {
            operation: webhooks::Operation::Update,
            name: context.path.name,
            namespace: context.path.namespace,
            object: Some(&new),
            old: Some(&old),
            dry_run: options.dry_run,
            manager: &options.manager,
        };
        webhooks::admit(context, request).await?;
        // An apply on a subresource that sends other fields, too, must not move the time of
        // ownership.
        let is_same =
            json::equal(&old, &new) || (options.applying && same_but_for_times(&old, &new));
        if is_same && !context.is_outdated(&entry, &new) {
            return Ok(entry.value);
        }
        body::check_bounds(&new)?;
        if options.dry_run {
            return Ok(Bytes::from(document::to_vec(&new)));
        }
        if let Some(stored) = store(context, &entry, &new).await? {
            return Ok(stored);
        }
        if once {
            return Err(ApiError::conflict(context.kind, context.name(), MODIFIED));
        }
    }
    Err(ApiError::conflict(context.kind, context.name(), MODIFIED))
}

/// Stores the new state if the old one is still stored; deletes the object without its last
/// finalizer.
async fn store(
    context: &Context<'_>,
    entry: &Entry,
    new: &Value,
) -> Result<Option<Bytes>, ApiError> {
    let (key, expect) = (entry.key.clone(), Expect::At(entry.revision));
    let gone = is_released(context.kind, new);
    let operation = if gone {
        Op::Delete { key, expect }
    } else {
        Op::Put { key, expect, value: context.encode(new) }
    };
    let condition = context.condition(new);
    match context.services.commit_if(Transaction(vec![operation]), condition).await? {
        Ok(_) if gone => Ok(Some(Bytes::from(document::to_vec(new)))),
        Ok(committed) => Ok(Some(document::stored_bytes(&committed))),
        Err(_) => Ok(None),
    }
}

/// Whether nothing keeps an object that is being deleted.
pub(crate) fn is_released(kind: &Kind, object: &Value) -> bool {
    let grace =
        object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    document::is_terminating(object)
        && document::finalizers(object).is_empty()
        && grace == 0
        && !kind.strategy.is_held(object)
}

/// 409: the body has another uid than the stored object, which may not exist.
fn uid_conflict(context: &Context<'_>, uid: Uid<'_>, stored: Option<Uid<'_>>) -> ApiError {
    let kind = context.kind;
    let key = context.path.name.map(|name| kind.key(context.path.namespace, name));
    let stored = stored.map_or("", Uid::as_str);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}",
        key.unwrap_or_default()
    );
    ApiError::conflict(kind, context.name(), &why)
}

/// Checks uid and resource version; true where the writer insists on the version it read.
fn check_versions(
    context: &Context<'_>,
    old: &Value,
    submitted: &Value,
    whole: bool,
) -> Result<bool, ApiError> {
    let (kind, name) = (context.kind, context.name());
    let stored_uid = document::uid(old);
    if whole
        && let Some(uid) = document::uid(submitted)
        && Some(uid) != stored_uid
    {
        return Err(uid_conflict(context, uid, stored_uid));
    }
    let version = document::meta_str(submitted, "resourceVersion");
    let current = document::meta_str(old, "resourceVersion");
    if matches!(version, "" | "0") {
        if whole && !kind.unconditional_update {
            let path = field::Path::new("metadata").child("resourceVersion");
            let error = field::Error::invalid(
                &path,
                field::BadValue::bare("0x0"),
                "must be specified for an update",
            );
            let errors = field::Errors::from(vec![error]);
            return Err(ApiError::invalid_as(&kind.plural, &kind.group, name, &errors));
        }
        return Ok(false);
    }
    options::resource_version(version)?;
    if version != current {
        return Err(ApiError::conflict(kind, name, MODIFIED));
    }
    Ok(whole)
}

/// The object after a submission: the pure part of an update.
fn next(
    context: &Context<'_>,
    old: &Value,
    submitted: Value,
    options: &WriteOptions,
) -> Result<Value, ApiError> {
    let (kind, name) = (context.kind, context.name());
    let subresource = context.path.subresource;
    // On a subresource the manager owns the fields that were sent, even those that are ignored.
    let sent = subresource.is_some().then(|| submitted.clone());
    let mut new = submitted;
    keep_system_fields(old, &mut new);
    if subresource.is_none() {
        escalation::check(context, Some(old), &new)?;
    }
    let mut errors = metadata_errors(context, old, &new);
    match subresource {
        Some("status") => {
            new = with_status(old, &new);
            errors.append(kind.strategy.validate_status(old, &new));
        }
        Some("finalize") => {
            new = with_finalizers(old, &new);
            errors.append(kind.strategy.validate(&new));
        }
        _ => {
            if kind.subresource("status").is_some() {
                carry(old, &mut new, "status");
            }
            kind.strategy.prepare_update(old, &mut new);
            context.derive_status(&mut new);
            if errors.is_empty() {
                errors.append(rule_errors(context, old, &new, name)?);
            }
        }
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(kind, name, &errors));
    }
    if same_content(kind, old, &new) {
        keep_content(kind, old, &mut new); // equal content stays as it was written
    } else if kind.strategy.has_generation() {
        bump_generation(&mut new);
    }
    if !options.applying {
        let write = Write { kind, subresource, manager: &options.manager, now: context.now };
        write.record(Some(old), sent, &mut new);
    }
    if subresource.is_none() && kind.strategy.depends_on_others() {
        ownership::record_derived_status(kind, context.now, old.get("status"), &mut new);
    }
    Ok(new)
}

fn metadata_errors(context: &Context<'_>, old: &Value, new: &Value) -> field::Errors {
    let none = document::Object::new();
    let (old, new) =
        (document::metadata(old).unwrap_or(&none), document::metadata(new).unwrap_or(&none));
    let path = field::Path::new("metadata");
    let mut errors = metadata::validate_update(new, old, &path);
    if context.kind.conventions.repeats_metadata_errors {
        // Upstream validates the metadata of custom resources twice, and reports each error twice.
        errors.append(errors.clone());
    }
    errors
}

fn rule_errors(
    context: &Context<'_>,
    old: &Value,
    new: &Value,
    name: &str,
) -> Result<field::Errors, ApiError> {
    let strategy = &context.kind.strategy;
    let forbidden = strategy.validate_update(old, new);
    if !forbidden.is_empty() {
        let message = strategy.update_message(name, &forbidden);
        return Err(ApiError::invalid(context.kind, name, &forbidden).with_message(message));
    }
    // Unchanged content was accepted before: a finalizer must be removable from any stored object.
    if same_content(context.kind, old, new) {
        Ok(field::Errors::default())
    } else {
        Ok(strategy.revalidate(old, new))
    }
}

/// The fields that count in the generation: all except metadata, and status if it is a subresource.
fn content<'a>(kind: &Kind, object: &'a Value) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let fields = object.as_object().into_iter().flatten();
    let whole = kind.conventions.status_is_content && kind.subresource("status").is_none();
    fields.filter(move |(key, _)| *key != "metadata" && (whole || *key != "status"))
}

fn same_content(kind: &Kind, old: &Value, new: &Value) -> bool {
    let (old, new) = (|| content(kind, old), || content(kind, new));
    old().count() == new().count()
        && old().zip(new()).all(|((a, old), (b, new))| a == b && json::equal(old, new))
}

fn keep_content(kind: &Kind, old: &Value, new: &mut Value) {
    let kept: Vec<_> =
        content(kind, old).map(|(key, value)| (key.clone(), value.clone())).collect();
    if let Some(new) = new.as_object_mut() {
        new.extend(kept);
    }
}

/// Counts a change in `metadata.generation`.
pub(crate) fn bump_generation(object: &mut Value) {
    let meta = document::metadata_mut(object);
    let generation = meta.get("generation").and_then(Value::as_i64).unwrap_or(0);
    meta.insert("generation".to_owned(), generation.saturating_add(1).into());
}

/// Keeps the fields that a writer cannot change, without an error, as upstream does.
fn keep_system_fields(old: &Value, new: &mut Value) {
    let kept: Vec<(&str, Option<Value>)> = [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
        "resourceVersion",
    ]
    .into_iter()
    .map(|field| (field, document::metadata(old).and_then(|meta| meta.get(field)).cloned()))
    .collect();
    let uid = document::meta_str(old, "uid").to_owned();
    let meta = document::metadata_mut(new);
    for (field, value) in kept {
        match value {
            Some(value) => meta.insert(field.to_owned(), value),
            None => meta.remove(field),
        };
    }
    if meta.get("uid").and_then(Value::as_str).unwrap_or_default().is_empty() {
        meta.insert("uid".to_owned(), uid.into());
    }
}

/// `/status` changes the status and nothing else (CONTRACT section 2). Managed fields follow later.
fn with_status(old: &Value, new: &Value) -> Value {
    let mut result = old.clone();
    carry(new, &mut result, "status");
    document::carry_managed(new, &mut result);
    result
}

/// `/finalize` of a namespace changes `spec.finalizers` and nothing else.
fn with_finalizers(old: &Value, new: &Value) -> Value {
    let mut result = old.clone();
    let finalizers = new.pointer("/spec/finalizers").cloned();
    if let (Some(spec), Some(finalizers)) =
        (result.get_mut("spec").and_then(Value::as_object_mut), finalizers)
    {
        spec.insert("finalizers".to_owned(), finalizers);
    } else if let Some(spec) = result.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("finalizers");
    }
    document::carry_managed(new, &mut result);
    result
}

fn carry(from: &Value, to: &mut Value, field: &str) {
    let value = from.get(field).cloned();
    if let Some(to) = to.as_object_mut() {
        match value {
            Some(value) if !value.is_null() => to.insert(field.to_owned(), value),
            _ => to.remove(field),
        };
    }
}
