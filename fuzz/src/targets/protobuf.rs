//! Bodies in protobuf, which are decoded with a table of messages.

use mxjob_protobuf::{MEDIA_TYPE, decode, encode};

use crate::server::{self, Call};

/// The largest body that the server reads.
const LIMIT: usize = 3 * 1024 * 1024;

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
    "Pod",
    "Lease",
    "Binding",
    "CustomResourceDefinition",
    "SelfSubjectAccessReview",
    "rbac.authorization.k8s.io/v1",
    "authorization.k8s.io/v1",
    "coordination.k8s.io/v1",
    "apiextensions.k8s.io/v1",
    "DeleteOptions",
    "a",
    "data",
];

/// Where an object that was decoded goes: its kind, and the method and path of its write.
const WRITES: &[(&str, &str, &str)] = &[
    ("ConfigMap", "POST", "/api/v1/namespaces/{}/configmaps"),
    ("Secret", "POST", "/api/v1/namespaces/{}/secrets"),
    ("Lease", "POST", "/apis/coordination.k8s.io/v1/namespaces/{}/leases"),
    ("PodDisruptionBudget", "POST", "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"),
    ("CustomResourceDefinition", "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("Role", "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"),
    ("SelfSubjectAccessReview", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ("TokenRequest", "POST", "/api/v1/namespaces/{}/serviceaccounts/default/token"),
    ("Binding", "POST", "/api/v1/namespaces/{}/pods/a/binding"),
    ("Eviction", "POST", "/api/v1/namespaces/{}/pods/a/eviction"),
    ("DeleteOptions", "DELETE", "/api/v1/namespaces/{}/configmaps/a"),
];

pub(super) fn run(input: &[u8]) {
    let decoded = decode(input, ("v1", "ConfigMap"), LIMIT);
    let kind = decoded.as_ref().ok().and_then(|object| object["kind"].as_str().map(str::to_owned));
    if let Ok(object) = &decoded {
        let bytes = encode(object).expect("a kind that is read can be written");
        let again = decode(&bytes, ("", ""), usize::MAX).expect("what was written can be read");
        assert_eq!(encode(&again), Some(bytes), "what was read again is the same");
    }
    server::with(|server| {
        for (of, method, path) in WRITES {
            // A body of another kind is refused by all alike: one of them is enough.
            if kind.as_deref().map_or(*of == "ConfigMap", |kind| kind == *of) {
                let uri = path.replace("{}", &server.namespace());
                server.send(Call::new(method, &uri).with(MEDIA_TYPE, input));
            }
        }
    });
}
