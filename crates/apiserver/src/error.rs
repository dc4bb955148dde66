//! API errors: made in terms of the API, and converted to a `Status` and an HTTP code only here.

use std::fmt;

use mxjob_machinery::field;
use mxjob_machinery::status::{Cause, Details, Reason, Status};

use crate::kind::Kind;

/// An error response.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: Box<Status>,
    retry_after: Option<u32>,
}

impl ApiError {
    /// The `Status` to send.
    #[must_use]
    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// Seconds for the `Retry-After` header.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    /// A status made elsewhere, such as by a webhook.
    pub(crate) fn of_status(status: Box<Status>) -> Self {
        Self { status, retry_after: None }
    }

    fn new(code: u16, reason: impl Into<Option<Reason>>, message: impl Into<String>) -> Self {
        Self { status: Box::new(Status::failure(code, reason, message)), retry_after: None }
    }

    fn about(mut self, name: &str, group: &str, kind: &str) -> Self {
        let details = self.status.details.get_or_insert_with(Details::default);
        name.clone_into(&mut details.name);
        group.clone_into(&mut details.group);
        kind.clone_into(&mut details.kind);
        self
    }

    fn with_empty_details(mut self) -> Self {
        self.status.details = Some(Details::default());
        self
    }

    /// 400: the request is invalid.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, Reason::BadRequest, message)
    }

    /// 401, as every API server words it.
    #[must_use]
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, Reason::Unauthorized, "Unauthorized")
    }

    /// 403 on a resource (or on a path, with empty details).
    pub(crate) fn forbidden(
        message: impl Into<String>,
        details: Option<(&str, &str, &str)>,
    ) -> Self {
        let error = Self::new(403, Reason::Forbidden, message);
        match details {
            Some((name, group, kind)) => error.about(name, group, kind),
            None => error.with_empty_details(),
        }
    }

    /// 403 for a create in a namespace that is being deleted. Clients look for the cause.
    pub(crate) fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            kind.qualified_resource()
        );
        let mut error = Self::forbidden(message, Some((name, &kind.group, &kind.plural)));
        if let Some(details) = &mut error.status.details {
            details.causes.push(Cause {
                reason: "NamespaceTerminating".to_owned(),
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".to_owned(),
            });
        }
        error
    }

    /// 404 for an object.
    #[must_use]
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(
            404,
            Reason::NotFound,
            format!("{} \"{name}\" not found", kind.qualified_resource()),
        )
        .about(name, &kind.group, &kind.plural)
    }

    /// 404 for another object that the request refers to: name, group and resource.
    pub(crate) fn missing(
        message: impl Into<String>,
        (name, group, resource): (&str, &str, &str),
    ) -> Self {
        Self::new(404, Reason::NotFound, message).about(name, group, resource)
    }

    /// 409 on create.
    #[must_use]
    pub(crate) fn already_exists(kind: &Kind, name: &str, terminating: bool) -> Self {
        let prefix = if terminating { "object is being deleted: " } else { "" };
        let message = format!("{prefix}{} \"{name}\" already exists", kind.qualified_resource());
        Self::new(409, Reason::AlreadyExists, message).about(name, &kind.group, &kind.plural)
    }

    /// 409: the object changed since it was read, or a precondition fails.
    #[must_use]
    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.qualified_resource()
        );
        Self::new(409, Reason::Conflict, message).about(name, &kind.group, &kind.plural)
    }

    /// 409 for a failed precondition of a delete; upstream's message has the kind.
    #[must_use]
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified_kind());
        Self::new(409, Reason::Conflict, message).about(name, &kind.group, &kind.kind)
    }

    /// 409 of server-side apply, with one cause for each conflicting field.
    #[must_use]
    pub(crate) fn apply_conflict(message: impl Into<String>, causes: Vec<Cause>) -> Self {
        let mut error = Self::new(409, Reason::Conflict, message).with_empty_details();
        if let Some(details) = &mut error.status.details {
            details.causes = causes;
        }
        error
    }

    /// 422 on an object.
    #[must_use]
    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &field::Errors) -> Self {
        Self::invalid_as(&kind.kind, &kind.group, name, errors)
    }

    /// The same error with another message, if there is one.
    #[must_use]
    pub(crate) fn with_message(mut self, message: Option<String>) -> Self {
        if message.is_some() {
            self.status.message = message;
        }
        self
    }

    /// 422 about something other than the served kind (options, a body of another kind).
    #[must_use]
    pub(crate) fn invalid_as(kind: &str, group: &str, name: &str, errors: &field::Errors) -> Self {
        Self { status: Box::new(Status::invalid(group, kind, name, errors)), retry_after: None }
    }

    /// 422 without details, as upstream responds when a JSON patch cannot be applied.
    #[must_use]
    pub(crate) fn unprocessable() -> Self {
        Self::new(
            422,
            Reason::Invalid,
            "the server rejected our request due to an error in our request",
        )
        .with_empty_details()
    }

    /// 405.
    #[must_use]
    pub(crate) fn method_not_supported(kind: &Kind, verb: &str) -> Self {
        let message = format!(
            "{verb} is not supported on resources of kind \"{}\"",
            kind.qualified_resource()
        );
        Self::new(405, Reason::MethodNotAllowed, message).about("", &kind.group, &kind.plural)
    }

    /// 405 on a path that is not a resource.
    #[must_use]
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        )
        .with_empty_details()
    }

    /// 404 for a subresource that a built-in kind does not have.
    #[must_use]
    pub(crate) fn no_such_resource() -> Self {
        Self::new(404, Reason::NotFound, "the server could not find the requested resource")
            .with_empty_details()
    }

    /// 406 with the acceptable media types.
    #[must_use]
    pub(crate) fn not_acceptable(types: &[&str]) -> Self {
        let types = types.join(", ");
        Self::new(
            406,
            Reason::NotAcceptable,
            format!("only the following media types are accepted: {types}"),
        )
    }

    /// 410: the requested revision was compacted. Clients look for the reason `Expired`.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Expired, message)
    }

    /// The same error, rewritten for a kind under which the objects of another are served.
    #[must_use]
    pub(crate) fn rewritten_for(mut self, stored: &Kind, shown: &Kind) -> Self {
        let about = |details: &&mut Details| {
            details.group == stored.group
                && (details.kind == stored.plural || details.kind == stored.kind)
        };
        if let Some(details) = self.status.details.as_mut().filter(about) {
            details.group = shown.group.to_string();
        }
        if let Some(message) = &mut self.status.message {
            for (old, new) in [
                (stored.qualified_resource(), shown.qualified_resource()),
                (stored.qualified_kind(), shown.qualified_kind()),
            ] {
                *message = message.replacen(&format!("{old} \""), &format!("{new} \""), 1);
            }
        }
        self
    }

    /// The same error with a continue token in its metadata.
    #[must_use]
    pub(crate) fn continued_by(mut self, token: &str) -> Self {
        self.status.metadata.insert("continue".to_owned(), token.into());
        self
    }

    /// 413.
    pub(crate) fn too_large(message: impl fmt::Display) -> Self {
        Self::new(
            413,
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: {message}"),
        )
    }

    /// 415 with the acceptable media types.
    #[must_use]
    pub(crate) fn unsupported_media_type(types: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            types.join(", ")
        );
        Self::new(415, Reason::UnsupportedMediaType, message)
    }

    /// 429: a bounded queue is full; the client may retry.
    pub(crate) fn too_many_requests(message: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(429, Reason::TooManyRequests, message) }
    }

    /// 429: too many requests are in flight.
    #[must_use]
    pub(crate) fn overloaded() -> Self {
        let mut error = Self::too_many_requests("Too many requests, please try again later.")
            .with_empty_details();
        if let Some(details) = &mut error.status.details {
            details.retry_after_seconds = 1;
        }
        error
    }

    /// 500 with a message and without a reason, as upstream sends errors that are not API errors.
    pub(crate) fn unclassified(message: impl Into<String>) -> Self {
        Self::new(500, None, message)
    }

    /// 500: the server failed.
    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(500, Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// 504: the client was too slow.
    pub(crate) fn timeout(message: &str) -> Self {
        Self::new(504, Reason::Timeout, format!("Timeout: {message}"))
    }

    /// 503: the server is temporarily unavailable.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(503, Reason::ServiceUnavailable, message) }
    }

    /// 504: the requested resource version is in the future.
    #[must_use]
    pub(crate) fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut error = Self { retry_after: Some(1), ..Self::new(504, Reason::Timeout, message) };
        error.status.details = Some(Details {
            causes: vec![Cause {
                reason: "ResourceVersionTooLarge".to_owned(),
                message: "Too large resource version".to_owned(),
                field: String::new(),
            }],
            retry_after_seconds: 1,
            ..Details::default()
        });
        error
    }
}
