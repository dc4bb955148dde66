//! What the operator asked of the API server, request by request.

use std::time::Instant;

use http::Method;
use serde_json::Value;

/// One request, as RBAC would name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: &'static str,
    /// The API group, empty for the core.
    pub(crate) group: String,
    /// The plural, with the subresource if it is one; the whole path of what is no resource.
    pub(crate) resource: String,
    /// Empty for all of them.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) request: Request,
    /// The code of the answer that the client got; 0 if it got none.
    pub(crate) code: u16,
    /// The code of the server's answer; 0 if the server never heard of the request, or had not
    /// answered when the line broke.
    pub(crate) done: u16,
    /// When the answer was known.
    pub(crate) at: Instant,
}

impl Request {
    /// Reads method, path, query and body.
    pub(crate) fn read(method: &Method, path: &str, query: &str, body: &[u8]) -> Self {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => {
                let none = String::new;
                let resource = path.to_owned();
                return Self {
                    verb: "get",
                    group: none(),
                    resource,
                    namespace: none(),
                    name: none(),
                };
            }
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let name = rest.get(1).copied().unwrap_or_default();
        let resource = match rest {
            [resource, _, sub, ..] => format!("{resource}/{sub}"),
            rest => rest[0].to_owned(),
        };
        let is_watch = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let verb = match (method.as_str(), name.is_empty()) {
            ("GET", _) if is_watch => "watch",
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            (other, _) => panic!("a request with {other}"),
        };
        let mut name = name.to_owned();
        if name.is_empty() && verb == "create" {
            let object: Value = serde_json::from_slice(body).unwrap_or_default();
            name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        Self { verb, group: group.to_owned(), resource, namespace: namespace.to_owned(), name }
    }

    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Whether it is about who leads.
    pub(crate) fn is_about_leading(&self) -> bool {
        self.resource == "leases"
    }

    /// `create pods digits-worker-0`, `watch mxjobs`, `patch mxjobs/status digits`.
    pub(crate) fn text(&self) -> String {
        let text = format!("{} {} {}", self.verb, self.resource, self.name);
        text.trim_end().to_owned()
    }
}

impl Record {
    /// For people.
    pub(crate) fn line(&self) -> String {
        let Self { request, code, done, at } = self;
        let ago = at.elapsed().as_millis();
        format!("{ago} ms ago: {} {code} ({done} by the server)", request.text())
    }

    /// Whether the server did it.
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.done)
    }
}
