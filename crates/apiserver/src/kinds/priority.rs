//! Priority classes: a name for a number that orders pods (upstream's
//! `pkg/apis/scheduling/validation`).

use mxjob_machinery::field;
use mxjob_machinery::json::text;
use serde_json::Value;

use super::default_to;
use crate::kind::{AGE, NAME, computed};
use crate::kind::{Cell, Column};
use crate::strategy::Strategy;

/// Names with this prefix belong to the system.
const SYSTEM_PREFIX: &str = "system-";
/// The highest value of a class that is not the system's.
const HIGHEST_OF_USERS: i64 = 1_000_000_000;
/// The classes that every server has: name, value, description.
pub(crate) const SYSTEM: &[(&str, i64, &str)] = &[
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::new(
        "Value",
        "integer",
        "The number that orders pods.",
        0,
        Cell::Computed(|class, _| value(class).into()),
    ),
    Column::new(
        "Global-Default",
        "boolean",
        "Whether pods without a class get this one.",
        0,
        Cell::Computed(|class, _| is_global_default(class).into()),
    ),
    AGE,
    computed("PreemptionPolicy", 0, |class, _| text(class, "/preemptionPolicy").into()),
];

/// The number of a class.
pub(crate) fn value(class: &Value) -> i64 {
    class.get("value").and_then(Value::as_i64).unwrap_or_default()
}

/// Whether pods without a class get this one.
pub(crate) fn is_global_default(class: &Value) -> bool {
    class.get("globalDefault").and_then(Value::as_bool).unwrap_or(false)
}

/// The rules of a priority class.
#[derive(Debug)]
pub(crate) struct PriorityClass;

impl Strategy for PriorityClass {
    fn is_global_default(&self, object: &Value) -> bool {
        is_global_default(object)
    }

    fn prepare_create(&self, object: &mut Value) {
        default_to(object, "preemptionPolicy", "PreemptLowerPriority");
        default_to(object, "value", 0);
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn validate(&self, object: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        let name = text(object, "/metadata/name");
        if name.starts_with(SYSTEM_PREFIX) {
            if let Some(why) = unlike_system(object, name) {
                let detail = format!(
                    "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
                );
                errors.push(field::Error::forbidden(
                    &field::Path::new("metadata").child("name"),
                    detail,
                ));
            }
        } else if value(object) > HIGHEST_OF_USERS {
            let detail =
                format!("maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}");
            errors.push(field::Error::forbidden(&field::Path::new("value"), detail));
        }
        let policy = text(object, "/preemptionPolicy");
        if !matches!(policy, "PreemptLowerPriority" | "Never") {
            let path = field::Path::new("preemptionPolicy");
            errors.push(field::Error::not_supported(
                &path,
                policy,
                &["PreemptLowerPriority", "Never"],
            ));
        }
        errors
    }

    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        if value(old) != value(new) {
            errors.push(field::Error::forbidden(
                &field::Path::new("value"),
                "may not be changed in an update.",
            ));
        }
        let policy = text(new, "/preemptionPolicy");
        if text(old, "/preemptionPolicy") != policy {
            let path = field::Path::new("preemptionPolicy");
            errors.push(field::Error::invalid(&path, policy, "field is immutable"));
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Why a class with a system name is not the system's; `None` where it is.
fn unlike_system(class: &Value, name: &str) -> Option<String> {
    let Some((_, expected, _)) = SYSTEM.iter().find(|(known, _, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value(class) != *expected {
        return Some(format!("value of {name} PriorityClass must be {expected}"));
    }
    is_global_default(class).then(|| format!("globalDefault of {name} PriorityClass must be false"))
}
