//! The CustomResourceDefinition, generated from the types, and its comparison with the one of a
//! cluster.

mod compare;

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::{mxjob, schema};

pub use compare::{Difference, FIX_COMMAND, Verdict, compare};

/// First line of the file.
const HEADER: &str = "# Generated from the types by `cargo xtask codegen`; do not edit.\n";

/// The annotation that marks our definition; its value is [`schema_id`].
pub const SCHEMA_ANNOTATION: &str = "mxjob.kubeflow.org/schema";

/// Incremented with each release that changes the definition, to order older and newer ones.
const REVISION: u32 = 1;

static ID: LazyLock<String> = LazyLock::new(|| {
    let hash = fnv1a(spec().to_string().as_bytes());
    format!("{REVISION}.{hash:016x}")
});

/// The definition as the YAML file `manifests/mxjobs.kubeflow.org.yaml`.
pub fn crd_yaml() -> String {
    format!("{HEADER}{}", mxjob_machinery::yaml::encode(&crd()))
}

/// Identifies this program's definition: `{revision}.{hash of its spec}`.
pub fn schema_id() -> &'static str {
    &ID
}

/// The definition that a Kubernetes cluster needs to serve MXJobs.
pub fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": name(), "annotations": { SCHEMA_ANNOTATION: schema_id() } },
        "spec": spec(),
    })
}

fn name() -> String {
    format!("{}.{}", mxjob::PLURAL, mxjob::GROUP)
}

fn spec() -> Value {
    let column = |name: &str, kind: &str, path: &str, description: &str| json!({ "name": name, "type": kind, "jsonPath": path, "description": description });
    let wide = |name: &str, kind: &str, path: &str, description: &str| {
        let mut column = column(name, kind, path, description);
        column["priority"] = 1.into();
        column
    };
    let workers = |count: &str| format!(".status.replicaStatuses.Worker.{count}");
    json!({
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
        // Defaults of the API server, set here so that the file equals what is read back.
        "conversion": { "strategy": "None" },
        // The first operators' definition says true; an update must reset it.
        "preserveUnknownFields": false,
        "versions": [{
            "name": mxjob::VERSION,
            "served": true,
            "storage": true,
            "subresources": { "status": {} },
            "additionalPrinterColumns": [
                column("State", "string", ".status.conditions[-1:].type", "The state of the job."),
                column("Age", "date", ".metadata.creationTimestamp", "How long ago it was created."),
                wide("Active", "integer", &workers("active"), "Running workers."),
                wide("Succeeded", "integer", &workers("succeeded"), "Workers that succeeded."),
                wide("Failed", "integer", &workers("failed"), "Workers that failed."),
                wide("Started", "date", ".status.startTime", "How long ago the job became active."),
                wide("Finished", "date", ".status.completionTime", "How long ago it finished."),
                wide("Message", "string", ".status.conditions[-1:].message", "The reason for the state."),
            ],
            "schema": { "openAPIV3Schema": schema::of_definition() },
        }],
    })
}

/// A stable hash of a text. It protects against mistakes, not against attacks.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
