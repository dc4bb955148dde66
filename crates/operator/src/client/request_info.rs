//! A request in Kubernetes' terms: which verb on which resource.

use http::{Method, Uri};

/// A request as metrics and limits see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: &'static str,
    /// The plural, with the subresource if there is one; for other paths the first segment.
    pub(crate) resource: String,
}

// === impl RequestInfo ===

impl RequestInfo {
    pub(crate) fn of(method: &Method, uri: &Uri) -> Self {
        let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
        let is_resource = match segments.next() {
            Some("api") => segments.next().is_some(),
            Some("apis") => segments.nth(1).is_some(),
            _ => false,
        };
        let mut rest: Vec<&str> = if is_resource { segments.collect() } else { Vec::new() };
        // The operator never requests subresources of a namespace, so a resource in it follows.
        if let ["namespaces", _, _, ..] = rest.as_slice() {
            rest.drain(..2);
        }
        let (resource, is_one) = match rest.as_slice() {
            [] => {
                let first = uri.path().split('/').find(|segment| !segment.is_empty());
                return Self { verb: "get", resource: first.unwrap_or_default().to_owned() };
            }
            [plural] => ((*plural).to_owned(), false),
            [plural, _] => ((*plural).to_owned(), true),
            [plural, _, subresource, ..] => (format!("{plural}/{subresource}"), true),
        };
        let watches = || {
            let mut pairs = uri.query().unwrap_or_default().split('&');
            pairs.any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"))
        };
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if is_one => "delete",
            Method::DELETE => "deletecollection",
            _ if watches() => "watch",
            _ if is_one => "get",
            _ => "list",
        };
        Self { verb, resource }
    }

    /// Whether the answer is a stream without an end.
    pub(crate) fn is_watch(&self) -> bool {
        self.verb == "watch"
    }

    /// Whether the request changes an object.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_kubernetes_names_them() {
        for (method, uri, verb, resource) in [
            ("GET", "/api/v1/pods", "list", "pods"),
            ("GET", "/api/v1/pods?labelSelector=a%3Db&watch=true", "watch", "pods"),
            ("GET", "https://host:1/api/v1/namespaces/n/pods?&watch=1", "watch", "pods"),
            ("POST", "/api/v1/namespaces/n/pods?fieldManager=watch", "create", "pods"),
            ("DELETE", "/api/v1/namespaces/n/services/s", "delete", "services"),
            ("DELETE", "/api/v1/namespaces/n/services", "deletecollection", "services"),
            (
                "PATCH",
                "/apis/kubeflow.org/v1/namespaces/n/mxjobs/j/status",
                "patch",
                "mxjobs/status",
            ),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", "update", "leases"),
            ("GET", "/api/v1/namespaces/n", "get", "namespaces"),
            ("GET", "/api/v1/namespaces", "list", "namespaces"),
            ("GET", "/apis/kubeflow.org/v1", "get", "apis"),
            ("GET", "/api", "get", "api"),
            ("GET", "/version", "get", "version"),
            ("GET", "/", "get", ""),
        ] {
            let info = RequestInfo::of(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!((info.verb, info.resource.as_str()), (verb, resource), "{method} {uri}");
        }
    }

    #[test]
    fn only_what_changes_something_is_a_write() {
        let info = |method: Method, uri: &str| RequestInfo::of(&method, &uri.parse().unwrap());
        assert!(info(Method::POST, "/api/v1/namespaces/n/pods").is_write());
        assert!(!info(Method::GET, "/api/v1/namespaces/n/pods?watch=true").is_write());
    }
}
