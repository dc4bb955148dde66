//! Rows of the built-in groups besides core.

use super::{definition, priority};
use crate::kind::{AGE, BUILT_IN, NAME, computed};
use crate::kind::{Column, Kind};
use crate::strategy::Plain;
use mxjob_machinery::json::text;

const LEASE_COLUMNS: &[Column] =
    &[NAME, computed("Holder", 0, |object, _| text(object, "/spec/holderIdentity").into()), AGE];

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        definition::kind(),
        Kind {
            group: "scheduling.k8s.io",
            version: "v1",
            kind: "PriorityClass",
            plural: "priorityclasses",
            singular: "priorityclass",
            short_names: &["pc"],
            categories: &[],
            namespaced: false,
            verbs: BUILT_IN,
            subresources: &[],
            columns: priority::COLUMNS,
            custom: false,
            create_on_update: false,
            unconditional_update: true,
            strategy: &priority::PriorityClass,
        },
        Kind {
            group: "coordination.k8s.io",
            version: "v1",
            kind: "Lease",
            plural: "leases",
            singular: "lease",
            short_names: &[],
            categories: &[],
            namespaced: true,
            verbs: BUILT_IN,
            subresources: &[],
            columns: LEASE_COLUMNS,
            custom: false,
            create_on_update: true,
            unconditional_update: false,
            strategy: &Plain,
        },
    ]
}
