//! Texts that identify objects, each with a type of its own so that they cannot be confused.
//!
//! They borrow their text from a path or an object. None of them is ever empty: what is absent in a
//! path or in JSON is `None`. They are not validated further, because a look-up by an invalid name
//! finds nothing. What becomes part of a path on disk has stricter types in `node`.

use std::fmt;

macro_rules! identifier {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            /// The text as an identifier; `None` if it is empty.
            #[must_use]
            pub fn new(text: &'a str) -> Option<Self> {
                (!text.is_empty()).then_some(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(self) -> &'a str {
                self.0
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.0)
            }
        }
    };
}

identifier! {
    /// The name of a namespace.
    Namespace
}
identifier! {
    /// The name of an object, unique among the objects of its kind in its namespace.
    ObjectName
}

/// A namespace is an object, too.
impl<'a> From<Namespace<'a>> for ObjectName<'a> {
    fn from(namespace: Namespace<'a>) -> Self {
        Self(namespace.0)
    }
}

identifier! {
    /// The uid of an object, unique among all objects that have ever existed.
    Uid
}
