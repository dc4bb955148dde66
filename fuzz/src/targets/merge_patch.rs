//! JSON merge patches (RFC 7386).

use mxjob_machinery::{json, patch};

use crate::server;

pub(super) fn run(input: &[u8]) {
    if let Ok(value) = json::decode(input) {
        let document =
            serde_json::json!({"metadata": {"name": "a"}, "spec": {"a": [1], "b": {"c": 1}}});
        let once = patch::merge_patch(&document, &value);
        assert_eq!(
            patch::merge_patch(&once, &value),
            once,
            "the second time, the same patch changed the document"
        );
    }
    server::with(|server| server.patch("application/merge-patch+json", input));
}
