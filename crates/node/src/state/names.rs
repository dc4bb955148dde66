//! Names from the API that become parts of paths, as checked types.
//!
//! The uid of a pod and the names of containers and volumes become names of folders. All functions
//! that build such paths take these types and not strings, so no value with `/`, `..` or NUL can
//! lead from one pod's folder to another's.

use std::{fmt, str::FromStr};

use mxjob_machinery::{names, pod_spec};
use serde::{Deserialize, Serialize};

/// Uids of Kubernetes have 36 characters.
const MAX_UID_LENGTH: usize = 128;

/// Why a value cannot be a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    value: String,
    rule: String,
}

/// The uid of a pod: letters, digits, `-`, `_` and `.`, the first of them a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodUid(String);

/// The name of a container or a volume: a DNS label. All other files in a pod's folder have a dot
/// in their name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsLabel(String);

/// A path below a folder: no item is empty, `.` or `..`. A path without items is the folder itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(Vec<String>);

// === impl NameError ===

impl NameError {
    fn new(what: &'static str, value: &str, rule: impl Into<String>) -> Self {
        Self { what, value: value.to_owned(), rule: rule.into() }
    }
}

// === impl PodUid ===

impl PodUid {
    /// The uid as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PodUid {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.bytes().all(is_inner) && text.len() <= MAX_UID_LENGTH {
            return Ok(Self(text.to_owned()));
        }
        let rule = "must begin with a letter or a digit and consist of at most 128 letters, digits, '-', '_' and '.'";
        Err(NameError::new("pod uid", text, rule))
    }
}

impl TryFrom<String> for PodUid {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PodUid> for String {
    fn from(uid: PodUid) -> Self {
        uid.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// === impl DnsLabel ===

impl DnsLabel {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsLabel {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match names::dns1123_label(text).as_slice() {
            [] => Ok(Self(text.to_owned())),
            rules => Err(NameError::new("name", text, rules.join(", "))),
        }
    }
}

impl fmt::Display for DnsLabel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// === impl RelativePath ===

impl RelativePath {
    /// The items, outermost first.
    #[must_use]
    pub fn items(&self) -> &[String] {
        &self.0
    }

    /// The path of a file below a folder, not of the folder itself.
    pub(crate) fn below(text: &str) -> Result<Self, NameError> {
        let path: Self = text.parse()?;
        if path.0.is_empty() {
            return Err(NameError::new("path", text, "must name a file"));
        }
        Ok(path)
    }

    /// The path of a file directly in a folder.
    pub(crate) fn file(name: &str) -> Result<Self, NameError> {
        let path: Self = name.parse()?;
        match path.0.as_slice() {
            [only] if only == name => Ok(path),
            _ => Err(NameError::new("file name", name, "must be one item of a path")),
        }
    }
}

impl FromStr for RelativePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |rule: &str| NameError::new("path", text, rule);
        pod_spec::descending(text).map_err(error)?;
        if text.contains('\0') {
            return Err(error("must not contain NUL"));
        }
        let items = text.split('/').filter(|item| !matches!(*item, "" | "."));
        Ok(Self(items.map(str::to_owned).collect()))
    }
}

impl TryFrom<String> for RelativePath {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVALID: [&str; 10] =
        ["", ".", "..", "/", "a/b", "../a", "a/..", "a\0", "/etc/passwd", ".volumes"];

    #[test]
    fn uids_and_names_that_lead_to_other_folders_are_invalid() {
        for value in INVALID {
            assert!(value.parse::<PodUid>().is_err(), "{value:?}");
            assert!(value.parse::<DnsLabel>().is_err(), "{value:?}");
        }
        for value in ["uid-a.b_C", "6c1f8a52-6a0e-4c3e-9f6b-0d6f3c1f5a11"] {
            assert_eq!(value.parse::<PodUid>().unwrap().as_str(), value);
        }
        assert!("a".repeat(129).parse::<PodUid>().is_err());
        assert_eq!("mxnet".parse::<DnsLabel>().unwrap().as_str(), "mxnet");
        assert!("etc.hosts".parse::<DnsLabel>().is_err());
        // Records in files are checked as well.
        assert!(serde_json::from_str::<PodUid>("\"../x\"").is_err());
    }

    #[test]
    fn paths_stay_below_their_folder() {
        for path in ["..", "../x", "a/../b", "/etc/passwd", "a\0b"] {
            assert!(path.parse::<RelativePath>().is_err(), "{path:?}");
        }
        for (path, expect) in
            [("a/b", "a/b"), ("./a//b/", "a/b"), ("", ""), (".", ""), ("..a", "..a")]
        {
            assert_eq!(path.parse::<RelativePath>().unwrap().to_string(), expect);
        }
        for path in ["", ".", "./", "./."] {
            assert!(RelativePath::below(path).is_err(), "{path:?}");
        }
        assert_eq!(RelativePath::below("./a//b").unwrap().items(), ["a", "b"]);
        for name in ["a/b", "", ".", "..", "a/", "./a", "/a"] {
            assert!(RelativePath::file(name).is_err(), "{name:?}");
        }
        assert_eq!(RelativePath::file("a.txt").unwrap().items(), ["a.txt"]);
    }

    #[test]
    fn an_error_names_the_value_and_the_rule() {
        let error = "../x".parse::<RelativePath>().unwrap_err();
        assert_eq!(error.to_string(), "\"../x\" is not a valid path: must not contain '..'");
    }
}
