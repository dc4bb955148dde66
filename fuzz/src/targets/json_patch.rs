//! JSON patches (RFC 6902).

use mxjob_machinery::{json, patch};

use crate::server;

pub(super) const WORDS: &[&str] = &[
    "op",
    "path",
    "value",
    "from",
    "add",
    "remove",
    "replace",
    "move",
    "copy",
    "test",
    "",
    "/",
    "/-",
    "/metadata",
    "/metadata/labels",
    "/metadata/labels/app",
    "/metadata/name",
    "/metadata/uid",
    "/metadata/resourceVersion",
    "/metadata/managedFields",
    "/metadata/managedFields/0",
    "/metadata/finalizers/-",
    "/spec",
    "/spec/containers/0",
    "/spec/containers/-1",
    "/spec/containers/00",
    "/spec/mxReplicaSpecs/Worker/replicas",
    "/status",
    "/a~1b",
    "/a~0b",
    "/a~2b",
    "~",
    "/spec/mxReplicaSpecs/Worker/template/spec/containers/0/image",
    "/spec/containers/18446744073709551616",
    "/apiVersion",
    "/kind",
    "a",
];

pub(super) fn run(input: &[u8]) {
    if let Ok(value) = json::decode(input) {
        let document = serde_json::json!({"a": [1, {"b": null}], "c": "d"});
        let _ = patch::json_patch(&document, &value);
        let _ = patch::json_patch_unknown_fields(&value);
    }
    server::with(|server| server.patch("application/json-patch+json", input));
}
