//! Where a field is, as field errors print it.

use std::fmt;

/// A JSON path as field errors print it: `spec.containers[0].env[NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(String);

impl Path {
    /// A path that starts at a field of the object.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// A field below: `path.name`.
    #[must_use]
    pub fn child(&self, name: impl fmt::Display) -> Self {
        if self.0.is_empty() { Self(name.to_string()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// An item of a list below: `path[0]`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// An entry of a map below, where the key is data and not a field name: `path[key]`.
    #[must_use]
    pub fn key(&self, key: impl fmt::Display) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
