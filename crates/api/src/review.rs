//! Admission on a cluster: responses to AdmissionReviews by the rules of [`admission`].
//!
//! Pure: takes the request's body and returns the response's. The caller serves it and chooses the
//! certificate.
//!
//! | request | answer |
//! | --- | --- |
//! | create of an MXJob | by [`admission::create`] |
//! | update of an MXJob | by [`admission::update`] |
//! | update of its `status` | by [`admission::update_status`] |
//! | write of another subresource | refused: an MXJob has none |
//! | delete, connect | allowed |
//! | another resource or version | allowed: there is no rule about it here |
//!
//! A refusal carries the whole `Status` that the standalone API server would respond with. The
//! cluster's API server passes it on and only prefixes the message with the webhook's name. There
//! are no warnings: those of the standalone API server are the ones that every API server gives by
//! itself.

use mxjob_machinery::field::Errors;
use mxjob_machinery::status::Status;
use serde_json::{Value, json};

use crate::admission;
use crate::mxjob::{GROUP, PLURAL, VERSION};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Why a body is not a valid request; the caller responds with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another kind of object, or no object.
    #[error("the body is no {KIND} of {API_VERSION}")]
    NotAReview,
    /// The review has no request, or the request lacks a mandatory field.
    #[error("the {KIND} has no {0}")]
    Missing(&'static str),
    /// An unknown operation.
    #[error("the {KIND} is of the unknown operation {0:?}")]
    UnknownOperation(String),
}

/// Responds to a review. An invalid one is refused in the form of a response, with the `uid` if
/// there is one.
///
/// ```
/// use mxjob_api::review;
/// use serde_json::json;
///
/// let answer = review::answer(&json!({ "kind": "AdmissionReview" }));
/// assert_eq!(answer["response"]["allowed"], false);
/// assert_eq!(answer["response"]["status"]["code"], 400);
/// ```
pub fn answer(review: &Value) -> Value {
    respond(review).unwrap_or_else(|error| {
        let uid = review.pointer("/request/uid").and_then(Value::as_str).unwrap_or_default();
        response(uid, Some(&Status::bad_request(error.to_string())))
    })
}

/// The same, for callers that respond with 400 to an invalid review.
pub fn respond(review: &Value) -> Result<Value, Error> {
    let is = |field, word| review.get(field).and_then(Value::as_str) == Some(word);
    if !is("apiVersion", API_VERSION) || !is("kind", KIND) {
        return Err(Error::NotAReview);
    }
    let request = review.get("request").filter(|request| request.is_object());
    let request = request.ok_or(Error::Missing("request"))?;
    let uid = text(request, "uid").filter(|uid| !uid.is_empty());
    let uid = uid.ok_or(Error::Missing("request.uid"))?;
    Ok(response(uid, refusal(request)?.as_ref()))
}

/// The violations of a request, if there are any.
fn refusal(request: &Value) -> Result<Option<Status>, Error> {
    let operation = text(request, "operation").ok_or(Error::Missing("request.operation"))?;
    let resource = object(request, "resource").ok_or(Error::Missing("request.resource"))?;
    let is_job = [("group", GROUP), ("version", VERSION), ("resource", PLURAL)];
    if !is_job.into_iter().all(|(field, word)| text(resource, field) == Some(word)) {
        return Ok(None);
    }
    let subresource = text(request, "subResource").unwrap_or_default();
    let new = || object(request, "object").ok_or(Error::Missing("request.object"));
    let old = || object(request, "oldObject").ok_or(Error::Missing("request.oldObject"));
    let errors = match (operation, subresource) {
        ("DELETE" | "CONNECT", _) => Errors::new(),
        ("CREATE", "") => admission::create(new()?),
        ("UPDATE", "") => admission::update(old()?, new()?),
        ("UPDATE", "status") => admission::update_status(old()?, new()?),
        ("CREATE" | "UPDATE", other) => return Ok(Some(no_subresource(request, other))),
        (other, _) => return Err(Error::UnknownOperation(other.to_owned())),
    };
    Ok((!errors.is_empty()).then(|| admission::refusal(name(request), &errors)))
}

fn no_subresource(request: &Value, subresource: &str) -> Status {
    let why = format!("an MXJob has no subresource {subresource:?} that can be written");
    Status::forbidden(GROUP, PLURAL, name(request), why)
}

/// The job's name. A create with `generateName` may not have it in the request itself.
fn name(request: &Value) -> &str {
    let name = request.pointer("/object/metadata/name").and_then(Value::as_str);
    name.or_else(|| text(request, "name")).unwrap_or_default()
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

fn object<'a>(request: &'a Value, field: &str) -> Option<&'a Value> {
    request.get(field).filter(|object| object.is_object())
}

fn response(uid: &str, refusal: Option<&Status>) -> Value {
    let mut response = json!({ "uid": uid, "allowed": refusal.is_none() });
    // Strings, numbers and lists of them always serialize.
    if let Some(status) = refusal.and_then(|status| serde_json::to_value(status).ok()) {
        response["status"] = status;
    }
    json!({ "apiVersion": API_VERSION, "kind": KIND, "response": response })
}
