//! Where a field is, as field errors print it.

use std::fmt;

use crate::text;

/// The longest path, in bytes. Keys of maps are data, so a path could be as long as a request.
const MAX_BYTES: usize = 2 * 1024;

/// A JSON path as field errors print it: `spec.containers[0].env[NAME]`. It is cut at 2 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(String);

impl Path {
    /// A path that starts at a field of the object.
    pub fn new(name: impl Into<String>) -> Self {
        Self(text::shorten(name.into(), MAX_BYTES))
    }

    /// A field below: `path.name`.
    #[must_use]
    pub fn child(&self, name: impl fmt::Display) -> Self {
        if self.0.is_empty() { self.with(name) } else { self.with(format_args!(".{name}")) }
    }

    /// An item of a list below: `path[0]`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(format_args!("[{index}]"))
    }

    /// An entry of a map below, where the key is data and not a field name: `path[key]`.
    #[must_use]
    pub fn key(&self, key: impl fmt::Display) -> Self {
        self.with(format_args!("[{key}]"))
    }

    fn with(&self, step: impl fmt::Display) -> Self {
        Self(text::append(self.0.clone(), step, MAX_BYTES))
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
