//! `PATCH`: the types of patches and their effect on the stored object.

mod apply;
mod decode;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mxjob_machinery::field;

use crate::answer::Answer;
use crate::context::Context;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::options::WriteOptions;
use crate::request::media_type;
use crate::verbs::update::{self, Change, Submission};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// The types of patches that a kind accepts. Custom resources have no merge keys, and so no
/// strategic merge patch (CONTRACT section 1).
fn accepted(kind: &Kind) -> &'static [&'static str] {
    if kind.conventions.strategic_merge {
        &[JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY]
    } else {
        &[JSON_PATCH, MERGE_PATCH, APPLY]
    }
}

/// Answers a patch.
pub(crate) async fn patch(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let media_type = media_type(context.headers, "").to_owned();
    let accepted = accepted(context.kind);
    if !accepted.contains(&media_type.as_str()) {
        return Err(ApiError::unsupported_media_type(accepted));
    }
    let options = WriteOptions::parse(context.query, context.user_agent(), "PatchOptions")?;
    check_options(&options, media_type == APPLY)?;
    if context.path.name.is_none() {
        // Of a built-in kind, the path does not have the method at all.
        return Err(ApiError::bad_request("name must be provided"));
    }
    let patch = match media_type.as_str() {
        APPLY => return apply::apply(context, &options).await,
        JSON_PATCH => decode::json_patch(&context.body)?,
        MERGE_PATCH => decode::merge_patch(&context.body)?,
        _ => decode::strategic_merge_patch(&context.body, context.kind)?,
    };
    let submission = Submission::Change { change: &*patch.change, errors: &patch.errors };
    let json = update::write(context, submission, &options).await?;
    Ok(updated(context, json))
}

/// A patch that can be applied to any stored object.
struct Patch {
    change: Box<Change<'static>>,
    /// Errors of the patch itself, for `fieldValidation`.
    errors: Vec<String>,
}

fn updated(context: &Context<'_>, json: Bytes) -> Answer {
    Answer::Object { kind: Arc::clone(context.kind), json, code: StatusCode::OK }
}

fn check_options(options: &WriteOptions, apply: bool) -> Result<(), ApiError> {
    let error = if !apply && options.force.is_some() {
        field::Error::forbidden(
            &field::Path::new("force"),
            "may not be specified for non-apply patch",
        )
    } else if apply && !options.manager_given {
        field::Error::required(&field::Path::new("fieldManager"), "is required for apply patch")
    } else {
        return Ok(());
    };
    Err(ApiError::invalid_as("PatchOptions", "meta.k8s.io", "", &field::Errors::from(vec![error])))
}
