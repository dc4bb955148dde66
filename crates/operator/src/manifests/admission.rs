//! The webhook's Service and configuration.

use serde_json::{Map, Value, json};

use super::{Part, Settings, annotate, labels, object, selector, with};
use crate::webhook;

/// Whether a request is one that the webhook has rules for: a new job, or one whose spec changes. Labels, annotations, finalizers,
/// owners (all that the garbage collector writes) and the status may always change, so nobody waits for the webhook then.
pub(super) const CONDITION: &str = "request.operation == 'CREATE' \
|| has(object.spec) != has(oldObject.spec) \
|| (has(object.spec) && object.spec != oldObject.spec)";

/// Where whoever looks at the configuration finds what to do when it is down.
pub(super) const WAY_OUT: &str = "mxjob.kubeflow.org/when-it-is-down";

/// What to do then. `back` is the command that installs the configuration again.
pub(super) fn way_out(back: &str) -> String {
    format!(
        "New jobs and changed specs are refused while no operator answers; everything else goes on. \
         To let them through unchecked: kubectl delete validatingwebhookconfiguration {}. \
         To check again: {back}",
        webhook::CONFIGURATION
    )
}

/// The Service before the configuration that calls it.
pub(super) fn objects(settings: &Settings) -> Vec<Value> {
    let mut service = object("v1", "Service", webhook::SERVICE, Some(&settings.namespace));
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
        webhook::CONFIGURATION,
        None,
    );
    configuration["metadata"]["labels"] = labels("webhook");
    let back = format!("{} | kubectl apply -f -", settings.command(Part::Webhook));
    let way_out = (WAY_OUT.to_owned(), way_out(&back).into());
    annotate(&mut configuration, "annotations", Map::from_iter([way_out]));
    let mut hook = json!({
        "name": webhook::WEBHOOK,
        "#clientConfig": "The operator itself adds the caBundle.",
        "clientConfig": { "service": {
            "name": webhook::SERVICE,
            "namespace": settings.namespace,
            "path": webhook::PATH,
            "port": 443,
        } },
        "rules": [{
            "apiGroups": ["kubeflow.org"],
            "apiVersions": ["v1"],
            "resources": ["mxjobs"],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }],
        "#matchConditions": "Called only for what there are rules about: new jobs, and changes of a spec.",
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
