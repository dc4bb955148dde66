//! Limit ranges: defaults and bounds for the resources of containers and pods (upstream's
//! `pkg/apis/core/validation`). Enforcing them is admission's.

use mxjob_machinery::json::{list, text};
use mxjob_machinery::{field, names, quantity::Quantity};
use serde_json::{Map, Value, json};

use super::{quota, rules};
use crate::kind::Column;
use crate::kind::{NAME, computed};
use crate::strategy::Strategy;

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    computed("Created At", 0, |range, _| text(range, "/metadata/creationTimestamp").into()),
];

/// The rules of a limit range.
#[derive(Debug)]
pub(crate) struct LimitRange;

impl Strategy for LimitRange {
    fn prepare_create(&self, object: &mut Value) {
        let items = object.pointer_mut("/spec/limits").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten().filter(|item| text(item, "/type") == "Container") {
            fill(item, "default", "max"); // the most is what one gets
            fill(item, "defaultRequest", "default"); // and asks for,
            fill(item, "defaultRequest", "min"); // or else the least
        }
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn validate(&self, object: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        let path = field::Path::new("spec").child("limits");
        let items = list(object, "/spec/limits");
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            let kind = text(item, "/type");
            errors.append(type_errors(kind, &path.child("type")));
            if items.iter().take(index).any(|other| text(other, "/type") == kind) {
                errors.push(field::Error::duplicate(&path.child("type"), kind));
            }
            check_item(item, kind, &path, &mut errors);
        }
        errors
    }
}

/// Gives `field` of an item what it lacks of `from`.
fn fill(item: &mut Value, field: &str, from: &str) {
    let source = item.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(item) = item.as_object_mut() else { return };
    let target = item.entry(field).or_insert_with(|| json!({}));
    if target.is_null() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in source {
        target.entry(name).or_insert(value);
    }
    if target.is_empty() {
        item.remove(field);
    }
}

/// Types of limits that have no domain.
const STANDARD_TYPES: &[&str] = &["Container", "PersistentVolumeClaim", "Pod"];

/// Upstream's `validateLimitRangeTypeName`.
fn type_errors(kind: &str, path: &field::Path) -> field::Errors {
    let errors = rules::name_errors(kind, path, names::qualified_name);
    if errors.is_empty() && !kind.contains('/') && !STANDARD_TYPES.contains(&kind) {
        let detail = "must be a standard limit type or fully qualified";
        return field::Error::invalid(path, kind, detail).into();
    }
    errors
}

/// Upstream's `validateLimitRangeResourceName`.
fn name_errors(kind: &str, name: &str, path: &field::Path) -> field::Errors {
    let errors = rules::name_errors(name, path, names::qualified_name);
    if !errors.is_empty() || name.contains('/') {
        return errors;
    }
    let is_container =
        matches!(name, "cpu" | "ephemeral-storage" | "memory") || name.starts_with("hugepages-");
    let detail = match kind {
        "Pod" | "Container" if !is_container => "must be a standard resource for containers",
        _ if !is_container && !quota::is_standard(name) && name != "storage" => {
            "must be a standard resource type or fully qualified"
        }
        _ => return errors,
    };
    field::Error::invalid(path, name, detail).into()
}

fn check_item(item: &Value, kind: &str, path: &field::Path, errors: &mut field::Errors) {
    let fields = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    for name in fields {
        for (resource, value) in resources(item, name).into_iter().flatten() {
            let path = path.child(name).key(resource);
            errors.append(name_errors(kind, resource, &path));
            if let Err(error) = Quantity::from_value(value) {
                errors.push(field::Error::invalid(&path, value.to_string(), error.to_string()));
            }
        }
    }
    for name in ["default", "defaultRequest"] {
        if kind == "Pod" && resources(item, name).is_some_and(|map| !map.is_empty()) {
            errors.push(field::Error::forbidden(
                &path.child(name),
                "may not be specified when `type` is 'Pod'",
            ));
        }
    }
    let has_storage = |name| quantity(item, name, "storage").is_some();
    if kind == "PersistentVolumeClaim" && !has_storage("min") && !has_storage("max") {
        let detail =
            "either minimum or maximum storage value is required, but neither was provided";
        errors.push(field::Error::required(&path.child("limits"), detail));
    }
    // In upstream's order: the lower amount, the higher one, and the path of the error.
    let pairs = [
        ("min", "max", "min"),
        ("min", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "max", "defaultRequest"),
        ("defaultRequest", "default", "defaultRequest"),
        ("min", "default", "default"),
        ("default", "max", "default"),
    ];
    for (low, high, at) in pairs {
        for (resource, value) in resources(item, low).into_iter().flatten() {
            let Some(bound) = quantity(item, high, resource) else { continue };
            let Ok(value) = Quantity::from_value(value) else { continue };
            if value > bound {
                let path = path.child(at).key(resource);
                let shown = quantity(item, at, resource).unwrap_or(value).to_string();
                let detail = format!(
                    "{} value {value} is greater than {} value {bound}",
                    words(low),
                    words(high)
                );
                errors.push(field::Error::invalid(&path, shown, detail));
            }
        }
    }
    check_ratios(item, path, errors);
}

/// Ratios of limits to requests: at least 1, and no more than the bounds allow.
fn check_ratios(item: &Value, path: &field::Path, errors: &mut field::Errors) {
    for (resource, value) in resources(item, "maxLimitRequestRatio").into_iter().flatten() {
        let Ok(value) = Quantity::from_value(value) else { continue };
        if value < Quantity::from_integer(1) {
            let path = path.child("maxLimitRequestRatio").key(resource);
            errors.push(field::Error::invalid(
                &path,
                value.to_string(),
                format!("ratio {value} is less than 1"),
            ));
        }
        let (min, max) = (quantity(item, "min", resource), quantity(item, "max", resource));
        if let (Some(min), Some(max)) = (min, max) {
            let limit = max.to_f64() / min.to_f64();
            if value.to_f64() > limit {
                let path = path.child("maxLimitRequestRatio").key(resource);
                let detail = format!("ratio {value} is greater than max/min = {limit:.6}");
                errors.push(field::Error::invalid(&path, value.to_string(), detail));
            }
        }
    }
}

fn words(name: &str) -> &str {
    if name == "defaultRequest" { "default request" } else { name }
}

fn resources<'a>(item: &'a Value, name: &str) -> Option<&'a Map<String, Value>> {
    item.get(name).and_then(Value::as_object)
}

fn quantity(item: &Value, name: &str, resource: &str) -> Option<Quantity> {
    Quantity::from_value(resources(item, name)?.get(resource)?).ok()
}
