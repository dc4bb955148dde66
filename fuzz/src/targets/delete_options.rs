//! Bodies of deletes.

use crate::server::{self, Call};

pub(super) const WORDS: &[&str] = &[
    "apiVersion",
    "kind",
    "v1",
    "DeleteOptions",
    "Pod",
    "gracePeriodSeconds",
    "preconditions",
    "uid",
    "resourceVersion",
    "propagationPolicy",
    "Orphan",
    "Background",
    "Foreground",
    "orphanDependents",
    "dryRun",
    "All",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "meta.k8s.io/v1",
];

pub(super) fn run(input: &[u8]) {
    server::with(|server| {
        for path in [
            "/api/v1/namespaces/{}/pods/a",
            "/apis/kubeflow.org/v1/namespaces/{}/mxjobs/a",
            "/api/v1/namespaces/{}/configmaps",
            "/api/v1/namespaces/{}",
        ] {
            for content_type in ["application/json", "application/yaml"] {
                let uri = path.replace("{}", &server.namespace());
                server.send(Call::new("DELETE", &uri).with(content_type, input));
            }
        }
    });
}
