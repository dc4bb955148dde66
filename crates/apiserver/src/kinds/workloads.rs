//! Deployments, disruption budgets and the configuration of webhooks, which operators install.
//!
//! Deployments and budgets are only stored: no controller makes pods of a deployment, and evictions
//! respect no budget.

use std::sync::Arc;

use mxjob_machinery::field::{self, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::labels::{self, Selector};
use mxjob_machinery::pod_spec::{self, defaults};
use serde_json::{Value, json};

use super::rules::{self, Rule, Table};
use super::{default_to, webhook};
use crate::kind::{AGE, NAME, STATUS_ONLY, computed};
use crate::kind::{Cell, Column, Kind};
use crate::strategy::Strategy;

pub(super) fn deployment() -> Kind {
    Kind {
        short_names: vec!["deploy".into()],
        categories: vec!["all".into()],
        subresources: STATUS_ONLY,
        columns: DEPLOYMENT_COLUMNS.to_vec(),
        is_only_stored: true,
        strategy: Arc::new(Deployment),
        ..Kind::new("apps", "Deployment", "deployments", "deployment")
    }
}

pub(super) fn disruption_budget() -> Kind {
    Kind {
        short_names: vec!["pdb".into()],
        subresources: STATUS_ONLY,
        columns: BUDGET_COLUMNS.to_vec(),
        is_only_stored: true,
        unconditional_update: false,
        strategy: Arc::new(DisruptionBudget),
        ..Kind::new("policy", "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget")
    }
}

pub(super) fn webhook_configuration() -> Kind {
    Kind {
        categories: vec!["api-extensions".into()],
        namespaced: false,
        columns: WEBHOOK_COLUMNS.to_vec(),
        unconditional_update: false,
        strategy: Arc::new(webhook::Configuration),
        ..Kind::new(
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            "validatingwebhookconfiguration",
        )
    }
}

/// A column with a number.
const fn number(name: &'static str, cell: fn(&Value, jiff::Timestamp) -> Value) -> Column {
    Column::new(name, "integer", name, 0, Cell::Computed(cell))
}

const DEPLOYMENT_COLUMNS: &[Column] = &[
    NAME,
    computed("Ready", 0, |object, _| {
        let desired = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        format!("{}/{desired}", count(object, "/status/readyReplicas")).into()
    }),
    number("Up-to-date", |object, _| count(object, "/status/updatedReplicas").into()),
    number("Available", |object, _| count(object, "/status/availableReplicas").into()),
    AGE,
    computed("Containers", 1, |object, _| containers(object, "name")),
    computed("Images", 1, |object, _| containers(object, "image")),
    computed("Selector", 1, |object, _| {
        let selector = object.pointer("/spec/selector").unwrap_or(&Value::Null);
        Selector::from_object(selector).map(|it| it.to_string()).unwrap_or_default().into()
    }),
];

const BUDGET_COLUMNS: &[Column] = &[
    NAME,
    computed("Min Available", 0, |object, _| bound(object, "/spec/minAvailable")),
    computed("Max Unavailable", 0, |object, _| bound(object, "/spec/maxUnavailable")),
    number("Allowed Disruptions", |object, _| count(object, "/status/disruptionsAllowed").into()),
    AGE,
];

const WEBHOOK_COLUMNS: &[Column] =
    &[NAME, number("Webhooks", |object, _| list(object, "/webhooks").len().into()), AGE];

fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// One field of every container of the template, as `kubectl` lists them.
fn containers(object: &Value, field: &str) -> Value {
    let all = list(object, "/spec/template/spec/containers").iter();
    let all: Vec<&str> = all.filter_map(|container| container.get(field)?.as_str()).collect();
    all.join(",").into()
}

/// A number or a share of pods; `N/A` where there is none.
fn bound(object: &Value, pointer: &str) -> Value {
    match object.pointer(pointer) {
        Some(Value::String(share)) => share.as_str().into(),
        Some(Value::Number(number)) => number.to_string().into(),
        _ => "N/A".into(),
    }
}

/// The rules of a deployment: upstream's defaults, so that applying the same file again changes
/// nothing, and upstream's `pkg/apis/apps/validation`.
#[derive(Debug)]
struct Deployment;

const SPEC: Table = &[
    ("replicas", Rule::NotNegative),
    ("minReadySeconds", Rule::NotNegative),
    ("revisionHistoryLimit", Rule::NotNegative),
    ("progressDeadlineSeconds", Rule::NotNegative),
];
const STATUS: Table = &[
    ("observedGeneration", Rule::NotNegative),
    ("replicas", Rule::NotNegative),
    ("updatedReplicas", Rule::NotNegative),
    ("readyReplicas", Rule::NotNegative),
    ("availableReplicas", Rule::NotNegative),
    ("unavailableReplicas", Rule::NotNegative),
    ("collisionCount", Rule::NotNegative),
];
/// Numbers of the status that are part of another one.
const PARTS: &[(&str, &str, &str)] = &[
    ("updatedReplicas", "replicas", "cannot be greater than status.replicas"),
    ("readyReplicas", "replicas", "cannot be greater than status.replicas"),
    ("availableReplicas", "replicas", "cannot be greater than status.replicas"),
    ("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"),
];

impl Strategy for Deployment {
    fn prepare_create(&self, object: &mut Value) {
        default_to(object, "status", json!({}));
        let Some(spec) = object.get_mut("spec") else { return };
        if let Some(spec) = spec.pointer_mut("/template/spec") {
            defaults::fill_template_spec(spec);
        }
        default_to(spec, "replicas", 1);
        default_to(spec, "revisionHistoryLimit", 10);
        default_to(spec, "progressDeadlineSeconds", 600);
        default_to(spec, "strategy", json!({ "type": "RollingUpdate" }));
        if let Some(strategy) = spec.get_mut("strategy") {
            default_to(strategy, "type", "RollingUpdate");
            if text(strategy, "/type") == "RollingUpdate" {
                default_to(strategy, "rollingUpdate", json!({}));
                if let Some(bounds) = strategy.get_mut("rollingUpdate") {
                    default_to(bounds, "maxSurge", "25%");
                    default_to(bounds, "maxUnavailable", "25%");
                }
            }
        }
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    /// Upstream's `ValidateDeploymentSpec`.
    fn validate(&self, object: &Value) -> field::Errors {
        let path = Path::new("spec");
        let spec = &object["spec"];
        let mut errors = rules::check(spec, &path, SPEC);
        errors.append(selector_errors(spec, &path));
        errors.append(template_errors(&spec["template"], &path.child("template")));
        errors.append(strategy_errors(&spec["strategy"], &path.child("strategy")));
        let (deadline, ready) = (
            count(object, "/spec/progressDeadlineSeconds"),
            count(object, "/spec/minReadySeconds"),
        );
        if deadline <= ready {
            let path = path.child("progressDeadlineSeconds");
            let detail = "must be greater than minReadySeconds";
            errors.push(field::Error::invalid(&path, deadline, detail));
        }
        errors
    }

    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        rules::immutable(old, new, &["spec.selector"])
    }

    /// Upstream's `ValidateDeploymentStatus`.
    fn validate_status(&self, _: &Value, new: &Value) -> field::Errors {
        let path = Path::new("status");
        let mut errors = rules::check(&new["status"], &path, STATUS);
        for (part, whole, detail) in PARTS {
            let number = |field| count(new, &format!("/status/{field}"));
            if number(part) > number(whole) {
                errors.push(field::Error::invalid(&path.child(part), number(part), *detail));
            }
        }
        errors
    }

    /// What an earlier release has stored may stay.
    fn revalidate(&self, old: &Value, new: &Value) -> field::Errors {
        let errors = self.validate(new);
        if errors.is_empty() { errors } else { errors.without(&self.validate(old)) }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// The selector, and whether it selects the pods of the template.
fn selector_errors(spec: &Value, path: &Path) -> field::Errors {
    let selector = &spec["selector"];
    let at = path.child("selector");
    if selector.is_null() {
        return field::Error::required(&at, "").into();
    }
    let mut errors = labels::validate_selector(selector, &at);
    let parsed = Selector::from_object(selector).filter(|_| errors.is_empty());
    if parsed.as_ref().is_some_and(Selector::is_empty) {
        let detail = "empty selector is invalid for deployment";
        errors.push(field::Error::invalid(&at, selector, detail));
    }
    let Some(parsed) = parsed else {
        errors.push(field::Error::invalid(&at, selector, "invalid label selector"));
        return errors;
    };
    let held = &spec["template"]["metadata"]["labels"];
    if !parsed.matches(|key| held.get(key).and_then(Value::as_str)) {
        let path = path.child("template").child("metadata").child("labels");
        let detail = "`selector` does not match template `labels`";
        errors.push(field::Error::invalid(&path, held, detail));
    }
    errors
}

/// Upstream's `ValidatePodTemplateSpecForReplicaSet`.
fn template_errors(template: &Value, path: &Path) -> field::Errors {
    let mut errors = pod_spec::validate_template(template, path, path);
    let (spec, path) = (&template["spec"], path.child("spec"));
    let policy = text(spec, "/restartPolicy");
    if !matches!(policy, "" | "Always") {
        let path = path.child("restartPolicy");
        errors.push(field::Error::not_supported(&path, policy, &["Always"]));
    }
    if !spec["activeDeadlineSeconds"].is_null() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(field::Error::forbidden(&path.child("activeDeadlineSeconds"), detail));
    }
    errors
}

/// Upstream's `ValidateDeploymentStrategy`.
fn strategy_errors(strategy: &Value, path: &Path) -> field::Errors {
    let bounds = &strategy["rollingUpdate"];
    let at = path.child("rollingUpdate");
    match text(strategy, "/type") {
        "Recreate" if bounds.is_null() => field::Errors::new(),
        "Recreate" => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            field::Error::forbidden(&at, detail).into()
        }
        "RollingUpdate" => {
            let mut errors = field::Errors::new();
            for field in ["maxUnavailable", "maxSurge"] {
                let is_surge = field == "maxSurge";
                let mut found = rules::share(bounds.get(field), &at.child(field));
                // More than all pods may be added at a time, but not taken away.
                found.retain(|error| !is_surge || error.detail != rules::ABOVE_ALL);
                errors.append(found);
            }
            let is_zero = |field: &str| match &bounds[field] {
                Value::String(share) => rules::percent(share) == Some(0),
                other => other.as_i64() == Some(0),
            };
            if is_zero("maxUnavailable") && is_zero("maxSurge") {
                let (path, shown) = (at.child("maxUnavailable"), &bounds["maxUnavailable"]);
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.push(field::Error::invalid(&path, shown, detail));
            }
            errors
        }
        _ => field::Error::not_supported(path, strategy, &["Recreate", "RollingUpdate"]).into(),
    }
}

/// The rules of a disruption budget (upstream's `pkg/apis/policy/validation`).
#[derive(Debug)]
struct DisruptionBudget;

impl Strategy for DisruptionBudget {
    fn prepare_create(&self, object: &mut Value) {
        default_to(object, "spec", json!({}));
        default_to(object, "status", json!({}));
        if let Some(status) = object.get_mut("status") {
            for count in ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"]
            {
                default_to(status, count, 0);
            }
        }
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// Upstream's `ValidatePodDisruptionBudgetSpec`.
    fn validate(&self, object: &Value) -> field::Errors {
        let (spec, path) = (&object["spec"], Path::new("spec"));
        let mut errors = field::Errors::new();
        let bounds = ["minAvailable", "maxUnavailable"];
        if bounds.iter().all(|bound| !spec[*bound].is_null()) {
            let detail = "minAvailable and maxUnavailable cannot be both set";
            errors.push(field::Error::invalid(&path, spec, detail));
        }
        for bound in bounds {
            errors.append(rules::share(spec.get(bound), &path.child(bound)));
        }
        errors.append(labels::validate_selector(&spec["selector"], &path.child("selector")));
        let policy = Rule::OneOf(&["AlwaysAllow", "IfHealthyBudget"]);
        let at = path.child("unhealthyPodEvictionPolicy");
        errors.append(policy.errors(spec.get("unhealthyPodEvictionPolicy"), &at));
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(kind: &Kind, object: &Value) -> Vec<String> {
        let cell = |column: &Column| match &column.cell {
            Cell::Computed(compute) => match compute(object, jiff::Timestamp::UNIX_EPOCH) {
                Value::String(text) => text,
                other => other.to_string(),
            },
            Cell::Path(path) => {
                mxjob_machinery::json::text(object, &path.replace('.', "/")).to_owned()
            }
        };
        kind.columns.iter().filter(|column| column.name != "Age").map(cell).collect()
    }

    #[test]
    fn tables_show_what_kubectl_shows() {
        let object = json!({
            "metadata": { "name": "d" },
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": { "app": "d" } },
                "template": { "spec": { "containers": [{ "name": "a", "image": "i" }, { "name": "b", "image": "j" }] } },
            },
            "status": { "readyReplicas": 1 },
        });
        assert_eq!(cells(&deployment(), &object), ["d", "1/2", "0", "0", "a,b", "i,j", "app=d"]);
        let object = json!({ "metadata": { "name": "b" }, "spec": { "maxUnavailable": 1 } });
        assert_eq!(cells(&disruption_budget(), &object), ["b", "N/A", "1", "0"]);
        let object = json!({ "metadata": { "name": "w" }, "webhooks": [{}, {}] });
        assert_eq!(cells(&webhook_configuration(), &object), ["w", "2"]);
    }
}
