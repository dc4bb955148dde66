//! Continue tokens of lists: changed content, and other text in their place.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::query::escape;
use crate::server::{self, Call};

pub(super) const WORDS: &[&str] = &[
    "v",
    "rv",
    "start",
    "meta.k8s.io/v1",
    "meta.k8s.io/v2",
    "/",
    "..",
    "/a\u{0}",
    "/fuzz-1/a\u{0}",
    "\u{0}",
    "/fuzz-1/",
    ".",
];

pub(super) fn run(input: &[u8]) {
    server::with(|server| {
        let namespace = server.namespace();
        for token in [URL_SAFE_NO_PAD.encode(input), escape(input)] {
            for list in [
                "/apis/kubeflow.org/v1/mxjobs".to_owned(),
                format!("/api/v1/namespaces/{namespace}/pods"),
            ] {
                let mut uri = format!("{list}?limit=1&continue={token}");
                // The token in the answer continues the list; every page is a step forward.
                for _ in 0..3 {
                    let Some(answer) = server.send(Call::get(&uri)) else { break };
                    let page: serde_json::Value =
                        serde_json::from_slice(&answer.body).unwrap_or_default();
                    let Some(next) =
                        page["metadata"]["continue"].as_str().filter(|next| !next.is_empty())
                    else {
                        break;
                    };
                    uri = format!("{list}?limit=1&continue={next}");
                }
            }
            server.send(Call::new(
                "DELETE",
                &format!("/api/v1/namespaces/{namespace}/configmaps?limit=1&continue={token}"),
            ));
        }
    });
}
