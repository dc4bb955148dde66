//! Pods: defaults, immutable fields, graceful deletion and the columns of `kubectl get pods`.

mod summary;

use mxjob_machinery::field;
use mxjob_machinery::json::text;
use mxjob_machinery::pod_fields::{self, Findings};
use mxjob_machinery::pod_spec::{self, defaults};
use serde_json::{Value, json};

use self::summary::Summary;
use super::{default_to, or_none};
use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::strategy::{DeleteMode, Strategy};

/// Seconds that a pod gets to end by itself where it does not say otherwise (upstream's default).
const DEFAULT_GRACE: i64 = 30;

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    computed("Ready", 0, |pod, _| {
        let Summary { ready, total, .. } = Summary::of(pod);
        format!("{ready}/{total}").into()
    }),
    computed("Status", 0, |pod, _| Summary::of(pod).word.into()),
    computed("Restarts", 0, |pod, _| Summary::of(pod).restarts.to_string().into()),
    AGE,
    computed("IP", 1, |pod, _| or_none(text(pod, "/status/podIP"))),
    computed("Node", 1, |pod, _| or_none(text(pod, "/spec/nodeName"))),
    computed("Nominated Node", 1, |pod, _| or_none(text(pod, "/status/nominatedNodeName"))),
    computed("Readiness Gates", 1, |_, _| "<none>".into()),
];

/// Fields of a pod that may be selected by, with where they are.
const SELECTABLE: &[(&str, &str)] = &[
    ("spec.nodeName", "/spec/nodeName"),
    ("spec.restartPolicy", "/spec/restartPolicy"),
    ("spec.schedulerName", "/spec/schedulerName"),
    ("spec.serviceAccountName", "/spec/serviceAccountName"),
    ("status.phase", "/status/phase"),
    ("status.podIP", "/status/podIP"),
    ("status.nominatedNodeName", "/status/nominatedNodeName"),
];

/// The rules of a pod.
#[derive(Debug)]
pub(crate) struct Pod;

impl Strategy for Pod {
    fn runs_containers(&self) -> bool {
        true
    }

    fn pod_fields(&self, object: &Value) -> Findings {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        pod_fields::check(spec, &field::Path::new("spec"))
    }

    fn finish_create(&self, object: &mut Value) {
        let quality = mxjob_machinery::quota::quality_of_service(object);
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            status.insert("qosClass".to_owned(), quality.into());
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object
                .insert("status".to_owned(), json!({"phase": "Pending", "qosClass": "BestEffort"}));
        }
        defaults::fill_pod(object);
        defaults::tolerate_lost_nodes(object);
    }

    fn prepare_update(&self, old: &Value, new: &mut Value) {
        defaults::fill_pod(new);
        defaults::tolerate_lost_nodes(new);
        // Fields that admission set on create stay.
        for field in ["priority", "preemptionPolicy", "priorityClassName"] {
            let decided = old.get("spec").and_then(|spec| spec.get(field)).cloned();
            if let (Some(decided), Some(spec)) = (decided, new.get_mut("spec")) {
                default_to(spec, field, decided);
            }
        }
    }

    fn validate(&self, object: &Value) -> field::Errors {
        pod_spec::validate_create(object)
    }

    /// The whole new pod, too: less may be wrong with it than with a new one.
    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        pod_spec::validate_update(old, new)
    }

    fn revalidate(&self, _: &Value, _: &Value) -> field::Errors {
        field::Errors::default()
    }

    fn validate_status(&self, old: &Value, new: &Value) -> field::Errors {
        pod_spec::validate_status_update(old, new)
    }

    fn is_selectable(&self, field: &str) -> bool {
        SELECTABLE.iter().any(|(name, _)| *name == field)
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        let (_, pointer) = SELECTABLE.iter().find(|(name, _)| *name == field)?;
        Some(text(object, pointer).to_owned())
    }

    /// A pod that does not run is deleted immediately; otherwise its node stops it first.
    fn delete_mode(&self, object: &Value, grace: Option<i64>) -> DeleteMode {
        let own = object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
        let grace = grace.or(own).unwrap_or(DEFAULT_GRACE).max(0);
        let unbound = text(object, "/spec/nodeName").is_empty();
        let ended = matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
        if unbound || ended || grace == 0 { DeleteMode::Now } else { DeleteMode::Graceful(grace) }
    }
}
