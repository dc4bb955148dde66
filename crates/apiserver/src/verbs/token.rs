//! `POST serviceaccounts/{name}/token`: a token for an account, of limited time and audience.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use mxjob_access::tokens::ServiceAccounts;
use mxjob_access::tokens::service_account::{Bound, BoundKind, ISSUER};
use mxjob_machinery::field::{self, Path};
use mxjob_machinery::json;
use mxjob_machinery::json::text;
use mxjob_machinery::names::{Namespace, ObjectName, Uid};
use mxjob_machinery::time::rfc3339;
use mxjob_protobuf::MEDIA_TYPE;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::options::WriteOptions;
use crate::registry;
use crate::request::media_type;

const API_VERSION: &str = "authentication.k8s.io/v1";
const KIND: &str = "TokenRequest";
/// Upstream's times, in seconds: where nothing is said, the least and the most that may be said.
const DEFAULT_SECONDS: i64 = 60 * 60;
const MIN_SECONDS: i64 = 10 * 60;
const MAX_SECONDS: i64 = 1 << 32;

/// Issues a token.
pub(crate) fn create(
    context: &mut Context<'_>,
    accounts: Option<&ServiceAccounts>,
) -> Result<Answer, ApiError> {
    let options = WriteOptions::parse(context.query, context.user_agent(), "CreateOptions")?;
    let accounts = accounts.ok_or_else(ApiError::no_such_resource)?;
    let mut request = decode(context)?;
    let account = document::decode(&context.entry()?.value);
    complete(context, &account, &mut request)?;
    let bound = bound(context, &request["spec"], &account)?;
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    let audiences = request["spec"]["audiences"].as_array().into_iter().flatten();
    let audiences: Vec<String> =
        audiences.filter_map(|one| one.as_str().map(str::to_owned)).collect();
    let token = if options.dry_run {
        Some(String::new())
    } else {
        accounts.issue(&account, &audiences, (context.now, seconds), bound.as_ref())
    };
    let token = token.ok_or_else(|| {
        ApiError::unavailable(
            "cannot sign the token: the system provides no random bytes; try again later",
        )
    })?;
    let end = Timestamp::from_second(context.now.as_second().saturating_add(seconds))
        .unwrap_or(Timestamp::MAX);
    request["status"] = json!({ "expirationTimestamp": rfc3339(end), "token": token });
    let json = Bytes::from(document::to_vec(&request));
    Ok(Answer::Object { kind: Arc::clone(context.kind), json, code: StatusCode::CREATED })
}

fn decode(context: &Context<'_>) -> Result<Value, ApiError> {
    if media_type(context.headers, "application/json") != "application/json" {
        return Err(ApiError::unsupported_media_type(&["application/json", MEDIA_TYPE]));
    }
    let request = json::decode(&context.body).map_err(|error| {
        ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    let (version, kind) = (text(&request, "/apiVersion"), text(&request, "/kind"));
    let fits = |given: &str, expected: &str| given.is_empty() || given == expected;
    if !request.is_object() || !fits(version, API_VERSION) || !fits(kind, KIND) {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {KIND}): {version}, Kind={kind}"
        )));
    }
    Ok(request)
}

/// Checks a request and fills in defaults.
fn complete(context: &Context<'_>, account: &Value, request: &mut Value) -> Result<(), ApiError> {
    let namespace = context.path.namespace.map_or("", Namespace::as_str);
    let name = context.name();
    for (field, own) in [("name", name), ("namespace", namespace)] {
        let given = document::meta_str(request, field);
        if !given.is_empty() && given != own {
            return Err(ApiError::bad_request(format!(
                "the {field} of the provided object does not match the {field} sent on the request"
            )));
        }
    }
    if document::is_terminating(account) {
        let kind = context.kind;
        let why = format!("service account {namespace}/{name} is being deleted");
        return Err(ApiError::conflict(kind, name, &why));
    }
    request["apiVersion"] = json!(API_VERSION);
    request["kind"] = json!(KIND);
    request["metadata"] =
        json!({ "creationTimestamp": rfc3339(context.now), "name": name, "namespace": namespace });
    if !request["spec"].is_object() {
        request["spec"] = json!({});
    }
    let spec = &mut request["spec"];
    if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
        spec["audiences"] = json!([ISSUER]);
    }
    if spec["expirationSeconds"].is_null() {
        spec["expirationSeconds"] = json!(DEFAULT_SECONDS);
    }
    if spec["boundObjectRef"].is_null() {
        spec["boundObjectRef"] = Value::Null;
    }
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or_default();
    let detail = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error =
        field::Error::invalid(&Path::new("spec").child("expirationSeconds"), seconds, detail);
    Err(ApiError::invalid_as(KIND, "authentication.k8s.io", "", &field::Errors::from(vec![error])))
}

/// The object with whose end the token ends.
fn bound(context: &Context<'_>, spec: &Value, account: &Value) -> Result<Option<Bound>, ApiError> {
    let reference = &spec["boundObjectRef"];
    if reference.is_null() {
        return Ok(None);
    }
    let (version, kind) = (text(reference, "/apiVersion"), text(reference, "/kind"));
    let (name, uid) = (text(reference, "/name"), Uid::new(text(reference, "/uid")));
    let Some(bound) = BoundKind::parse(kind).filter(|_| version == "v1") else {
        return Err(ApiError::bad_request(format!(
            "cannot bind token to object of type {version}, Kind={kind}: only pods, secrets and nodes are possible"
        )));
    };
    let Some(row) = registry::find("", "v1", bound.plural()) else {
        return Err(ApiError::no_such_resource());
    };
    let key = ObjectName::new(name).map(|name| row.key(context.path.namespace, name));
    let object = key
        .and_then(|key| context.services.store.get(&key))
        .map(|entry| document::decode(&entry.value))
        .ok_or_else(|| ApiError::not_found(row, name))?;
    if let Some(uid) = uid.filter(|uid| Some(*uid) != document::uid(&object)) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(row, name, &why));
    }
    if bound == BoundKind::Pod {
        let given = text(&object, "/spec/serviceAccountName");
        let runs_as = if given.is_empty() { "default" } else { given };
        let account = document::meta_str(account, "name");
        if runs_as != account {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            )));
        }
    }
    let uid = document::meta_str(&object, "uid").to_owned();
    Ok(Some(Bound { kind: bound, name: name.to_owned(), uid }))
}
