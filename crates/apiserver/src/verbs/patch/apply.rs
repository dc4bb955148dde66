//! Server-side apply: the whole configuration of one manager, merged with what others own.

use std::sync::Arc;

use http::StatusCode;
use mxjob_machinery::ownership::config_problem;
use mxjob_machinery::yaml;
use serde_json::Value;

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::options::{FieldValidation, WriteOptions};
use crate::ownership::Write;
use crate::schemas;
use crate::verbs::update::Submission;
use crate::verbs::{body, create, update};

/// Answers an apply: 201 where the object is new.
pub(super) async fn apply(
    context: &mut Context<'_>,
    options: &WriteOptions,
) -> Result<Answer, ApiError> {
    let kind = context.kind;
    let mut intent = decoded(context, options.field_validation)?;
    schemas::zero_nulls(kind, &mut intent);
    check_intent(context, &intent)?;
    let intent = named(context, intent);
    if context.find().is_none() && context.path.subresource.is_none() {
        check_free_name(context, &intent)?;
        let mut object = write(context, options).apply(None, &intent, true)?;
        // As upstream, a resource version does not prevent the create.
        document::metadata_mut(&mut object).remove("resourceVersion");
        let json = create::insert(context, object, &options.applying()).await?;
        return Ok(Answer::Object {
            kind: Arc::clone(kind),
            json: create::decorated(context, json),
            code: StatusCode::CREATED,
        });
    }
    let force = options.force == Some(true);
    let write = Write { subresource: context.path.subresource, ..write(context, options) };
    let change = move |old: &Value| write.apply(Some(old), &intent, force);
    let submission = Submission::Change { change: &change, errors: &[] };
    let json = update::write(context, submission, &options.applying()).await?;
    Ok(super::updated(context, json))
}

/// The configuration, which is YAML or, as YAML goes, JSON.
fn decoded(context: &mut Context<'_>, validation: FieldValidation) -> Result<Value, ApiError> {
    let (intent, duplicates) = yaml::decode_reporting_duplicates(&context.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    match validation {
        FieldValidation::Strict if !duplicates.is_empty() => Err(ApiError::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
            duplicates.join("\n  ")
        ))),
        FieldValidation::Warn => {
            context.warnings.extend(duplicates);
            Ok(intent)
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(intent),
    }
}

fn write<'a>(context: &Context<'a>, options: &'a WriteOptions) -> Write<'a> {
    Write { kind: context.kind, subresource: None, manager: &options.manager, now: context.now }
}

/// The configuration with the name and namespace of the path.
fn named(context: &Context<'_>, mut intent: Value) -> Value {
    document::metadata_mut(&mut intent).insert("name".to_owned(), context.name().into());
    document::set_namespace(&mut intent, context.path.namespace);
    intent
}

/// A uid means an existing object.
fn check_free_name(context: &Context<'_>, intent: &Value) -> Result<(), ApiError> {
    let Some(uid) = document::uid(intent) else { return Ok(()) };
    let why = format!(
        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
    );
    Err(ApiError::conflict(context.kind, context.name(), &why))
}

fn check_intent(context: &Context<'_>, intent: &Value) -> Result<(), ApiError> {
    let (kind, expected) = (context.kind, context.kind.api_version());
    let given = |key: &str| intent.get(key).and_then(Value::as_str).unwrap_or_default();
    if given("apiVersion") != expected || given("kind") != kind.kind {
        let version = if given("apiVersion").is_empty() { "/" } else { given("apiVersion") };
        return Err(ApiError::bad_request(format!(
            "invalid object type: {version}, Kind={}",
            given("kind")
        )));
    }
    if intent.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    // The fields of built-in kinds are for their schemas to know.
    let fields =
        if kind.is_typed() { None } else { kind.strategy.top_fields() }.unwrap_or_default();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    if let Some(problem) = config_problem(intent, &fields) {
        return Err(ApiError::unclassified(problem));
    }
    body::check_namespace(context, intent)?;
    let name = document::meta_str(intent, "name");
    if name.is_empty() { Ok(()) } else { body::check_name(context, intent) }
}
