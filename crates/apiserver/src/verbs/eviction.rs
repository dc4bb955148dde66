//! `POST pods/{name}/eviction`: a delete. Disruption budgets are stored but not enforced.

use http::StatusCode;
use mxjob_machinery::status::Status;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::negotiate::OBJECT_TYPES;
use crate::request::media_type;
use crate::verbs::delete;

const VERSIONS: &[&str] = &["policy/v1", "policy/v1beta1"];

/// Evicts a pod.
pub(crate) async fn evict(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let eviction = match media_type(context.headers, "application/json") {
        "application/json" => mxjob_machinery::json::decode(&context.body).map_err(|error| {
            ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
        })?,
        "application/yaml" => mxjob_machinery::yaml::decode(&context.body).map_err(|error| {
            ApiError::bad_request(format!("couldn't get version/kind; yaml parse error: {error}"))
        })?,
        _ => {
            return Err(ApiError::unsupported_media_type(OBJECT_TYPES));
        }
    };
    let given = |field: &str| eviction.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (given("apiVersion"), given("kind"));
    if !(version.is_empty() || VERSIONS.contains(&version)) || !matches!(kind, "" | "Eviction") {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type Eviction): got {version} {kind}"
        )));
    }
    let name = document::meta_str(&eviction, "name");
    if !name.is_empty() && name != context.name() {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    // `deleteOptions` of the eviction is the body of the delete.
    let mut options = eviction
        .get("deleteOptions")
        .cloned()
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({}));
    if let Some(options) = options.as_object_mut() {
        options.insert("kind".to_owned(), "DeleteOptions".into());
        options.insert("apiVersion".to_owned(), "v1".into());
    }
    delete::delete_with(context, &options).await?;
    let status = Status { code: Some(StatusCode::CREATED.as_u16()), ..Status::success(None) };
    Ok(Answer::Status(Box::new(status)))
}
