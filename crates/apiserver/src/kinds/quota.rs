//! Resource quotas: rules of upstream's `pkg/apis/core/validation`. Admission counts the usage.

use mxjob_machinery::field::{self, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::{names, quantity::Quantity};
use serde_json::{Value, json};

use super::rules;
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

/// Resources of containers, which most scopes can be counted for.
const COMPUTE: &[&str] =
    &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
];
const CONFLICTS: &[[&str; 2]] =
    &[["BestEffort", "NotBestEffort"], ["NotTerminating", "Terminating"]];

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

    /// Upstream's `ValidateResourceQuotaSpec`.
    fn validate(&self, object: &Value) -> field::Errors {
        let mut errors = hard_errors(object, "spec");
        errors.append(scope_errors(object));
        errors.append(selector_errors(object));
        errors
    }

    /// Upstream's `ValidateResourceQuotaUpdate`; a changed selector would change what is counted,
    /// too.
    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        rules::immutable(old, new, &["spec.scopes", "spec.scopeSelector"])
    }

    /// Upstream's `ValidateResourceQuotaStatus`.
    fn validate_status(&self, _: &Value, new: &Value) -> field::Errors {
        let mut errors = hard_errors(new, "status");
        errors.append(amount_errors(new, "status", "used"));
        errors
    }
}

fn hard_errors(object: &Value, part: &str) -> field::Errors {
    amount_errors(object, part, "hard")
}

/// The amounts of a map by resource.
fn amount_errors(object: &Value, part: &str, field: &str) -> field::Errors {
    let path = Path::new(part).child(field);
    let amounts = object.get(part).and_then(|part| part.get(field)).and_then(Value::as_object);
    let mut errors = field::Errors::default();
    for (name, value) in amounts.into_iter().flatten() {
        let path = path.key(name);
        let complaints = rules::name_errors(name, &path, names::qualified_name);
        if complaints.is_empty() && !name.contains('/') && !is_standard(name) {
            let detail = "must be a standard resource for quota";
            errors.push(field::Error::invalid(&path, name.as_str(), detail));
        }
        errors.append(complaints);
        errors.append(quantity_errors(name, value, &path));
    }
    errors
}

/// Whether a resource may be limited by its bare name.
pub(super) fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || name.contains("hugepages-")
}

/// Whether a scope can be counted for a resource.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        _ => resource == "pods" || COMPUTE.contains(&resource),
    }
}

/// What is wrong with one scope, given the resources that the quota limits.
fn one_scope(object: &Value, scope: &str, path: &Path, shown: &Value) -> field::Errors {
    let mut errors = field::Errors::default();
    let hard = object.pointer("/spec/hard").and_then(Value::as_object);
    let unfit = |(name, _): &(&String, &Value)| is_standard(name) && !fits(scope, name);
    if SCOPES.contains(&scope) {
        for _ in hard.into_iter().flatten().filter(unfit) {
            let detail = "unsupported scope applied to resource";
            errors.push(field::Error::invalid(path, shown, detail));
        }
    }
    errors
}

/// Scopes that exclude each other.
fn conflicts(scopes: &[&str], path: &Path, shown: &Value) -> field::Errors {
    let both = |pair: &&[&str; 2]| pair.iter().all(|scope| scopes.contains(scope));
    let conflicts = CONFLICTS.iter().filter(both);
    conflicts.map(|_| field::Error::invalid(path, shown, "conflicting scopes")).collect()
}

/// Upstream's `validateResourceQuotaScopes`.
fn scope_errors(object: &Value) -> field::Errors {
    let path = Path::new("spec").child("scopes");
    let shown = object.pointer("/spec/scopes").unwrap_or(&Value::Null);
    let scopes: Vec<&str> = list(object, "/spec/scopes").iter().filter_map(Value::as_str).collect();
    let mut errors = field::Errors::default();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            errors.push(field::Error::invalid(&path, shown, "unsupported scope"));
        }
        errors.append(one_scope(object, scope, &path, shown));
    }
    errors.append(conflicts(&scopes, &path, shown));
    errors
}

/// Upstream's `validateScopedResourceSelectorRequirement`.
fn selector_errors(object: &Value) -> field::Errors {
    let path = Path::new("spec").child("scopeSelector").child("matchExpressions");
    let shown = object.pointer("/spec/scopeSelector").unwrap_or(&Value::Null);
    let expressions = list(object, "/spec/scopeSelector/matchExpressions");
    let scopes: Vec<&str> = expressions.iter().map(|one| text(one, "/scopeName")).collect();
    let mut errors = field::Errors::default();
    for (expression, scope) in expressions.iter().zip(&scopes) {
        if !SCOPES.contains(scope) {
            let path = path.child("scopeName");
            errors.push(field::Error::invalid(&path, *scope, "unsupported scope"));
        }
        errors.append(one_scope(object, scope, &path, shown));
        let operator = text(expression, "/operator");
        if SCOPES.contains(scope) && *scope != "PriorityClass" && operator != "Exists" {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(field::Error::invalid(&path.child("operator"), operator, detail));
        }
        let values = list(expression, "/values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(field::Error::required(&path.child("values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                let path = path.child("values");
                errors.push(field::Error::invalid(&path, &expression["values"], detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let path = path.child("operator");
                errors.push(field::Error::invalid(&path, other, "not a valid selector operator"));
            }
        }
    }
    errors.append(conflicts(&scopes, &path, shown));
    errors
}

/// Upstream's `ValidateResourceQuantityValue`.
pub(super) fn quantity_errors(resource: &str, value: &Value, path: &Path) -> field::Errors {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let detail = match Quantity::from_value(value) {
        Err(error) => error.to_string(),
        Ok(number) if number.is_negative() => "must be greater than or equal to 0".to_owned(),
        Ok(number) if is_counted(resource) && number.milli_value() % 1000 != 0 => {
            "must be an integer".to_owned()
        }
        Ok(_) => return field::Errors::new(),
    };
    field::Error::invalid(path, shown, detail).into()
}

/// Whether a resource is counted, so that amounts are integers.
pub(super) fn is_counted(name: &str) -> bool {
    WHOLE.contains(&name) || name.starts_with("count/")
}
