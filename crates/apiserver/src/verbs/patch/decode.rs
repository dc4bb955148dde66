//! The three types of patches that change a stored object: JSON, merge and strategic merge patch.

use mxjob_machinery::patch::{self, PatchError};
use mxjob_machinery::{json, merge_keys, strategic};
use serde_json::Value;

use super::Patch;
use crate::error::ApiError;
use crate::kind::Kind;

/// A list of operations.
pub(super) fn json_patch(body: &[u8]) -> Result<Patch, ApiError> {
    let (operations, duplicates) = decoded(body)?;
    let mut errors = patch::json_patch_unknown_fields(&operations);
    errors.iter_mut().for_each(|path| *path = format!("json patch unknown field \"{path}\""));
    errors.extend(duplicates.into_iter().map(|error| format!("json patch {error}")));
    // The number of operations and what they are is known before there is an object.
    let change = move |old: &Value| {
        patch::json_patch(old, &operations).map_err(|error| match error {
            PatchError::TooManyOperations(_) => ApiError::too_large(error),
            PatchError::Decode(_) => undecodable(error),
            _ => ApiError::unprocessable(),
        })
    };
    Ok(Patch { change: Box::new(change), errors })
}

/// An object whose entries go into the stored one; null removes.
pub(super) fn merge_patch(body: &[u8]) -> Result<Patch, ApiError> {
    let (document, errors) = decoded_object(body)?;
    let change = move |old: &Value| Ok(patch::merge_patch(old, &document));
    Ok(Patch { change: Box::new(change), errors })
}

/// The same with lists merged by their keys, and directives.
pub(super) fn strategic_merge_patch(body: &[u8], kind: &Kind) -> Result<Patch, ApiError> {
    let (document, errors) = decoded_object(body)?;
    let shape = merge_keys::shape(&kind.api_version(), &kind.kind);
    let change = move |old: &Value| {
        strategic::patch(old, &document, shape)
            .map_err(|error| ApiError::bad_request(error.to_string()))
    };
    Ok(Patch { change: Box::new(change), errors })
}

fn decoded_object(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let (document, errors) = decoded(body)?;
    if document.is_object() {
        return Ok((document, errors));
    }
    let what = json::kind(&document);
    Err(undecodable(format_args!(
        "json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
    )))
}

/// The patch, and what it says twice.
fn decoded(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let (document, duplicates) = json::decode_reporting_duplicates(body).map_err(undecodable)?;
    let errors = duplicates.into_iter().map(|path| format!("duplicate field \"{path}\"")).collect();
    Ok((document, errors))
}

fn undecodable(why: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("error decoding patch: {why}"))
}
