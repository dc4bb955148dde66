//! The verb of a request.

use std::fmt;

/// What a request does. [`Verb::parse`] and [`Verb::as_str`] are inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb<'a> {
    /// Reads one object.
    Get,
    /// Reads a collection.
    List,
    /// Follows the changes of a collection.
    Watch,
    /// Creates an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes a part of an object.
    Patch,
    /// Deletes an object.
    Delete,
    /// Deletes the objects of a collection.
    DeleteCollection,
    /// Any other: a special verb such as `bind`, or the method of a non-resource request in lower
    /// case.
    Other(&'a str),
}

// === impl Verb ===

impl<'a> Verb<'a> {
    /// Reads the name that rules and reviews use.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        match name {
            "get" => Self::Get,
            "list" => Self::List,
            "watch" => Self::Watch,
            "create" => Self::Create,
            "update" => Self::Update,
            "patch" => Self::Patch,
            "delete" => Self::Delete,
            "deletecollection" => Self::DeleteCollection,
            other => Self::Other(other),
        }
    }

    /// The name that rules, reviews and messages use.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other(name) => name,
        }
    }

    /// Whether it changes nothing: get, list and watch.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl fmt::Display for Verb<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in "get list watch create update patch delete deletecollection bind".split(' ') {
            let verb = Verb::parse(name);
            assert_eq!(verb.to_string(), name);
            assert_eq!(matches!(verb, Verb::Other(_)), name == "bind");
        }
    }
}
