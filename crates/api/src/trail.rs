//! Where a walk stands in a document, without writing the path down.
//!
//! Every request walks its whole object several times and hardly ever finds a fault, so the path is built only for one.

use crate::value::member;
use mxjob_machinery::field::Path;

/// A place in a document, linked to the places above it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trail<'a> {
    /// Where the walk began.
    Start(&'a Path),
    /// A member of an object.
    Member(&'a Self, &'a str),
    /// An item of a list.
    Item(&'a Self, usize),
}

impl<'a> Trail<'a> {
    /// A member below.
    pub(crate) fn member(&'a self, name: &'a str) -> Self {
        Self::Member(self, name)
    }

    /// An item below.
    pub(crate) fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// The path, written down.
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Start(path) => (*path).clone(),
            Self::Member(above, name) => member(&above.path(), name),
            Self::Item(above, index) => above.path().index(*index),
        }
    }
}
