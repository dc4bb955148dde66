//! The CustomResourceDefinition, generated from the types.

use crate::{mxjob, schema};
use serde_json::{Value, json};

/// First line of the file.
const HEADER: &str = "# Generated from the types by `cargo xtask codegen`; do not edit.\n";

/// The definition as the YAML file `manifests/mxjobs.kubeflow.org.yaml`.
pub fn crd_yaml() -> String {
    format!("{HEADER}{}", mxjob_machinery::json::to_yaml(&crd()))
}

/// The definition that a Kubernetes cluster needs to serve MXJobs.
pub fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", mxjob::PLURAL, mxjob::GROUP) },
        "spec": {
            "group": mxjob::GROUP,
            "names": {
                "kind": mxjob::KIND,
                "listKind": mxjob::LIST_KIND,
                "plural": mxjob::PLURAL,
                "singular": mxjob::SINGULAR,
                "shortNames": [mxjob::SHORT_NAME],
                "categories": [mxjob::CATEGORY],
            },
            "scope": "Namespaced",
            // What a server fills in; said here so that the file and what is read back are the same.
            "conversion": { "strategy": "None" },
            "versions": [{
                "name": mxjob::VERSION,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "State", "type": "string", "jsonPath": ".status.conditions[-1:].type" },
                    { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                ],
                "schema": { "openAPIV3Schema": schema::open_api() },
            }],
        },
    })
}
