//! Rows of built-in groups other than core.

use std::sync::Arc;

use mxjob_machinery::json::text;

use super::{definition, priority};
use crate::kind::{AGE, NAME, computed};
use crate::kind::{Column, Kind};

const LEASE_COLUMNS: &[Column] =
    &[NAME, computed("Holder", 0, |object, _| text(object, "/spec/holderIdentity").into()), AGE];

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
        Kind {
            columns: LEASE_COLUMNS.to_vec(),
            create_on_update: true,
            unconditional_update: false,
            ..Kind::new("coordination.k8s.io", "Lease", "leases", "lease")
        },
    ]
}
