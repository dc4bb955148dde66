//! Requests on paths, with JSON: for objects whose type is known only at run time.

use http::{Method, Request, header};
use kube::Client;
use serde_json::Value;

/// The media type of an object.
pub const JSON: &str = "application/json";
/// The media type of a merge patch.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// The media type of a JSON patch.
pub const JSON_PATCH: &str = "application/json-patch+json";

/// Sends a request and returns the object in the response.
///
/// # Errors
/// Those of the client, and statuses of the API server.
pub async fn send(
    client: &Client,
    method: Method,
    path: &str,
    media_type: &str,
    body: Option<&Value>,
) -> kube::Result<Value> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, media_type)
        .body(body.map(mxjob_machinery::object::to_vec).unwrap_or_default())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// The object at a path.
///
/// # Errors
/// As [`send`].
pub async fn get(client: &Client, path: &str) -> kube::Result<Value> {
    send(client, Method::GET, path, JSON, None).await
}

/// The object at a path; `None` if it does not exist.
///
/// # Errors
/// As [`send`], without status 404.
pub async fn get_opt(client: &Client, path: &str) -> kube::Result<Option<Value>> {
    match get(client, path).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if code(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The HTTP status code of an error that the API server reported.
#[must_use]
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
