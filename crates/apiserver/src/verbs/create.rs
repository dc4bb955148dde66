//! `POST` to a collection, and `PUT` to a name that does not exist where the kind allows it.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mxjob_machinery::json::text;
use mxjob_machinery::names::ObjectName;
use mxjob_machinery::time::rfc3339;
use mxjob_machinery::{field, metadata};
use mxjob_store::{Entry, Expect, Op, Transaction};
use serde_json::Value;

use crate::admission::{self, webhooks};
use crate::answer::Answer;
use crate::context::Context;
use crate::definitions;
use crate::document;
use crate::error::ApiError;
use crate::escalation;
use crate::kind::Kind;
use crate::options::WriteOptions;
use crate::ownership::{self, Write};
use crate::registry;
use crate::verbs::{ATTEMPTS, MODIFIED, body};

/// The longest name a generated name may reach, less the suffix (upstream's limit).
const GENERATE_NAME_MAX: usize = 58;

/// Answers a create.
pub(crate) async fn create(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let options = WriteOptions::parse(context.query, context.user_agent(), "CreateOptions")?;
    let object = body::object(context, options.field_validation)?;
    if context.path.name.is_some() {
        // The right to create was checked for the name in the path.
        body::check_name(context, &object)?;
    }
    let json = insert(context, object, &options).await?;
    let kind = context.kind;
    Ok(Answer::Object {
        kind: Arc::clone(kind),
        json: decorated(context, json),
        code: StatusCode::CREATED,
    })
}

/// The response to a create, as the kind shows it.
pub(crate) fn decorated(context: &Context<'_>, json: Bytes) -> Bytes {
    let mut object = document::decode(&json);
    let before = object.clone();
    context.kind.strategy.decorate_created(&mut object);
    if object == before { json } else { Bytes::from(document::to_vec(&object)) }
}

/// Stores a new object and returns it as stored.
pub(crate) async fn insert(
    context: &mut Context<'_>,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Bytes, ApiError> {
    let kind = context.kind;
    context.warnings.extend(kind.storage_warning());
    check_namespace(context, &mut object)?;
    if !matches!(text(&object, "/metadata/resourceVersion"), "") {
        return Err(ApiError::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    body::check_kind(context, &object)?;
    body::normalize_fields(context, &mut object, options.field_validation)?;
    stamp(context, &mut object);
    if kind.strategy.is_closing() {
        return Err(closing(kind));
    }
    kind.strategy.prepare_create(&mut object);
    let name = document::meta_str(&object, "name").to_owned();
    let changed = || ApiError::conflict(kind, &name, MODIFIED);
    if !kind.strategy.depends_on_others() {
        return attempt(context, object, options).await?.ok_or_else(changed);
    }
    let warnings = context.warnings.len();
    for _ in 0..ATTEMPTS {
        context.warnings.truncate(warnings);
        if let Some(stored) = attempt(context, object.clone(), options).await? {
            return Ok(stored);
        }
    }
    Err(changed())
}

/// Completes, checks and stores a new object; `None` if other objects that it depends on have
/// changed meanwhile. Nothing is locked while webhooks are asked.
async fn attempt(
    context: &mut Context<'_>,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Option<Bytes>, ApiError> {
    let kind = context.kind;
    context.derive_status(&mut object);
    context.warn(&object);
    escalation::check(context, None, &object)?;
    admission::complete(context, &mut object)?;

    let name = document::meta_str(&object, "name").to_owned();
    let mut errors = metadata::validate_named(
        document::metadata_mut(&mut object),
        kind.namespaced,
        kind.strategy.name_rule(),
        &field::Path::new("metadata"),
    );
    errors.append(kind.strategy.validate(&object));
    errors.append(admission::pod_fields::check(context, None, &object));
    let Some(name) = ObjectName::new(&name).filter(|_| errors.is_empty()) else {
        return Err(ApiError::invalid(kind, &name, &errors));
    };
    admission::check(context, &object)?;
    if let Some(meta) = document::metadata(&object) {
        context.warnings.extend(metadata::warnings(meta));
    }
    if !options.applying {
        let write = Write { kind, subresource: None, manager: &options.manager, now: context.now };
        write.record(None, None, &mut object);
    }
    if kind.strategy.depends_on_others() {
        ownership::record_derived_status(kind, context.now, None, &mut object);
    }
    body::check_bounds(&object)?;
    let request = webhooks::Request {
        operation: webhooks::Operation::Create,
        name: Some(name),
        namespace: context.path.namespace,
        object: Some(&object),
        old: None,
        dry_run: options.dry_run,
        manager: &options.manager,
    };
    webhooks::admit(context, request).await?;
    commit(context, name, &object, options).await
}

async fn commit(
    context: &Context<'_>,
    name: ObjectName<'_>,
    object: &Value,
    options: &WriteOptions,
) -> Result<Option<Bytes>, ApiError> {
    let kind = context.kind;
    let key = kind.key(context.path.namespace, name);
    let name = name.as_str();
    let exists = |bytes: &[u8]| {
        ApiError::already_exists(kind, name, document::is_terminating(&document::decode(bytes)))
    };
    if let Some(entry) = context.services.store.get(&key) {
        return Err(exists(&entry.value));
    }
    if options.dry_run {
        admission::quota::account(context, name, object)?;
        return Ok(Some(Bytes::from(document::to_vec(object))));
    }
    let _turn = match admission::quota::limits_namespace(context) {
        true => Some(context.services.quota_turn.lock().await),
        false => None,
    };
    loop {
        let put = Op::Put {
            key: key.as_str().into(),
            expect: Expect::Absent,
            value: context.encode(object),
        };
        let mut operations = vec![put];
        // The definition of the kind must still exist: otherwise the object would outlive it.
        operations.extend(check_definition_open(context)?);
        if kind.namespaced {
            // The namespace, too, must still exist.
            let namespace = check_namespace_open(context, object)?;
            operations
                .push(Op::Check { key: namespace.key, expect: Expect::At(namespace.revision) });
            operations.extend(admission::quota::account(context, name, object)?);
        }
        let condition = context.condition(object);
        match context.services.commit_if(Transaction(operations), condition).await? {
            Ok(committed) => return Ok(Some(document::stored_bytes(&committed))),
            Err(Some(current)) if *current.key == *key => return Err(exists(&current.value)),
            Err(_) if kind.strategy.depends_on_others() => return Ok(None),
            Err(_) => {} // the namespace, the definition or a quota changed meanwhile: try again
        }
    }
}

/// The check that the definition of a kind exists and stays; none for built-in kinds.
fn check_definition_open(context: &Context<'_>) -> Result<Option<Op>, ApiError> {
    #[derive(serde::Deserialize)]
    struct Definition {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        deletion_timestamp: Option<serde::de::IgnoredAny>,
    }
    let kind = context.kind;
    if context.services.registry.is_built_in(&kind.group, &kind.plural) {
        return Ok(None);
    }
    let key = format!("{}{}.{}", definitions::PREFIX, kind.plural, kind.group);
    let entry = context.services.store.get(&key).ok_or_else(ApiError::no_such_resource)?;
    // Definitions are large: only this field is read.
    let definition: Definition =
        serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
    if definition.metadata.deletion_timestamp.is_some() {
        return Err(closing(kind));
    }
    Ok(Some(Op::Check { key: entry.key, expect: Expect::At(entry.revision) }))
}

fn closing(kind: &Kind) -> ApiError {
    let why = "create not allowed while custom resource definition is terminating";
    ApiError::method_not_supported(kind, "create").with_message(Some(why.to_owned()))
}

/// The namespace of body and path must agree, exist and stay.
fn check_namespace(context: &Context<'_>, object: &mut Value) -> Result<(), ApiError> {
    body::settle_namespace(context, object)?;
    if context.kind.namespaced {
        check_namespace_open(context, object)?;
    }
    Ok(())
}

fn check_namespace_open(context: &Context<'_>, object: &Value) -> Result<Entry, ApiError> {
    let row = registry::find("", "v1", "namespaces");
    let (Some(row), Some(namespace)) = (row, context.path.namespace) else {
        return Err(ApiError::no_such_resource());
    };
    let entry = context.services.store.get(&row.key(None, namespace.into()));
    let entry = entry.ok_or_else(|| ApiError::not_found(row, namespace.as_str()))?;
    if document::is_terminating(&document::decode(&entry.value)) {
        let names = ["name", "generateName"].map(|field| document::meta_str(object, field));
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown");
        return Err(ApiError::namespace_terminating(context.kind, name, namespace.as_str()));
    }
    Ok(entry)
}

/// Sets what only the server decides.
fn stamp(context: &Context<'_>, object: &mut Value) {
    let (kind, environment) = (context.kind, &context.services.environment);
    let namespace = context.path.namespace;
    let meta = document::metadata_mut(object);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
    ] {
        meta.remove(field);
    }
    let has_name = meta.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let base = meta.get("generateName").and_then(Value::as_str).unwrap_or_default();
    if !has_name && !base.is_empty() {
        let base: String = base.chars().take(GENERATE_NAME_MAX).collect();
        meta.insert("name".to_owned(), format!("{base}{}", environment.name_suffix()).into());
    }
    meta.insert("uid".to_owned(), environment.uid().into());
    meta.insert("creationTimestamp".to_owned(), rfc3339(context.now).into());
    if kind.strategy.has_generation() {
        meta.insert("generation".to_owned(), 1.into());
    }
    if kind.strategy.self_link() {
        let name = meta.get("name").and_then(Value::as_str).unwrap_or_default();
        let link = format!("{}/{name}", kind.collection_path(namespace));
        meta.insert("selfLink".to_owned(), link.into());
    }
    let drops_status =
        kind.subresource("status").is_some() && !kind.strategy.keeps_status_on_create();
    if let Some(map) = object.as_object_mut().filter(|_| drops_status) {
        map.remove("status");
    }
}
