//! Rows of built-in groups other than core.

use std::sync::Arc;

use super::{definition, lease, priority};
use crate::kind::Kind;

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        definition::kind(),
        Kind {
            short_names: vec!["pc".into()],
            namespaced: false,
            columns: priority::COLUMNS.to_vec(),
            strategy: Arc::new(priority::PriorityClass),
            ..Kind::new("scheduling.k8s.io", "PriorityClass", "priorityclasses", "priorityclass")
        },
        lease::kind(),
    ]
}
