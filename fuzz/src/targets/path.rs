//! Paths, with every method.

use super::query::sendable;
use crate::server::{self, Call};

pub(super) const WORDS: &[&str] = &[
    "/",
    "api",
    "apis",
    "v1",
    "kubeflow.org",
    "namespaces",
    "default",
    "kube-system",
    "pods",
    "mxjobs",
    "configmaps",
    "secrets",
    "nodes",
    "events",
    "log",
    "status",
    "exec",
    "attach",
    "portforward",
    "eviction",
    "binding",
    "token",
    "serviceaccounts",
    "scale",
    "watch",
    "proxy",
    "finalize",
    "openapi",
    "v2",
    "v3",
    "version",
    "healthz",
    "livez",
    "readyz",
    "metrics",
    "authorization.k8s.io",
    "selfsubjectaccessreviews",
    "rbac.authorization.k8s.io",
    "clusterroles",
    "events.k8s.io",
    "a",
    "%2F",
    "%2e%2e",
    "..",
];

pub(super) fn run(input: &[u8]) {
    let path = sendable(input);
    if !path.starts_with('/') {
        return;
    }
    server::with(|server| {
        let path = path.replace("NS", &server.namespace());
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            server.send(Call::new(method, &path).with("application/json", b"{}"));
        }
    });
}
