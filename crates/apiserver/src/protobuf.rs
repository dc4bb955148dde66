//! Protobuf in requests and responses: a body is converted to JSON before anything reads it, and a
//! response from JSON when it is written.
//!
//! Built-in kinds have this form. Of a custom resource only the metadata has it, and the options of
//! a delete.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use mxjob_access::authz::Verb;
use mxjob_protobuf::{Error, List, MEDIA_TYPE};
use serde_json::Value;

use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::negotiate::MetaVersion;
use crate::rendering::ListMeta;
use crate::request::{ResourcePath, media_type, summary};

/// The headers and the body with JSON in place of protobuf. Bodies that have no protobuf form
/// (custom resources, patches) stay as they are, and their verbs refuse them. `limit` is the
/// largest size of a body.
///
/// # Errors
/// 400 for a body that cannot be decoded, 413 for one that is too large as JSON.
pub(crate) fn to_json<'h>(
    kind: &Kind,
    path: &ResourcePath<'_>,
    verb: Verb<'_>,
    headers: &'h HeaderMap,
    body: Bytes,
    limit: usize,
) -> Result<(Cow<'h, HeaderMap>, Bytes), ApiError> {
    let deletes = matches!(verb, Verb::Delete | Verb::DeleteCollection);
    if media_type(headers, "") != MEDIA_TYPE
        || !(deletes || kind.is_typed() && matches!(verb, Verb::Create | Verb::Update))
        || deletes && body.is_empty()
    {
        return Ok((Cow::Borrowed(headers), body));
    }
    let (api_version, expected) =
        if deletes { ("v1".to_owned(), "DeleteOptions") } else { body_kind(kind, path) };
    let object = mxjob_protobuf::decode(&body, (&api_version, expected), limit)
        .map_err(|error| refused(&error, expected, &body, limit))?;
    let json = document::to_vec(&object);
    if json.len() > limit {
        return Err(refused(&Error::TooLarge(limit), expected, &body, limit));
    }
    let mut headers = headers.clone();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((Cow::Owned(headers), json.into()))
}

/// `apiVersion` and `kind` of a body that does not name them.
fn body_kind<'k>(kind: &'k Kind, path: &ResourcePath<'_>) -> (String, &'k str) {
    let subresource = path.subresource.and_then(|name| kind.subresource(name));
    match subresource.and_then(|subresource| subresource.body) {
        Some(("", version, name)) => (version.to_owned(), name),
        Some((group, version, name)) => (format!("{group}/{version}"), name),
        None => (kind.api_version(), &kind.kind),
    }
}

fn refused(error: &Error, expected: &str, body: &[u8], limit: usize) -> ApiError {
    match error {
        Error::TooLarge(_) => ApiError::too_large(format_args!("limit is {limit}")),
        Error::Kind { api_version, kind } => {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            ApiError::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {expected}: {error} in scheme \"pkg/runtime/scheme.go:100\""
            ))
        }
        error => ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {expected}): {error} ({})",
            summary(body)
        )),
    }
}

/// An object or another document that names its kind.
///
/// # Errors
/// 406 if the kind has no protobuf form.
pub(crate) fn object(json: &[u8]) -> Result<Vec<u8>, ApiError> {
    mxjob_protobuf::encode(&document::decode(json)).ok_or_else(no_form)
}

/// The metadata of an object.
pub(crate) fn partial(json: &[u8], version: MetaVersion) -> Vec<u8> {
    mxjob_protobuf::encode_partial(&document::decode(json), version.api_version())
}

/// A list of objects.
///
/// # Errors
/// 406 if the kind has no protobuf form.
pub(crate) fn list(kind: &Kind, items: &[Bytes], meta: &ListMeta) -> Result<Vec<u8>, ApiError> {
    let list = List::of(&kind.api_version(), &kind.kind, &metadata(meta)).ok_or_else(no_form)?;
    Ok(filled(list, items))
}

/// A list of the metadata of objects.
pub(crate) fn partial_list(items: &[Bytes], meta: &ListMeta, version: MetaVersion) -> Vec<u8> {
    filled(List::of_metadata(version.api_version(), &metadata(meta)), items)
}

fn filled(mut list: List, items: &[Bytes]) -> Vec<u8> {
    items.iter().for_each(|item| list.push(&document::decode(item)));
    list.finish()
}

fn metadata(meta: &ListMeta) -> Value {
    document::decode(&meta.to_json(false))
}

fn no_form() -> ApiError {
    ApiError::not_acceptable(&["application/json", "application/yaml"])
}
