//! The webhook's Service and configuration.

use serde_json::{Map, Value, json};

use super::{Part, Settings, annotate, labels, object, selector, with};
use crate::names::{WEBHOOK, WEBHOOK_CONFIGURATION, WEBHOOK_PATH, WEBHOOK_SERVICE};

/// Whether the webhook has rules for a request: a new job, or a changed spec. Labels, annotations,
/// finalizers, owners (everything that the garbage collector writes) and the status may always
/// change, without a call of the webhook.
pub(super) const CONDITION: &str = "request.operation == 'CREATE' \
|| has(object.spec) != has(oldObject.spec) \
|| (has(object.spec) && object.spec != oldObject.spec)";

/// The annotation with instructions for when no operator answers.
pub(super) const OUTAGE_ANNOTATION: &str = "mxjob.kubeflow.org/when-it-is-down";

/// What to do then. `restore` is the command that installs the configuration again.
pub(super) fn outage_instructions(restore: &str) -> String {
    format!(
        "While no operator answers, new jobs and changed specs are rejected; everything else works. \
         To accept them without checks: kubectl delete validatingwebhookconfiguration {}. \
         To restore the checks: {restore}",
        WEBHOOK_CONFIGURATION
    )
}

/// The Service before the configuration that calls it.
pub(super) fn objects(settings: &Settings) -> Vec<Value> {
    let mut service = object("v1", "Service", WEBHOOK_SERVICE, Some(&settings.namespace));
    service["metadata"]["labels"] = labels("webhook");
    let service = with(
        service,
        json!({ "spec": {
            "selector": selector("operator"),
            "ports": [{ "name": "webhook", "port": 443, "targetPort": "webhook" }],
        } }),
    );
    vec![service, configuration(settings)]
}

fn configuration(settings: &Settings) -> Value {
    let mut configuration = object(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        WEBHOOK_CONFIGURATION,
        None,
    );
    configuration["metadata"]["labels"] = labels("webhook");
    let restore = format!("{} | kubectl apply -f -", settings.command(Part::Webhook));
    let instructions = (OUTAGE_ANNOTATION.to_owned(), outage_instructions(&restore).into());
    annotate(&mut configuration, "annotations", Map::from_iter([instructions]));
    let mut hook = json!({
        "name": WEBHOOK,
        "#clientConfig": "The operator itself adds the caBundle.",
        "clientConfig": { "service": {
            "name": WEBHOOK_SERVICE,
            "namespace": settings.namespace,
            "path": WEBHOOK_PATH,
            "port": 443,
        } },
        "rules": [{
            "apiGroups": ["kubeflow.org"],
            "apiVersions": ["v1"],
            "resources": ["mxjobs"],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }],
        "#matchConditions": "Called only for new jobs and changed specs, which the rules are about.",
        "matchConditions": [{ "name": "new-or-changed-spec", "expression": CONDITION }],
        "matchPolicy": "Equivalent",
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "#timeoutSeconds": "An answer takes milliseconds.",
        "timeoutSeconds": 5,
        "admissionReviewVersions": ["v1"],
    });
    if let Some(namespace) = &settings.watch_namespace {
        hook["namespaceSelector"] =
            json!({ "matchLabels": { "kubernetes.io/metadata.name": namespace } });
    }
    with(configuration, json!({ "webhooks": [hook] }))
}
