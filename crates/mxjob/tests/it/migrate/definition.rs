//! A cluster with the CRD and the webhooks of training-operator.

use serde_json::{Value, json};

use super::{OLDER, create_job_of, migrate};
use crate::submit;
use crate::support::{Place, Server, Text as _};

/// Our CRD.
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/mxjobs.kubeflow.org.yaml");

/// The relevant parts of the CRD of training-operator.
fn older() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let counts = json!({"type": "object", "additionalProperties": open});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "mxjobs.kubeflow.org"},
        "spec": {
            "group": "kubeflow.org", "scope": "Namespaced",
            "names": {"kind": "MXJob", "listKind": "MXJobList", "plural": "mxjobs", "singular": "mxjob"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                    "spec": {"type": "object", "properties": {
                        "jobMode": {"type": "string"}, "runPolicy": open,
                        "mxReplicaSpecs": {"type": "object", "additionalProperties": open},
                    }},
                    "status": {"type": "object", "properties": {
                        "conditions": {"type": "array", "items": open}, "replicaStatuses": counts,
                        "startTime": {"type": "string"}, "completionTime": {"type": "string"},
                    }},
                }}},
            }],
        },
    })
}

#[test]
fn older_crd_is_replaced_before_jobs_are_adopted() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &["--builtin-mxjobs=false"]);
    let none = submit::submit(&place, &[place.job("x", "true", "true", "true")], &[]);
    assert_eq!(none.code(), Some(3), "{}", none.stderr);
    assert!(none.stderr.contains(" does not serve MXJob of kubeflow.org/v1; "), "{}", none.stderr);

    server.create(&older());
    server.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/mxjobs.kubeflow.org",
        "--timeout=60s",
    ]);
    create_job_of(&place, &server, &OLDER[2], "digits");
    let hook = |name: &str, resource: &str| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "clientConfig": {"service": {"name": "training-operator", "namespace": "kubeflow", "path": "/"}},
            "rules": [{"apiGroups": ["kubeflow.org"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}],
        })
    };
    server.create(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "validator.training-operator.kubeflow.org"},
        "webhooks": [hook("validator.tfjob.example.org", "tfjobs"), hook("validator.mxjob.example.org", "mxjobs")],
    }));

    let report = migrate(&place, &[]);
    assert_eq!(report.code(), Some(1), "{}", report.stderr);
    report
        .stdout
        .must_contain("danger  The definition mxjobs.kubeflow.org is not the one of mxjob: ");
    report.stdout.must_contain("| kubectl apply --server-side --force-conflicts -f -");
    let webhook = "danger  Webhook validator.mxjob.example.org of validatingwebhookconfiguration validator.training-operator";
    report.stdout.must_contain(webhook);
    let refused = migrate(&place, &["--apply"]);
    assert_eq!(
        refused.stderr,
        "mxjob: nothing was adopted, because the cluster's CRD of MXJobs would drop fields; --force adopts the jobs anyway\n"
    );

    // Runs the commands of the report.
    let patch = report.stdout.split("kubectl patch ").nth(1).unwrap().lines().next().unwrap();
    let (target, body) = patch.split_once(" --type json -p ").unwrap();
    let (kind, name) = target.split_once(' ').unwrap();
    server.kubectl(&["patch", kind, name, "--type", "json", "-p", body.trim_matches('\'')]);
    server.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", OURS]);
    let done = migrate(&place, &["--apply"]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(!done.stdout.contains("danger"), "{}", done.stdout);
    let status = &server.get("mxjob", "digits")["status"];
    assert_eq!(status["mxReplicaStatuses"]["Worker"]["active"], 2, "{status}");
}
