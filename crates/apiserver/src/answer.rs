//! The results of verbs and how they become HTTP responses.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use mxjob_machinery::{status::Status, yaml};
use mxjob_serve::LongRunning;
use serde_json::Value;

use crate::body::{Body, Shared, full, line};
use crate::compress;
use crate::discovery::Document;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::negotiate::{Encoding, Form, Transform};
use crate::protobuf;
use crate::rendering::{ListMeta, Rendering};
use crate::table;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The result of a verb.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One object.
    Object {
        kind: Arc<Kind>,
        /// Canonical JSON.
        json: Bytes,
        /// 200 or 201.
        code: StatusCode,
    },
    /// A list.
    List {
        /// Kind of the items.
        kind: Arc<Kind>,
        /// Canonical JSON of each.
        items: Vec<Bytes>,
        meta: ListMeta,
    },
    /// A `Status`.
    Status(Box<Status>),
    /// A JSON document that keeps its order of keys (discovery, version).
    Document(Box<Document>),
    /// Text.
    Text {
        code: StatusCode,
        text: String,
        /// Whether to forbid content sniffing, as upstream's mux does on its own pages.
        nosniff: bool,
    },
    /// Metrics in the OpenMetrics text format.
    Metrics { text: String },
    /// No content: 204.
    Nothing,
    /// The client's copy is current: 304.
    NotModified {
        /// `ETag`, quoted.
        etag: String,
    },
    /// A stream: watches and logs.
    Stream { body: Body, content_type: &'static str },
}

impl Answer {
    /// 404 as the outermost mux gives it for unknown paths.
    #[must_use]
    pub(crate) fn page_not_found() -> Self {
        Self::Text {
            code: StatusCode::NOT_FOUND,
            text: "404 page not found\n".to_owned(),
            nosniff: true,
        }
    }

    /// Renders the response.
    ///
    /// # Errors
    /// 406 or 500 if the negotiated transform does not apply.
    pub(crate) fn into_response(self, rendering: &Rendering) -> Result<Response<Body>, ApiError> {
        let form = rendering.form;
        match self {
            Self::Object { kind, json, code } => {
                let value = match form.transform {
                    Transform::None => return render(code, rendering, json),
                    Transform::Table(version) => {
                        let object = crate::document::decode(&json);
                        let meta = ListMeta {
                            resource_version: crate::document::meta_str(&object, "resourceVersion")
                                .to_owned(),
                            ..ListMeta::default()
                        };
                        table::table(&kind, &[json], &meta, version, rendering)
                    }
                    Transform::Partial(version) if form.encoding == Encoding::Protobuf => {
                        return Ok(written(code, rendering, protobuf::partial(&json, version)));
                    }
                    Transform::Partial(version) => table::partial(&json, version),
                    Transform::PartialList(_) => {
                        return Err(ApiError::unclassified("content is not a list"));
                    }
                };
                render(code, rendering, value.into())
            }
            Self::List { kind, items, meta } => {
                let in_protobuf = form.encoding == Encoding::Protobuf;
                let json = match form.transform {
                    Transform::None if in_protobuf => {
                        let list = protobuf::list(&kind, &items, &meta)?;
                        return Ok(written(StatusCode::OK, rendering, list));
                    }
                    Transform::PartialList(version) if in_protobuf => {
                        let list = protobuf::partial_list(&items, &meta, version);
                        return Ok(written(StatusCode::OK, rendering, list));
                    }
                    Transform::None => list(&kind, &items, &meta),
                    Transform::Table(version) => {
                        table::table(&kind, &items, &meta, version, rendering)
                    }
                    Transform::PartialList(version) => table::partial_list(&items, &meta, version),
                    Transform::Partial(_) => {
                        return Err(ApiError::not_acceptable(&[
                            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
                        ]));
                    }
                };
                render(StatusCode::OK, rendering, json.into())
            }
            Self::Status(status) => Ok(status_response(&status, form, None)),
            Self::Document(document) => render_document(&document, rendering),
            Self::Metrics { text } => Ok(response(StatusCode::OK, OPEN_METRICS, full(text))),
            Self::Text { code, text, nosniff } => {
                let mut response = response(code, "text/plain; charset=utf-8", full(text));
                if nosniff {
                    response.headers_mut().insert(
                        header::X_CONTENT_TYPE_OPTIONS,
                        HeaderValue::from_static("nosniff"),
                    );
                }
                Ok(response)
            }
            Self::Nothing => {
                let mut response = Response::new(full(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            Self::NotModified { etag } => {
                let mut response = Response::new(full(Bytes::new()));
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                if let Ok(value) = HeaderValue::from_str(&etag) {
                    response.headers_mut().insert(header::ETAG, value);
                }
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
                Ok(response)
            }
            Self::Stream { body, content_type } => {
                let mut response = response(StatusCode::OK, content_type, body);
                response.extensions_mut().insert(LongRunning);
                Ok(response)
            }
        }
    }
}

/// The response for an error.
#[must_use]
pub(crate) fn error_response(error: &ApiError, form: Form) -> Response<Body> {
    status_response(error.status(), form, error.retry_after())
}

fn status_response(status: &Status, form: Form, retry_after: Option<u32>) -> Response<Body> {
    let code =
        status.code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::OK);
    let json = Bytes::from(serde_json::to_vec(status).unwrap_or_default());
    let body = match rewrite(form, &json) {
        Ok(None) => line(json),
        // Every form has a `Status`.
        rewritten => full(rewritten.ok().flatten().unwrap_or_default()),
    };
    let mut response = response(code, form.content_type(), body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A response with JSON in the negotiated form.
fn render(
    code: StatusCode,
    rendering: &Rendering,
    json: Bytes,
) -> Result<Response<Body>, ApiError> {
    let form = rendering.form;
    if let Some(content) = rewrite(form, &json)? {
        return Ok(written(code, rendering, content));
    }
    if packs(rendering, json.len() + 1) {
        return Ok(packed(code, form, compress::pack(&[&json, b"\n"])));
    }
    Ok(response(code, form.content_type(), line(json)))
}

/// A response with content in the negotiated form.
fn written(code: StatusCode, rendering: &Rendering, content: Vec<u8>) -> Response<Body> {
    let form = rendering.form;
    if packs(rendering, content.len()) {
        return packed(code, form, compress::pack(&[&content]));
    }
    response(code, form.content_type(), full(content))
}

/// The same as [`render`] for a document, whose compressed form is made once.
fn render_document(document: &Document, rendering: &Rendering) -> Result<Response<Body>, ApiError> {
    let form = rendering.form;
    let mut response = if form.encoding != Encoding::Json || form.pretty {
        render(StatusCode::OK, rendering, document.json.clone())?
    } else {
        let mut response = if packs(rendering, document.json.len() + 1) {
            packed(StatusCode::OK, form, document.packed())
        } else {
            response(StatusCode::OK, form.content_type(), line(document.json.clone()))
        };
        response.extensions_mut().insert(Shared);
        response
    };
    let header = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
    let headers = response.headers_mut();
    if let Some(value) = header(&document.content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    if let Some(value) = header(&document.etag) {
        headers.insert(header::ETAG, value);
        headers.append(header::VARY, HeaderValue::from_static("Accept"));
    }
    Ok(response)
}

/// Whether a response of this size is compressed: it is large, and the client accepts gzip.
fn packs(rendering: &Rendering, bytes: usize) -> bool {
    rendering.gzip && bytes >= compress::THRESHOLD
}

fn packed(code: StatusCode, form: Form, content: Bytes) -> Response<Body> {
    let mut response = response(code, form.content_type(), full(content));
    compress::mark(&mut response);
    response
}

/// JSON in a negotiated form other than compact JSON, which gets a line break only.
fn rewrite(form: Form, json: &[u8]) -> Result<Option<Vec<u8>>, ApiError> {
    Ok(match form.encoding {
        Encoding::Yaml => {
            let value: Value = serde_json::from_slice(json).unwrap_or_default();
            Some(yaml::encode(&value).into_bytes())
        }
        Encoding::Protobuf => Some(protobuf::object(json)?),
        Encoding::Json => form.pretty.then(|| indent(json)),
    })
}

fn response(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Assembles a list from the bytes of its items without parsing them.
fn list(kind: &Kind, items: &[Bytes], meta: &ListMeta) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + items.iter().map(|item| item.len() + 1).sum::<usize>());
    out.extend_from_slice(
        format!("{{\"apiVersion\":\"{}\",\"items\":[", kind.api_version()).as_bytes(),
    );
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.extend_from_slice(format!("],\"kind\":\"{}\",\"metadata\":", kind.list_kind()).as_bytes());
    out.extend_from_slice(&meta.to_json(kind.conventions.always_continue));
    out.push(b'}');
    out
}

/// Indents JSON by two spaces and keeps the order of its keys.
fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut bytes = json.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => {
                in_string = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                if matches!(bytes.peek(), Some(b'}' | b']')) {
                    out.extend(bytes.next());
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            other => out.push(other),
        }
    }
    out
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indent_keeps_key_order_strings_and_empty_containers() {
        let pretty = indent(br#"{"b":[],"a":{"x":"{\"q\":1,\\"},"n":[1,2],"e":{}}"#);
        let text = String::from_utf8(pretty).expect("UTF-8");
        assert_eq!(
            text,
            "{\n  \"b\": [],\n  \"a\": {\n    \"x\": \"{\\\"q\\\":1,\\\\\"\n  },\n  \"n\": [\n    1,\n    2\n  ],\n  \"e\": {}\n}"
        );
    }
}
