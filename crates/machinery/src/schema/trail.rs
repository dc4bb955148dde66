//! The place of a walk in a document, without its path as text.
//!
//! Every request walks its whole object several times and rarely finds an error, so the path is
//! built only for an error.

use crate::field::Path;

/// The path of a member. A key with dots or slashes in it (a label, a resource) is put in brackets.
pub fn member(path: &Path, key: &str) -> Path {
    // The rest of a longer key is cut.
    const READ: usize = 4 * 1024;
    let is_plain = key
        .bytes()
        .take(READ)
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_plain && !key.is_empty() { path.child(key) } else { path.key(key) }
}

/// A place in a document, linked to the places above it.
#[derive(Clone, Copy, Debug)]
pub enum Trail<'a> {
    /// Where the walk began.
    Start(&'a Path),
    /// A member of an object.
    Member(&'a Self, &'a str),
    /// An item of a list.
    Item(&'a Self, usize),
    /// A field, whatever its name looks like.
    Child(&'a Self, &'a str),
    /// An entry of a map, whose key is data.
    Key(&'a Self, &'a str),
}

impl<'a> Trail<'a> {
    /// A member below.
    pub fn member(&'a self, name: &'a str) -> Self {
        Self::Member(self, name)
    }

    /// An item below.
    pub fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// A field below, whatever its name looks like.
    pub fn child(&'a self, name: &'a str) -> Self {
        Self::Child(self, name)
    }

    /// An entry of a map below.
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// The path, written down.
    pub fn path(&self) -> Path {
        match self {
            Self::Start(path) => (*path).clone(),
            Self::Member(above, name) => member(&above.path(), name),
            Self::Item(above, index) => above.path().index(*index),
            Self::Child(above, name) => above.path().child(name),
            Self::Key(above, key) => above.path().key(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_would_look_like_a_path_is_bracketed() {
        let path = Path::new("limits");
        for (key, expected) in [
            ("cpu", "limits.cpu"),
            ("nvidia.com/gpu", "limits[nvidia.com/gpu]"),
            ("", "limits[]"),
            ("a b", "limits[a b]"),
        ] {
            assert_eq!(member(&path, key).as_str(), expected);
        }
    }
}
