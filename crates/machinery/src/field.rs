//! Field errors: what is wrong with which field, in upstream's wording
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

mod path;
mod value;

use std::{fmt, ops::Deref};

use crate::{cause::Cause, go};

pub use path::Path;
pub use value::BadValue;

/// One fault in one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {}", self.body())]
pub struct Error {
    /// What sort of fault.
    pub kind: ErrorKind,
    /// Where.
    pub path: Path,
    /// The value at fault, for the kinds that show it.
    pub value: Option<BadValue>,
    /// What is wrong, or what is wanted.
    pub detail: String,
}

/// The sorts of faults.
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
    /// The value is none of those allowed.
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

/// A list of field errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

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

    /// The value is none of `supported`, which are shown in the order given.
    pub fn not_supported(path: &Path, value: impl Into<BadValue>, supported: &[&str]) -> Self {
        let shown: Vec<String> = supported.iter().map(|word| go::quote(word)).collect();
        let detail = if shown.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", shown.join(", "))
        };
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
        Self { kind, path: path.clone(), value, detail: detail.into() }
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
    /// No errors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    /// `Ok` when there is none.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl Deref for Errors {
    type Target = [Error];

    fn deref(&self) -> &[Error] {
        &self.0
    }
}

impl From<Vec<Error>> for Errors {
    fn from(errors: Vec<Error>) -> Self {
        Self(errors)
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl FromIterator<Error> for Errors {
    fn from_iter<I: IntoIterator<Item = Error>>(errors: I) -> Self {
        Self(errors.into_iter().collect())
    }
}

impl Extend<Error> for Errors {
    fn extend<I: IntoIterator<Item = Error>>(&mut self, errors: I) {
        self.0.extend(errors);
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// As upstream's aggregate: one error plain, several as `[a, b]`, equal ones once.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut messages: Vec<String> = Vec::with_capacity(self.0.len());
        let mut seen = std::collections::HashSet::new();
        for error in &self.0 {
            let message = error.to_string();
            if seen.insert(message.clone()) {
                messages.push(message);
            }
        }
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
}
