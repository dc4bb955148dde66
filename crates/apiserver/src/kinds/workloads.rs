//! Deployments, disruption budgets and the configuration of webhooks, which operators install.
//!
//! Deployments and budgets are only stored: no controller makes pods of a deployment, and evictions
//! respect no budget.

use std::sync::Arc;

use mxjob_machinery::json::list;
use mxjob_machinery::labels::Selector;
use mxjob_machinery::{field, pod_spec};
use serde_json::{Value, json};

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
        strategy: Arc::new(Deployment),
        ..Kind::new("apps", "Deployment", "deployments", "deployment")
    }
}

pub(super) fn disruption_budget() -> Kind {
    Kind {
        short_names: vec!["pdb".into()],
        subresources: STATUS_ONLY,
        columns: BUDGET_COLUMNS.to_vec(),
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

/// The rules of a deployment: upstream's defaults outside of the pod template, so that applying the
/// same file again changes nothing.
#[derive(Debug)]
struct Deployment;

impl Strategy for Deployment {
    fn prepare_create(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec") else { return };
        default_to(spec, "replicas", 1);
        default_to(spec, "revisionHistoryLimit", 10);
        default_to(spec, "progressDeadlineSeconds", 600);
        default_to(
            spec,
            "strategy",
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } }),
        );
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn validate(&self, object: &Value) -> field::Errors {
        let path = field::Path::new("spec").child("template").child("spec");
        let spec = object.pointer("/spec/template/spec");
        spec.map(|spec| pod_spec::validate(spec, &path)).unwrap_or_default()
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// The rules of a disruption budget.
#[derive(Debug)]
struct DisruptionBudget;

impl Strategy for DisruptionBudget {
    fn has_generation(&self) -> bool {
        true
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
