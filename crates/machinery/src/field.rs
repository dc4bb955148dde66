//! Field errors: what is wrong with which field, in upstream's wording
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

mod path;
mod paths;
mod value;

use std::fmt;
use std::ops::Deref;

use crate::cause::Cause;
use crate::{go, text};

pub use path::Path;
pub use paths::Paths;
pub use value::BadValue;

/// The longest part of an error, in bytes: the value that it quotes, and the detail.
const MAX_PART: usize = 4 * 1024;
/// The most bytes that the errors of one object may take in a message.
const MAX_TEXT: usize = 384 * 1024;

/// One error in one field. Value, detail and path are cut at a few KiB.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {}", self.body())]
pub struct Error {
    /// The kind of error.
    pub kind: ErrorKind,
    /// The path of the field.
    pub path: Path,
    /// The wrong value, for the kinds that show it.
    pub value: Option<BadValue>,
    /// What is wrong, or what is expected.
    pub detail: String,
}

/// The kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What the value refers to does not exist.
    NotFound,
    /// A value is needed.
    Required,
    /// The value occurs twice.
    Duplicate,
    /// The value breaks a rule.
    Invalid,
    /// The value is not one of those allowed.
    NotSupported,
    /// The field may not be set, or not changed.
    Forbidden,
    /// The value has too many bytes.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value has the wrong JSON type.
    TypeInvalid,
}

/// The errors of one object: the first [`Errors::MAX`] of them, and how many more there were.
///
/// The bound holds for all validation, since all validation reports into this type: a large request
/// in which everything is wrong would otherwise be answered with many times its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    kept: Vec<Error>,
    /// The size of `kept` in a message.
    bytes: usize,
    dropped: usize,
}

// === impl Error ===

impl Error {
    /// What the value refers to does not exist.
    pub fn not_found(path: &Path, value: impl Into<BadValue>) -> Self {
        Self::new(ErrorKind::NotFound, path, Some(value.into()), "")
    }

    /// A value is needed; `detail` may be empty.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, path, None, detail)
    }

    /// The value occurs twice.
    pub fn duplicate(path: &Path, value: impl Into<BadValue>) -> Self {
        Self::new(ErrorKind::Duplicate, path, Some(value.into()), "")
    }

    /// The value breaks a rule.
    pub fn invalid(path: &Path, value: impl Into<BadValue>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, path, Some(value.into()), detail)
    }

    /// The value is not one of `supported`, which are shown in the order given.
    pub fn not_supported(path: &Path, value: impl Into<BadValue>, supported: &[&str]) -> Self {
        let mut detail = String::new();
        for word in supported {
            detail.push_str(if detail.is_empty() { "supported values: " } else { ", " });
            detail = text::append(detail, go::quote(word), MAX_PART);
            if detail.len() >= MAX_PART {
                break;
            }
        }
        Self::new(ErrorKind::NotSupported, path, Some(value.into()), detail)
    }

    /// The field may not be set, or not be changed.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, path, None, detail)
    }

    /// The value has more than `limit` bytes.
    pub fn too_long(path: &Path, limit: usize) -> Self {
        Self::new(ErrorKind::TooLong, path, None, format!("may not be more than {limit} bytes"))
    }

    /// The list has `count` items where `limit` are allowed.
    pub fn too_many(path: &Path, count: usize, limit: usize) -> Self {
        let detail = format!("must have at most {limit} items");
        Self::new(ErrorKind::TooMany, path, Some(count.into()), detail)
    }

    /// The value has the wrong JSON type.
    pub fn type_invalid(
        path: &Path,
        value: impl Into<BadValue>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::TypeInvalid, path, Some(value.into()), detail)
    }

    /// The error without its path, as a cause carries it.
    pub fn body(&self) -> String {
        let mut body = self.kind.label().to_owned();
        if let Some(value) = &self.value {
            body.push_str(&format!(": {value}"));
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }

    /// The error as one cause of a [`crate::status::Status`].
    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.kind.reason().to_owned(),
            message: self.body(),
            field: self.path.to_string(),
        }
    }

    fn new(
        kind: ErrorKind,
        path: &Path,
        value: Option<BadValue>,
        detail: impl Into<String>,
    ) -> Self {
        let detail = text::shorten(detail.into(), MAX_PART);
        Self { kind, path: path.clone(), value, detail }
    }

    /// How many bytes the error may take in a JSON string.
    fn encoded_len(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |value| text::encoded_len(value.as_str()));
        text::encoded_len(self.path.as_str()) + value + text::encoded_len(&self.detail)
    }
}

// === impl ErrorKind ===

impl ErrorKind {
    fn label(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }

    /// The `reason` of the cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

// === impl Errors ===

impl Errors {
    /// The most errors that are kept.
    pub const MAX: usize = 1_000;

    /// No errors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error, or only counts it where there are enough.
    pub fn push(&mut self, error: Error) {
        self.push_with(|| error);
    }

    /// The same for an error that is only made if it is kept.
    pub fn push_with(&mut self, error: impl FnOnce() -> Error) {
        if self.is_full() {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let error = error();
        self.bytes = self.bytes.saturating_add(error.encoded_len());
        self.kept.push(error);
    }

    /// Adds the errors of a part of the object.
    pub fn append(&mut self, other: Self) {
        self.extend(other.kept);
        self.dropped = self.dropped.saturating_add(other.dropped);
    }

    /// Whether further errors are only counted. Validation that is expensive may stop then.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= Self::MAX || self.bytes >= MAX_TEXT
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.dropped == 0
    }

    /// How many errors there were beyond those that are kept. More, where validation stopped early.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Keeps the errors for which `keep` is true, and the count of those that were dropped.
    pub fn retain(&mut self, keep: impl FnMut(&Error) -> bool) {
        self.kept.retain(keep);
        self.bytes = self.kept.iter().map(Error::encoded_len).sum();
    }

    /// The errors that `known` does not have.
    #[must_use]
    pub fn without(mut self, known: &Self) -> Self {
        self.retain(|error| !known.kept.contains(error));
        self.dropped = self.dropped.saturating_sub(known.dropped);
        self
    }

    /// The end of a list of these errors in a message: how many more there are.
    pub fn rest(&self) -> Option<String> {
        match self.dropped {
            0 => None,
            1 => Some("and at least 1 more error".to_owned()),
            more => Some(format!("and at least {more} more errors")),
        }
    }
}

impl Deref for Errors {
    type Target = [Error];

    fn deref(&self) -> &[Error] {
        &self.kept
    }
}

impl From<Vec<Error>> for Errors {
    fn from(errors: Vec<Error>) -> Self {
        errors.into_iter().collect()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        [error].into_iter().collect()
    }
}

impl FromIterator<Error> for Errors {
    fn from_iter<I: IntoIterator<Item = Error>>(errors: I) -> Self {
        let mut all = Self::new();
        all.extend(errors);
        all
    }
}

impl FromIterator<Self> for Errors {
    fn from_iter<I: IntoIterator<Item = Self>>(parts: I) -> Self {
        let mut all = Self::new();
        parts.into_iter().for_each(|part| all.append(part));
        all
    }
}

impl Extend<Error> for Errors {
    fn extend<I: IntoIterator<Item = Error>>(&mut self, errors: I) {
        errors.into_iter().for_each(|error| self.push(error));
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.iter()
    }
}

/// As upstream's aggregate: one error plain, several as `[a, b]`, equal ones once. Errors that are
/// not kept are counted at the end.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut messages: Vec<String> = Vec::with_capacity(self.kept.len());
        let mut seen = std::collections::HashSet::new();
        for error in &self.kept {
            let message = error.to_string();
            if seen.insert(message.clone()) {
                messages.push(message);
            }
        }
        messages.extend(self.rest());
        match messages.as_slice() {
            [only] => f.write_str(only),
            several => write!(f, "[{}]", several.join(", ")),
        }
    }
}

impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_read_as_upstream_writes_them() {
        let path = Path::new("spec").child("list").index(0).key("k").child("f");
        let cases = [
            (
                Error::required(&path, "name or generateName is required"),
                "Required value: name or generateName is required",
            ),
            (Error::required(&path, ""), "Required value"),
            (Error::invalid(&path, "x\"y", "bad"), "Invalid value: \"x\\\"y\": bad"),
            (
                Error::invalid(&path, BadValue::bare("0x0"), "must be"),
                "Invalid value: 0x0: must be",
            ),
            (Error::invalid(&path, &json!(null), "bad"), "Invalid value: \"null\": bad"),
            (Error::invalid(&path, &json!(-1), "bad"), "Invalid value: -1: bad"),
            (
                Error::not_supported(&path, "B", &["F", "nil"]),
                "Unsupported value: \"B\": supported values: \"F\", \"nil\"",
            ),
            (Error::forbidden(&path, "no"), "Forbidden: no"),
            (Error::too_long(&path, 128), "Too long: may not be more than 128 bytes"),
            (Error::too_many(&path, 5, 3), "Too many: 5: must have at most 3 items"),
            (Error::duplicate(&path, "a"), "Duplicate value: \"a\""),
            (Error::not_found(&path, "a"), "Not found: \"a\""),
            (Error::type_invalid(&path, "string", "in body"), "Invalid value: \"string\": in body"),
        ];
        for (error, body) in cases {
            assert_eq!(error.body(), body);
            assert_eq!(error.to_string(), format!("spec.list[0][k].f: {body}"));
        }
    }

    #[test]
    fn several_errors_are_bracketed_and_one_is_not() {
        let error = |name: &str| Error::required(&Path::new(name), "");
        let mut errors = Errors::from(error("a"));
        assert_eq!(errors.to_string(), "a: Required value");
        errors.push(error("b"));
        errors.push(error("a"));
        assert_eq!(errors.to_string(), "[a: Required value, b: Required value]");
        assert_eq!(errors.iter().map(Error::cause).count(), 3);
    }

    #[test]
    fn a_thousand_errors_are_kept_and_the_rest_is_counted() {
        let error = |index| Error::required(&Path::new("list").index(index), "");
        let mut errors: Errors = (0..1_500).map(error).collect();
        assert_eq!((errors.len(), errors.dropped()), (Errors::MAX, 500));
        assert!(errors.is_full());
        errors.append((0..1_001).map(error).collect());
        assert_eq!((errors.len(), errors.dropped()), (Errors::MAX, 1_501));
        assert!(
            errors
                .to_string()
                .ends_with("list[999]: Required value, and at least 1501 more errors]")
        );
        let known: Errors = (0..1_500).map(error).collect();
        let new = errors.without(&known);
        assert_eq!((new.len(), new.dropped(), new.is_empty()), (0, 1_001, false));
        assert!(known.clone().without(&known).is_empty());
    }

    #[test]
    fn an_error_that_is_not_kept_is_not_made() {
        let mut errors: Errors =
            (0..Errors::MAX).map(|_| Error::required(&Path::default(), "")).collect();
        errors.push_with(|| panic!("made"));
        assert_eq!(errors.dropped(), 1);
    }

    #[test]
    fn giant_values_details_and_keys_are_cut() {
        let giant = "\u{1}\"".repeat(1_000_000);
        let list = json!([[&giant], &giant]);
        let path = Path::new(giant.as_str()).child(&giant).index(1).key(&giant);
        assert!(path.as_str().len() < 3_000);
        let words = [giant.as_str(), giant.as_str()];
        for error in [
            Error::invalid(&path, &list, giant.as_str()),
            Error::invalid(&path, giant.as_str(), giant.as_str()),
            Error::not_supported(&path, BadValue::bare(&giant), &words),
        ] {
            assert!(error.body().len() < 30_000, "{}", error.body().len());
            let errors: Errors = std::iter::repeat_n(error, 5_000).collect();
            assert_eq!(errors.len() + errors.dropped(), 5_000);
            let status = crate::status::Status::invalid("", "Pod", "a", &errors);
            let bytes = serde_json::to_vec(&status).unwrap().len();
            assert!(bytes < 1_100_000, "{bytes}");
        }
    }
}
