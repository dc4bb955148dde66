//! Requests to an API server, as RBAC names them, and their results.

use http::Method;
use serde_json::Value;
use tokio::time::Instant;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural, with the subresource if there is one; the path if it is not a resource.
    pub resource: String,
    /// Empty for all namespaces.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
}

/// A request and its result.
#[derive(Clone, Debug)]
pub struct Record {
    /// The request.
    pub request: Request,
    /// The status code that the client received; 0 if it received none.
    pub code: u16,
    /// The status code of the server; 0 if the server did not receive the request, or had not
    /// answered when the connection broke.
    pub server_code: u16,
    /// When the result was known.
    pub at: Instant,
}

// === impl Request ===

impl Request {
    /// Reads method, path, query and body.
    #[must_use]
    pub fn read(method: &Method, path: &str, query: &str, body: &[u8]) -> Self {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => {
                let resource = path.to_owned();
                let (group, namespace, name) = Default::default();
                return Self { verb: "get", group, resource, namespace, name };
            }
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let mut name = rest.get(1).copied().unwrap_or_default().to_owned();
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
            (other, _) => panic!("unexpected method {other}"),
        };
        if name.is_empty() && verb == "create" {
            let object: Value = serde_json::from_slice(body).unwrap_or_default();
            name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        Self { verb, group: group.to_owned(), resource, namespace: namespace.to_owned(), name }
    }

    /// Whether it changes something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Whether it concerns leader election.
    #[must_use]
    pub fn is_lease(&self) -> bool {
        self.resource == "leases"
    }

    /// The permission that it needs: `create pods`, `patch mxjobs/status`.
    #[must_use]
    pub fn permission(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    /// `create pods digits-worker-0`, `watch mxjobs`, `patch mxjobs/status digits`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {}", self.verb, self.resource, self.name).trim_end().to_owned()
    }
}

// === impl Record ===

impl Record {
    /// A line for a failed test's output.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { request, code, server_code, at } = self;
        let ago = at.elapsed().as_millis();
        format!("{ago} ms ago: {} {code} ({server_code} by the server)", request.text())
    }

    /// Whether the server carried it out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.server_code)
    }
}
