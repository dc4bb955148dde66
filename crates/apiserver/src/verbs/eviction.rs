//! `POST pods/{name}/eviction`: a delete that asks first.
//!
//! There are no disruption budgets here, so nothing ever speaks against it.

use http::StatusCode;
use mxjob_machinery::status::Status;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::verbs::{body, delete};

const VERSIONS: &[&str] = &["policy/v1", "policy/v1beta1"];

/// Evicts a pod.
pub(crate) async fn evict(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let eviction = match body::media_type(context.headers, "application/json") {
        "application/json" => mxjob_machinery::json::decode(&context.body).map_err(|error| {
            ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
        })?,
        "application/yaml" => mxjob_machinery::yaml::decode(&context.body).map_err(|error| {
            ApiError::bad_request(format!("couldn't get version/kind; yaml parse error: {error}"))
        })?,
        _ => {
            return Err(ApiError::unsupported_media_type(&[
                "application/json",
                "application/yaml",
            ]));
        }
    };
    let said = |field: &str| eviction.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (said("apiVersion"), said("kind"));
    if !(version.is_empty() || VERSIONS.contains(&version)) || !matches!(kind, "" | "Eviction") {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type Eviction): it says {version} {kind}"
        )));
    }
    let name = document::meta_str(&eviction, "name");
    if !name.is_empty() && name != context.name() {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    // The eviction's own options, as the body of the delete that it is.
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
