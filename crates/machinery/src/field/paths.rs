//! Paths of fields that a kind does not have, or that an object has twice.

use super::Path;

/// Paths of fields, as many as a message lists: the first [`Paths::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<String>);

// === impl Paths ===

impl Paths {
    /// The most paths that are kept, which is the limit of Go's strict decoder.
    pub const MAX: usize = 100;

    /// Adds a path, which is only made if it is kept.
    pub fn push_with(&mut self, path: impl FnOnce() -> Path) {
        if !self.is_full() {
            self.0.push(path().to_string());
        }
    }

    /// Whether no more are kept, so that a search may stop.
    pub fn is_full(&self) -> bool {
        self.0.len() >= Self::MAX
    }

    /// Whether no path was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths in the order in which they were added.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_paths_are_kept() {
        let mut paths = Paths::default();
        for index in 0..Paths::MAX {
            paths.push_with(|| Path::new("a").index(index));
        }
        assert!(paths.is_full());
        paths.push_with(|| panic!("made"));
        assert_eq!(paths.into_vec().len(), Paths::MAX);
    }
}
