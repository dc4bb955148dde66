//! `PATCH`: JSON patch, merge patch and server-side apply.

use http::StatusCode;
use mxjob_machinery::ownership::config_problem;
use mxjob_machinery::patch::{self, PatchError};
use mxjob_machinery::{field, json, yaml};
use serde_json::Value;

use crate::answer::Answer;
use crate::document;
use crate::error::ApiError;
use crate::options::WriteOptions;
use crate::ownership::Write;
use crate::server::Context;
use crate::verbs::body::media_type;
use crate::verbs::{create, update};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// Strategic merge patches come with issue 3; custom resources never take them (CONTRACT section 1).
const ACCEPTED: &[&str] = &[JSON_PATCH, MERGE_PATCH, APPLY];

/// Answers a patch.
pub(crate) async fn patch(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let media_type = media_type(context.headers, "").to_owned();
    if !ACCEPTED.contains(&media_type.as_str()) {
        return Err(ApiError::unsupported_media_type(ACCEPTED));
    }
    let options = WriteOptions::parse(context.query, context.user_agent(), "PatchOptions")?;
    check_options(&options, media_type == APPLY)?;
    if context.path.name.is_none() {
        return Err(ApiError::method_not_supported(context.kind, "patch"));
    }
    match media_type.as_str() {
        JSON_PATCH => json_patch(context, &options).await,
        MERGE_PATCH => merge_patch(context, &options).await,
        _ => apply(context, &options).await,
    }
}

fn check_options(options: &WriteOptions, apply: bool) -> Result<(), ApiError> {
    let error = if !apply && options.force.is_some() {
        field::Error::forbidden(&field::Path::new("force"), "may not be specified for non-apply patch")
    } else if apply && !options.manager_given {
        field::Error::required(&field::Path::new("fieldManager"), "is required for apply patch")
    } else {
        return Ok(());
    };
    Err(ApiError::invalid_as("PatchOptions", "meta.k8s.io", "", &field::Errors::from(vec![error])))
}

async fn json_patch(context: &mut Context<'_>, options: &WriteOptions) -> Result<Answer, ApiError> {
    let operations = json::decode(&context.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let change = |old: &Value| {
        patch::json_patch(old, &operations).map_err(|error| match error {
            PatchError::TooManyOperations(_) => ApiError::too_large(error),
            PatchError::Decode(_) => ApiError::bad_request(format!("error decoding patch: {error}")),
            _ => ApiError::unprocessable(),
        })
    };
    change_with(context, &change, options).await
}

async fn merge_patch(context: &mut Context<'_>, options: &WriteOptions) -> Result<Answer, ApiError> {
    let (document, duplicates) = json::decode_reporting_duplicates(&context.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if !document.is_object() {
        let what = json::kind(&document);
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
        )));
    }
    context.warnings.extend(duplicates.iter().map(|path| format!("duplicate field \"{path}\"")));
    let change = |old: &Value| Ok(patch::merge_patch(old, &document));
    change_with(context, &change, options).await
}

async fn change_with(
    context: &mut Context<'_>,
    change: &(dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync),
    options: &WriteOptions,
) -> Result<Answer, ApiError> {
    let json = update::write(context, &update::Submission::Change(change), options).await?;
    Ok(Answer::Object { kind: context.kind, json, code: StatusCode::OK })
}

async fn apply(context: &mut Context<'_>, options: &WriteOptions) -> Result<Answer, ApiError> {
    let kind = context.kind;
    let intent = yaml::decode(&context.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    check_intent(context, &intent)?;
    let exists = context.server.store.get(&context.key()).is_some();
    if !exists && context.path.subresource.is_empty() {
        if !document::meta_str(&intent, "uid").is_empty() || !document::meta_str(&intent, "resourceVersion").is_empty()
        {
            return Err(ApiError::conflict(kind, context.name(), "the object to be applied to does not exist"));
        }
        let object = write(context, options).apply(None, &named(context, intent), true)?;
        let json = create::insert(context, object, &options.applying()).await?;
        return Ok(Answer::Object { kind, json: create::decorated(context, json), code: StatusCode::CREATED });
    }
    let intent = named(context, intent);
    let force = options.force == Some(true);
    let path = context.path;
    let write = Write { subresource: &path.subresource, ..write(context, options) };
    let change = move |old: &Value| write.apply(Some(old), &intent, force);
    change_with(context, &change, &options.applying()).await
}

fn write<'a>(context: &Context<'_>, options: &'a WriteOptions) -> Write<'a> {
    Write { kind: context.kind, subresource: "", manager: &options.manager, now: context.now }
}

fn named(context: &Context<'_>, mut intent: Value) -> Value {
    let (name, namespace) = (context.name().to_owned(), context.namespace().to_owned());
    let meta = document::metadata_mut(&mut intent);
    meta.insert("name".to_owned(), name.into());
    if context.kind.namespaced {
        meta.insert("namespace".to_owned(), namespace.into());
    }
    intent
}

fn check_intent(context: &Context<'_>, intent: &Value) -> Result<(), ApiError> {
    let (kind, wanted) = (context.kind, context.kind.api_version());
    let said = |key: &str| intent.get(key).and_then(Value::as_str).unwrap_or_default();
    if said("apiVersion") != wanted || said("kind") != kind.kind {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}, Kind={} (want {wanted}, Kind={})",
            said("apiVersion"),
            said("kind"),
            kind.kind
        )));
    }
    if intent.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    if let Some(problem) = config_problem(intent, &[]) {
        return Err(ApiError::unclassified(problem));
    }
    let name = document::meta_str(intent, "name");
    if !name.is_empty() && name != context.name() {
        update::check_body_name(context, intent)?;
    }
    update::check_body_namespace(context, intent)
}
