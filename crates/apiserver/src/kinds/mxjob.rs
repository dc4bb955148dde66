//! MXJobs: CONTRACT sections 1 to 3 as a strategy over the pure rules of `mxjob-api`.

use std::borrow::Cow;
use std::sync::Arc;

use mxjob_api::mxjob::{GROUP, KIND, PLURAL, SINGULAR, VERSION};
use mxjob_api::{admission, pod_fields, replace, schema, unknown};
use mxjob_machinery::field;
use mxjob_machinery::pod_fields::Findings;
use serde_json::{Value, json};

use crate::kind::{CUSTOM, NAME, STATUS_ONLY};
use crate::kind::{Cell, Column, Conventions, Kind};
use crate::strategy::Strategy;

const STATE: Column = Column::new(
    "State",
    "string",
    "Custom resource definition column (in JSONPath format): .status.conditions[-1:].type",
    0,
    Cell::Path(Cow::Borrowed(".status.conditions[-1:].type")),
);
const AGE: Column = Column::new(
    "Age",
    "date",
    "Custom resource definition column (in JSONPath format): .metadata.creationTimestamp",
    0,
    Cell::Path(Cow::Borrowed(".metadata.creationTimestamp")),
);

/// The row.
pub(super) fn kind() -> Kind {
    Kind {
        version: VERSION.into(),
        short_names: vec!["mxj".into()],
        categories: vec!["all".into()],
        verbs: CUSTOM,
        subresources: STATUS_ONLY,
        columns: vec![NAME, STATE, AGE],
        conventions: Conventions::CUSTOM,
        is_optional: true,
        create_on_update: true,
        unconditional_update: false,
        strategy: Arc::new(MxJob),
        ..Kind::new(GROUP, KIND, PLURAL, SINGULAR)
    }
}

/// The rules of an MXJob.
#[derive(Debug)]
pub(crate) struct MxJob;

impl Strategy for MxJob {
    fn validate(&self, object: &Value) -> field::Errors {
        admission::create(object)
    }

    fn pod_fields(&self, object: &Value) -> Findings {
        pod_fields::check(object)
    }

    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        replace::check(old, new)
    }

    fn revalidate(&self, old: &Value, new: &Value) -> field::Errors {
        admission::revalidate(old, new)
    }

    fn validate_status(&self, old: &Value, new: &Value) -> field::Errors {
        admission::update_status(old, new)
    }

    fn update_message(&self, name: &str, errors: &field::Errors) -> Option<String> {
        Some(replace::message(name, errors))
    }

    fn unknown_fields(&self, object: &Value) -> Vec<String> {
        unknown::fields(object)
    }

    fn prune(&self, object: &mut Value) {
        unknown::prune(object);
    }

    fn zero_nulls(&self, object: &mut Value) {
        schema::zero_nulls(object);
    }

    fn decorate_created(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.entry("status").or_insert_with(|| json!({}));
        }
    }

    fn open_api(&self) -> Option<Value> {
        Some(schema::open_api().clone())
    }

    fn self_link(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }
}
