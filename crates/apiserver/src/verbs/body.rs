//! Request bodies: decoding, and the checks that come before any rule of a kind.

use mxjob_machinery::{field, json, yaml};
use serde_json::Value;

use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::negotiate::OBJECT_TYPES;
use crate::options::FieldValidation;
use crate::request::{media_type, summary};
use crate::schemas;

/// The media types that bodies with objects of a kind may have. A body in protobuf has been
/// converted already if the kind has that form.
fn accepted(kind: &Kind) -> &'static [&'static str] {
    if kind.is_typed() { OBJECT_TYPES } else { &["application/json", "application/yaml"] }
}

/// Decodes an object and checks its `apiVersion` and `kind`. `validation` is for duplicate fields.
pub(crate) fn object(
    context: &mut Context<'_>,
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let kind = context.kind;
    let unrecognized = |why: String| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why} ({})",
            kind.kind,
            summary(&context.body)
        ))
    };
    let (value, duplicates) = match media_type(context.headers, "application/json") {
        "application/json" => json::decode_reporting_duplicates(&context.body)
            .map(|(value, paths)| {
                let errors = paths.into_iter().map(|path| format!("duplicate field \"{path}\""));
                (value, errors.collect())
            })
            .map_err(|error| {
                unrecognized(format!("couldn't get version/kind; json parse error: {error}"))
            })?,
        "application/yaml" => {
            yaml::decode_reporting_duplicates(&context.body).map_err(|error| {
                unrecognized(format!("couldn't get version/kind; yaml parse error: {error}"))
            })?
        }
        _ => return Err(ApiError::unsupported_media_type(accepted(kind))),
    };
    let value = identify(value, kind, &unrecognized)?;
    report_fields(context, duplicates, validation)?;
    if let Some(problem) = schemas::decode_problem(kind, &value) {
        let (kind, version) = (&kind.kind, &kind.version);
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {problem}"
        )));
    }
    Ok(value)
}

/// Checks `kind` and `apiVersion`. Built-in kinds may leave both out, custom resources may not.
fn identify(
    mut value: Value,
    kind: &Kind,
    unrecognized: &dyn Fn(String) -> ApiError,
) -> Result<Value, ApiError> {
    let expected = kind.api_version();
    let shown = || String::from_utf8_lossy(&document::to_vec(&value)).into_owned();
    let Some(map) = value.as_object() else {
        let what = json::kind(&value);
        return Err(unrecognized(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        )));
    };
    let given = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    let (given_kind, given_version) = (given("kind"), given("apiVersion"));
    if kind.conventions.requires_type_meta {
        if given_kind.is_empty() {
            return Err(unrecognized(format!("Object 'Kind' is missing in '{}'", shown())));
        }
        if given_version != expected {
            return Err(version_mismatch(given_version, &expected));
        }
    } else {
        if !given_version.is_empty() && given_version != expected {
            return Err(version_mismatch(given_version, &expected));
        }
        if !given_kind.is_empty() && given_kind != kind.kind {
            return Err(ApiError::bad_request(format!(
                "{given_kind} in version \"{}\" cannot be handled as a {}: converting ({expected}, Kind={given_kind}) to ({expected}, Kind={}): unknown conversion",
                kind.version, kind.kind, kind.kind
            )));
        }
        if let Some(map) = value.as_object_mut() {
            map.insert("kind".to_owned(), kind.kind.as_ref().into());
            map.insert("apiVersion".to_owned(), expected.into());
        }
    }
    Ok(value)
}

fn version_mismatch(given: &str, expected: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the API version in the data ({given}) does not match the expected API version ({expected})"
    ))
}

/// Rejects custom resources of another kind, with a validation error and not a decoding error.
pub(crate) fn check_kind(context: &Context<'_>, object: &Value) -> Result<(), ApiError> {
    let given = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    if given == context.kind.kind {
        return Ok(());
    }
    let detail = format!("must be {}", context.kind.kind);
    let errors =
        field::Errors::from(vec![field::Error::invalid(&field::Path::new("kind"), given, detail)]);
    let name = document::meta_str(object, "name");
    Err(ApiError::invalid_as(given, &context.kind.group, name, &errors))
}

/// Maximum size of a stored object as JSON with managed fields, in bytes: the limit for bodies.
const OBJECT_MAX: usize = 3 * 1024 * 1024;

/// Checks that an object can be stored and read again: patches and managed fields can make it grow.
pub(crate) fn check_bounds(object: &Value) -> Result<(), ApiError> {
    if !json::is_shallow(object) {
        return Err(ApiError::bad_request(format!(
            "the object is nested more than {} levels deep",
            json::MAX_DEPTH
        )));
    }
    if json::encoded_len(object) > OBJECT_MAX {
        return Err(ApiError::too_large(format_args!("limit is {OBJECT_MAX}")));
    }
    Ok(())
}

/// Checks and removes unknown fields, and brings nulls and metadata into their stored form.
pub(crate) fn normalize_fields(
    context: &mut Context<'_>,
    object: &mut Value,
    validation: FieldValidation,
) -> Result<(), ApiError> {
    let errors = unknown_fields(context, object);
    report_fields(context, errors, validation)?;
    schemas::normalize(context.kind, object);
    Ok(())
}

/// The same for a patched object, with the errors of patches. `errors` are those of the patch
/// itself.
pub(crate) fn normalize_patched(
    context: &mut Context<'_>,
    object: &mut Value,
    validation: FieldValidation,
    errors: &[String],
) -> Result<(), ApiError> {
    if let Some(problem) = patched_problem(context.kind, object) {
        return Err(invalid_patch(object, &problem));
    }
    let errors: Vec<String> =
        errors.iter().cloned().chain(unknown_fields(context, object)).collect();
    if validation == FieldValidation::Strict && !errors.is_empty() {
        return Err(invalid_patch(object, &strict_problem(&errors)));
    }
    report_fields(context, errors, validation)?;
    schemas::normalize(context.kind, object);
    Ok(())
}

/// Why a patched object is no longer one of its kind.
fn patched_problem(kind: &Kind, object: &Value) -> Option<String> {
    let given = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, name) = (given("apiVersion"), given("kind"));
    if name.is_empty() {
        return Some(format!("Object 'Kind' is missing in '{object}'"));
    }
    if version != kind.api_version() || name != kind.kind {
        return Some(format!(
            "no kind \"{name}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:100\""
        ));
    }
    schemas::decode_problem(kind, object)
}

fn invalid_patch(object: &Value, problem: &str) -> ApiError {
    let error = field::Error::invalid(&field::Path::new("patch"), object.to_string(), problem);
    ApiError::invalid_as("", "", "", &field::Errors::from(vec![error]))
}

/// An error for each field that the kind does not have.
fn unknown_fields(context: &Context<'_>, object: &Value) -> Vec<String> {
    let unknown = schemas::unknown_fields(context.kind, object).into_iter();
    unknown.map(|path| format!("unknown field \"{path}\"")).collect()
}

fn strict_problem(errors: &[String]) -> String {
    format!("strict decoding error: {}", errors.join(", "))
}

/// Strict: 400; Warn: a `Warning` header each; Ignore: silence (CONTRACT section 3).
fn report_fields(
    context: &mut Context<'_>,
    errors: Vec<String>,
    validation: FieldValidation,
) -> Result<(), ApiError> {
    match validation {
        FieldValidation::Strict if !errors.is_empty() => {
            let (kind, version) = (&context.kind.kind, &context.kind.version);
            let problem = strict_problem(&errors);
            Err(ApiError::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: {problem}"
            )))
        }
        FieldValidation::Warn => {
            // A write that is tried again reports each warning once.
            let known = context.warnings.len();
            for error in errors {
                if !context.warnings.iter().take(known).any(|warning| *warning == error) {
                    context.warnings.push(error);
                }
            }
            Ok(())
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(()),
    }
}

/// The name in a body must be the name in the path.
pub(crate) fn check_name(context: &Context<'_>, object: &Value) -> Result<(), ApiError> {
    let (path, body) = (context.name(), document::meta_str(object, "name"));
    if body.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({path} based on URL) was undeterminable: name must be provided"
        )));
    }
    if body != path {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({body}) does not match the name on the URL ({path})"
        )));
    }
    Ok(())
}

/// Gives an object the namespace of the path. One in the body must be the same; an object without a
/// namespace loses it.
pub(crate) fn settle_namespace(context: &Context<'_>, object: &mut Value) -> Result<(), ApiError> {
    check_namespace(context, object)?;
    if context.kind.namespaced {
        document::set_namespace(object, context.path.namespace);
    } else {
        document::metadata_mut(object).remove("namespace");
    }
    Ok(())
}

/// The namespace in a body, where there is one, must be the namespace in the path.
pub(crate) fn check_namespace(context: &Context<'_>, object: &Value) -> Result<(), ApiError> {
    let body = document::namespace(object);
    if context.kind.namespaced && body.is_some() && body != context.path.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}
