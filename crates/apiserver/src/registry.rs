//! The table of served kinds: one row a kind, never a module of handlers a kind.
//!
//! The rows of built-in kinds are static and the same for all servers. The [`Registry`] of a server
//! adds the custom resources that are defined on it. A request uses one [`Served`] throughout.

mod served;

use std::sync::LazyLock;

use crate::kind::Kind;
use crate::kinds;

pub use served::{Registry, Served};

static BUILT_IN: LazyLock<Vec<Kind>> = LazyLock::new(kinds::all);

/// All built-in kinds, in discovery's order.
#[must_use]
pub fn built_in() -> &'static [Kind] {
    &BUILT_IN
}

/// The built-in kind of a group, a version and a resource.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    built_in().iter().find(|kind| kind.is_resource(group, version, plural))
}

/// The stored kind: the kind itself, except where two groups serve the same objects.
#[must_use]
pub fn stored(kind: &'static Kind) -> &'static Kind {
    kind.strategy
        .stored_as()
        .and_then(|(group, version, plural)| find(group, version, plural))
        .unwrap_or(kind)
}
