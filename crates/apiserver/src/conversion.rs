//! Conversion between the stored form of an object and the requested one.
//!
//! Two groups may serve the same objects. Bodies are converted to the stored form before a verb,
//! and answers to the requested form after it, so that verbs know one form. Watches convert their
//! events themselves, because selectors are applied to stored objects.
//!
//! Versions of a custom resource differ in `apiVersion` alone. Verbs work on the requested version,
//! answers are converted here, and [`crate::strategy::Strategy::to_stored`] gives the stored
//! version. Objects that were stored under an earlier schema are pruned and get its defaults when
//! they are read, as upstream does; the store keeps them as they are.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use mxjob_machinery::{json, yaml};
use serde_json::Value;

use crate::answer::Answer;
use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::registry;
use crate::request::media_type;

/// The body in the stored form. A body that cannot be decoded is left for the verb to reject.
///
/// # Errors
/// 415 for JSON patches: their paths cannot be converted.
pub(crate) fn body(kind: &Kind, headers: &HeaderMap, body: Bytes) -> Result<Bytes, ApiError> {
    if kind.strategy.stored_as().is_none() || body.is_empty() {
        return Ok(body);
    }
    let value = match media_type(headers, "application/json") {
        "application/json-patch+json" => {
            return Err(ApiError::unsupported_media_type(&[
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ]));
        }
        "application/yaml" | "application/apply-patch+yaml" => yaml::decode(&body).ok(),
        _ => json::decode(&body).ok(),
    };
    let Some(mut value) = value else { return Ok(body) };
    let own = value
        .get("apiVersion")
        .and_then(Value::as_str)
        .is_none_or(|said| said == kind.api_version());
    if own
        && value.is_object()
        && value.get("kind").and_then(Value::as_str) != Some("DeleteOptions")
    {
        kind.strategy.to_stored(&mut value);
    }
    Ok(document::to_vec(&value).into())
}

/// The outcome of a request in the form of the requested kind, and the error with its names.
///
/// # Errors
/// The given error.
pub(crate) fn outcome(
    kind: &Arc<Kind>,
    outcome: Result<Answer, ApiError>,
) -> Result<Answer, ApiError> {
    match outcome {
        Ok(given) => Ok(answer(kind, given)),
        Err(error) if kind.strategy.stored_as().is_some() => {
            Err(error.rewritten_for(registry::stored(kind), kind))
        }
        Err(error) => Err(error),
    }
}

/// The answer in the requested form.
fn answer(kind: &Arc<Kind>, answer: Answer) -> Answer {
    if !kind.strategy.converts() {
        return answer;
    }
    match answer {
        Answer::Object { json, code, .. } => {
            Answer::Object { kind: Arc::clone(kind), json: shown(kind, &json), code }
        }
        Answer::List { items, meta, .. } => {
            let items = items.iter().map(|item| shown(kind, item)).collect();
            Answer::List { kind: Arc::clone(kind), items, meta }
        }
        other => other,
    }
}

/// A stored object in the form of a kind.
pub(crate) fn shown(kind: &Kind, stored: &Bytes) -> Bytes {
    if !kind.strategy.converts() || kind.strategy.is_shown_as_stored(stored) {
        return stored.clone();
    }
    let mut object = document::decode(stored);
    kind.strategy.show_stored(&mut object);
    let shown = Bytes::from(document::to_vec(&object));
    if shown == stored {
        kind.strategy.note_shown_as_stored(stored);
    }
    shown
}
