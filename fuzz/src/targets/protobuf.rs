//! Bodies in protobuf, which are decoded with a table of messages.

use crate::server::{self, Call};

pub(super) const WORDS: &[&str] = &[
    "k8s\0",
    "\n",
    "\u{12}",
    "\u{1a}",
    "\u{8}\u{1}",
    "v1",
    "ConfigMap",
    "Secret",
    "Role",
    "Namespace",
    "SelfSubjectAccessReview",
    "rbac.authorization.k8s.io/v1",
    "authorization.k8s.io/v1",
    "DeleteOptions",
    "a",
    "data",
];

pub(super) fn run(input: &[u8]) {
    const TYPE: &str = "application/vnd.kubernetes.protobuf";
    server::with(|server| {
        for (method, path) in [
            ("POST", "/api/v1/namespaces/{}/configmaps"),
            ("POST", "/api/v1/namespaces/{}/secrets"),
            ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            ("POST", "/api/v1/namespaces/{}/serviceaccounts/default/token"),
            ("DELETE", "/api/v1/namespaces/{}/configmaps/a"),
        ] {
            let uri = path.replace("{}", &server.namespace());
            server.send(Call::new(method, &uri).with(TYPE, input));
        }
    });
}
