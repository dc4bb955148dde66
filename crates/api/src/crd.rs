//! The CustomResourceDefinition, generated from the types, and what to think of one that a cluster has.

mod judge;

use crate::{mxjob, schema};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub use judge::{Difference, MENDING, Verdict, judge};

/// First line of the file.
const HEADER: &str = "# Generated from the types by `cargo xtask codegen`; do not edit.\n";

/// The annotation by which a definition of ours is known; its value is [`schema_id`].
pub const SCHEMA_ANNOTATION: &str = "mxjob.kubeflow.org/schema";

/// Goes up by one with each release that changes the definition, so that older and newer can be told apart.
const REVISION: u32 = 1;

static ID: LazyLock<String> = LazyLock::new(|| {
    let hash = fnv1a(spec().to_string().as_bytes());
    format!("{REVISION}.{hash:016x}")
});

/// The definition as the YAML file `manifests/mxjobs.kubeflow.org.yaml`.
pub fn crd_yaml() -> String {
    format!("{HEADER}{}", mxjob_machinery::yaml::encode(&crd()))
}

/// Which definition this program has: `{revision}.{hash of its spec}`.
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
        // What a server fills in; said here so that the file and what is read back are the same.
        "conversion": { "strategy": "None" },
        // The definition of the first operators says true, and an update must take that back.
        "preserveUnknownFields": false,
        "versions": [{
            "name": mxjob::VERSION,
            "served": true,
            "storage": true,
            "subresources": { "status": {} },
            "additionalPrinterColumns": [
                column("State", "string", ".status.conditions[-1:].type", "What has become of the job."),
                column("Age", "date", ".metadata.creationTimestamp", "How long ago it was created."),
                wide("Active", "integer", &workers("active"), "Workers that run."),
                wide("Succeeded", "integer", &workers("succeeded"), "Workers that ended well."),
                wide("Failed", "integer", &workers("failed"), "Workers that failed."),
                wide("Started", "date", ".status.startTime", "How long ago the job became active."),
                wide("Finished", "date", ".status.completionTime", "How long ago it finished."),
                wide("Message", "string", ".status.conditions[-1:].message", "Why it is in that state."),
            ],
            "schema": { "openAPIV3Schema": schema::of_definition() },
        }],
    })
}

/// A short name for a text, the same everywhere and for ever. It guards against mistakes, not against malice.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
