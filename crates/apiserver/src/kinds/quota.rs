//! Resource quotas: rules of upstream's `pkg/apis/core/validation`. Admission counts the usage.

use mxjob_machinery::{field, quantity::Quantity};
use serde_json::{Value, json};

use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::strategy::Strategy;

/// Resources that may be limited by their bare name.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// Resources that are counted, so that limits must be integers.
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    computed("Request", 0, |quota, _| shares(quota, false).into()),
    computed("Limit", 0, |quota, _| shares(quota, true).into()),
    AGE,
];

/// `pods: 1/2, requests.cpu: 0/4`: limits, or all else.
fn shares(quota: &Value, limits: bool) -> String {
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let used = quota.pointer("/status/used").and_then(Value::as_object);
    let shown = |value: Option<&Value>| {
        value
            .and_then(|value| Quantity::from_value(value).ok())
            .map_or_else(|| "0".to_owned(), |number| number.to_string())
    };
    let parts = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits") == limits)
        .map(|(name, hard)| {
            format!("{name}: {}/{}", shown(used.and_then(|used| used.get(name))), shown(Some(hard)))
        });
    parts.collect::<Vec<_>>().join(", ")
}

/// The rules of a quota.
#[derive(Debug)]
pub(crate) struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn prepare_create(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), json!({}));
            object.entry("spec").or_insert_with(|| json!({}));
        }
    }

    fn validate(&self, object: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        let path = field::Path::new("spec").child("hard");
        for (name, value) in
            object.pointer("/spec/hard").and_then(Value::as_object).into_iter().flatten()
        {
            let path = path.key(name);
            if !name.contains('/')
                && !STANDARD.contains(&name.as_str())
                && !name.contains("hugepages-")
            {
                errors.push(field::Error::invalid(
                    &path,
                    name.as_str(),
                    "must be a standard resource for quota",
                ));
            }
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match Quantity::from_value(value) {
                Err(error) => errors.push(field::Error::invalid(&path, shown, error.to_string())),
                Ok(number) if number.is_negative() => {
                    errors.push(field::Error::invalid(
                        &path,
                        shown,
                        "must be greater than or equal to 0",
                    ));
                }
                Ok(number) if is_counted(name) && number.milli_value() % 1000 != 0 => {
                    errors.push(field::Error::invalid(&path, shown, "must be an integer"));
                }
                Ok(_) => {}
            }
        }
        errors
    }

    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        for name in ["scopes", "scopeSelector"] {
            let of = |object: &Value| {
                object.get("spec").and_then(|spec| spec.get(name)).cloned().unwrap_or_default()
            };
            if of(old) != of(new) {
                let path = field::Path::new("spec").child(name);
                errors.push(field::Error::invalid(
                    &path,
                    of(new).to_string(),
                    "field is immutable",
                ));
            }
        }
        errors
    }
}

fn is_counted(name: &str) -> bool {
    WHOLE.contains(&name) || name.starts_with("count/")
}
