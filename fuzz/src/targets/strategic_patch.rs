//! Strategic merge patches.

use mxjob_machinery::{json, merge_keys, strategic};

use crate::server;

pub(super) const WORDS: &[&str] = &[
    "$patch",
    "replace",
    "delete",
    "merge",
    "$retainKeys",
    "$setElementOrder/containers",
    "$setElementOrder/env",
    "$setElementOrder/finalizers",
    "$deleteFromPrimitiveList/finalizers",
    "$deleteFromPrimitiveList/command",
    "$x",
    "metadata",
    "labels",
    "finalizers",
    "ownerReferences",
    "uid",
    "spec",
    "containers",
    "name",
    "env",
    "ports",
    "containerPort",
    "protocol",
    "volumes",
    "emptyDir",
    "tolerations",
    "key",
    "status",
    "conditions",
    "type",
    "image",
    "a",
    "A",
    "data",
    "value",
    "valueFrom",
    "imagePullSecrets",
    "volumeMounts",
    "mountPath",
];

pub(super) fn run(input: &[u8]) {
    if let Ok(value) = json::decode(input) {
        let document = serde_json::json!({
            "metadata": {"name": "a", "finalizers": ["a", "b"]},
            "spec": {"containers": [{"name": "a", "env": [{"name": "A"}, {"name": "B"}]}, {"name": "b"}, {}]},
        });
        for kind in ["Pod", "ConfigMap"] {
            let _ = strategic::patch(&document, &value, merge_keys::shape("v1", kind));
        }
    }
    server::with(|server| server.patch("application/strategic-merge-patch+json", input));
}
