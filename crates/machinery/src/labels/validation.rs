//! Validation of selectors that are objects (`pkg/apis/meta/v1/validation`).

use serde_json::Value;

use crate::field::{Error, Errors, Path};
use crate::json::{list, text};
use crate::{metadata, names};

/// Validates a `LabelSelector` object (upstream's `ValidateLabelSelector`). Null and an absent one
/// are valid.
pub fn validate_selector(selector: &Value, path: &Path) -> Errors {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let mut errors = labels
        .map(|labels| metadata::validate_labels(labels, &path.child("matchLabels")))
        .unwrap_or_default();
    let path = path.child("matchExpressions");
    for (index, expression) in list(selector, "/matchExpressions").iter().enumerate() {
        if errors.is_full() {
            break;
        }
        errors.append(validate_expression(expression, &path.index(index)));
    }
    errors
}

fn validate_expression(expression: &Value, path: &Path) -> Errors {
    let mut errors = Errors::new();
    let values = list(expression, "/values");
    match text(expression, "/operator") {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(Error::required(&path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&path.child("values"), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            let path = path.child("operator");
            errors.push(Error::invalid(&path, other, "not a valid selector operator"));
        }
    }
    let key = text(expression, "/key");
    complain(&mut errors, &path.child("key"), key, names::qualified_name(key));
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        let path = path.child("values").index(index);
        complain(&mut errors, &path, value, names::label_value(value));
    }
    errors
}

fn complain(errors: &mut Errors, path: &Path, value: &str, complaints: Vec<String>) {
    errors.extend(complaints.into_iter().map(|complaint| Error::invalid(path, value, complaint)));
}
