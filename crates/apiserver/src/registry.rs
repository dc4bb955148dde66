//! The table of served kinds: one row a kind, never a module of handlers a kind.
//!
//! The rows of built-in kinds are made once and are the same for all servers. The [`Registry`] of a
//! server adds the custom resources that are defined on it. A request uses one [`Served`]
//! throughout.

mod served;

use std::sync::{Arc, LazyLock};

use crate::kind::Kind;
use crate::kinds;

pub use served::{Registry, Served};

static BUILT_IN: LazyLock<Vec<Arc<Kind>>> =
    LazyLock::new(|| kinds::all().into_iter().map(Arc::new).collect());

/// All built-in kinds, in discovery's order.
#[must_use]
pub fn built_in() -> &'static [Arc<Kind>] {
    &BUILT_IN
}

/// The built-in kind of a group, a version and a resource.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Arc<Kind>> {
    built_in().iter().find(|kind| kind.is_resource(group, version, plural))
}

/// The stored kind: the kind itself, except where two groups serve the same objects.
#[must_use]
pub fn stored(kind: &Arc<Kind>) -> &Arc<Kind> {
    kind.strategy
        .stored_as()
        .and_then(|(group, version, plural)| find(group, version, plural))
        .unwrap_or(kind)
}
