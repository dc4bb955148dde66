//! Leases: row and rules (upstream's `pkg/apis/coordination/validation`).

use std::sync::Arc;

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::text;
use serde_json::{Value, json};

use super::default_to;
use super::rules::{self, Rule, Table};
use crate::kind::{AGE, NAME, computed};
use crate::kind::{Column, Kind};
use crate::strategy::Strategy;

const COLUMNS: &[Column] =
    &[NAME, computed("Holder", 0, |object, _| text(object, "/spec/holderIdentity").into()), AGE];

const SPEC: Table =
    &[("leaseDurationSeconds", Rule::Positive), ("leaseTransitions", Rule::NotNegative)];

pub(super) fn kind() -> Kind {
    Kind {
        columns: COLUMNS.to_vec(),
        create_on_update: true,
        unconditional_update: false,
        strategy: Arc::new(Lease),
        ..Kind::new("coordination.k8s.io", "Lease", "leases", "lease")
    }
}

/// The rules of a lease.
#[derive(Debug)]
struct Lease;

impl Strategy for Lease {
    fn prepare_create(&self, lease: &mut Value) {
        default_to(lease, "spec", json!({}));
    }

    fn prepare_update(&self, _: &Value, lease: &mut Value) {
        self.prepare_create(lease);
    }

    /// Upstream's `ValidateLeaseSpec`.
    fn validate(&self, lease: &Value) -> Errors {
        let path = Path::new("spec");
        let mut errors = rules::check(&lease["spec"], &path, SPEC);
        if !text(lease, "/spec/preferredHolder").is_empty()
            && text(lease, "/spec/strategy").is_empty()
        {
            let detail = "may only be specified when `strategy` is defined";
            errors.push(Error::forbidden(&path.child("preferredHolder"), detail));
        }
        errors
    }
}
