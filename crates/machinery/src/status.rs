//! The `Status` object: what the API answers when it does not answer with an object.
//!
//! Owns the wire form (upstream's field order) and the reasons with their usual HTTP codes. It
//! never decides which failure an event is; the API server does.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{field, text};

pub use crate::cause::Cause;

/// The longest message, in bytes: enough for all errors that [`field::Errors`] keeps. A message may
/// quote from a request of any size.
const MAX_MESSAGE: usize = 512 * 1024;

/// `meta/v1.Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// List metadata; empty but for a `continue` token on an expired list.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Whether the request succeeded.
    pub status: Outcome,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What happened, for programs; left out where upstream has none (plain server errors).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP code; upstream leaves it out of a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// `Success` or `Failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The request did what it asked for.
    Success,
    /// It did not.
    Failure,
}

/// `meta/v1.StatusDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The API group of the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The plural resource name or, on validation failures, the kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One entry per error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to come back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

macro_rules! reasons {
    ($($variant:ident = $code:literal, $doc:literal;)*) => {
        /// `meta/v1.StatusReason`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $(#[doc = $doc] $variant,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// The HTTP code that goes with it.
            pub fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

reasons! {
    Unauthorized = 401, "The caller is not known.";
    Forbidden = 403, "The caller may not do this.";
    NotFound = 404, "There is no such object or path.";
    AlreadyExists = 409, "The name is taken.";
    Conflict = 409, "The object has changed, or a precondition does not hold.";
    Gone = 410, "The item is gone for good.";
    Invalid = 422, "The object breaks a rule.";
    ServerTimeout = 500, "The server could not do it in time; the client may retry.";
    StoreReadError = 500, "Stored data could not be read.";
    Timeout = 504, "The request could not be finished in its time.";
    TooManyRequests = 429, "The server is busy.";
    BadRequest = 400, "The request makes no sense.";
    MethodNotAllowed = 405, "The resource does not have this verb.";
    NotAcceptable = 406, "No accepted media type can be served.";
    RequestEntityTooLarge = 413, "The body is too large.";
    UnsupportedMediaType = 415, "The body is in a format that is not understood.";
    InternalError = 500, "The server failed.";
    Expired = 410, "The asked-for version is no longer held.";
    ServiceUnavailable = 503, "The server cannot serve this now.";
}

// === impl Status ===

impl Status {
    /// A success that names what it was about.
    pub fn success(details: Option<Details>) -> Self {
        Self::new(Outcome::Success, None, None, details, None)
    }

    /// A failure. `reason` is left out for the few plain server errors that upstream sends without
    /// one.
    pub fn failure(
        code: u16,
        reason: impl Into<Option<Reason>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Outcome::Failure, Some(message.into()), reason.into(), None, Some(code))
    }

    /// A failure with the usual code of its reason.
    pub fn of(reason: Reason, message: impl Into<String>) -> Self {
        Self::failure(reason.code(), reason, message)
    }

    /// The same status with details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    /// 400 with a message and nothing else.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::of(Reason::BadRequest, message)
    }

    /// 404 for a named object of a resource (`plural`; `group` is empty for the core group).
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {} not found", qualified(plural, group), crate::go::quote(name));
        Self::of(Reason::NotFound, message).with_details(Details::new(group, plural, name))
    }

    /// 409 for a name that is taken.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let message =
            format!("{} {} already exists", qualified(plural, group), crate::go::quote(name));
        Self::of(Reason::AlreadyExists, message).with_details(Details::new(group, plural, name))
    }

    /// 409 for a write that met another version of the object.
    pub fn conflict(group: &str, plural: &str, name: &str, why: impl fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            qualified(plural, group),
            crate::go::quote(name)
        );
        Self::of(Reason::Conflict, message).with_details(Details::new(group, plural, name))
    }

    /// 403; `name` may be empty.
    pub fn forbidden(group: &str, plural: &str, name: &str, why: impl fmt::Display) -> Self {
        let resource = qualified(plural, group);
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{resource} is forbidden: {why}"),
            (false, false) => format!("{resource} {} is forbidden: {why}", crate::go::quote(name)),
        };
        Self::of(Reason::Forbidden, message).with_details(Details::new(group, plural, name))
    }

    /// 422 for an object that breaks rules: one cause per error. `kind` is the kind, not the
    /// resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &field::Errors) -> Self {
        let subject = format!("{} {} is invalid", qualified(kind, group), crate::go::quote(name));
        let message = if errors.is_empty() { subject } else { format!("{subject}: {errors}") };
        let mut details = Details::new(group, kind, name);
        details.causes = errors.iter().map(field::Error::cause).collect();
        Self::of(Reason::Invalid, message).with_details(details)
    }

    fn new(
        status: Outcome,
        message: Option<String>,
        reason: Option<Reason>,
        details: Option<Details>,
        code: Option<u16>,
    ) -> Self {
        Self {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            metadata: Map::new(),
            status,
            message: message.map(|message| text::shorten(message, MAX_MESSAGE)),
            reason,
            details,
            code,
        }
    }
}

/// `plural.group`, or `plural` alone in the core group.
fn qualified(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

// === impl Details ===

impl Details {
    /// Details that name a resource (or a kind) and an object.
    pub fn new(group: &str, kind: &str, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Self::default()
        }
    }
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_upstream_order_and_empty_ones_are_left_out() {
        let status = Status::not_found("kubeflow.org", "mxjobs", "nope");
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"mxjobs.kubeflow.org \"nope\" not found","reason":"NotFound","details":{"name":"nope","group":"kubeflow.org","kind":"mxjobs"},"code":404}"#
        );
        assert_eq!(
            serde_json::to_string(&Status::success(None)).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#
        );
        assert_eq!(
            serde_json::to_string(&Status::failure(500, None, "x")).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"x","code":500}"#
        );
    }

    #[test]
    fn an_invalid_object_has_one_cause_per_error_and_says_equal_errors_once() {
        let path = field::Path::new("metadata").child("uid");
        let twice = field::Error::invalid(&path, "u", "field is immutable");
        let errors: field::Errors = [twice.clone(), twice].into_iter().collect();
        let status = Status::invalid("kubeflow.org", "MXJob", "a", &errors);
        assert_eq!(
            status.message.as_deref(),
            Some(
                r#"MXJob.kubeflow.org "a" is invalid: metadata.uid: Invalid value: "u": field is immutable"#
            )
        );
        assert_eq!(status.details.unwrap().causes.len(), 2);
    }

    #[test]
    fn a_forbidden_path_a_collection_and_an_object_are_worded_apart() {
        let message =
            |group, plural, name| Status::forbidden(group, plural, name, "no").message.unwrap();
        assert_eq!(message("", "", ""), "forbidden: no");
        assert_eq!(message("", "pods", ""), "pods is forbidden: no");
        assert_eq!(
            message("kubeflow.org", "mxjobs", "a"),
            "mxjobs.kubeflow.org \"a\" is forbidden: no"
        );
    }

    #[test]
    fn a_reason_is_its_own_word() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
