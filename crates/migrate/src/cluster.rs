//! Requests to the cluster whose jobs are migrated, with objects as JSON.

use serde_json::Value;

use crate::patch::Patch;

/// Objects per page of a list.
const PAGE_SIZE: u32 = 500;
/// The field manager of the patches.
const FIELD_MANAGER: &str = "mxjob-migrate";

/// A client of a cluster's API server.
pub trait Cluster {
    /// Reads a path of the API, such as `/api/v1/namespaces/default/pods?limit=500`.
    fn get(&self, path: &str) -> impl Future<Output = Result<Value, RequestError>>;

    /// Sends a JSON merge patch (`application/merge-patch+json`) to a path of the API.
    fn merge_patch(
        &self,
        path: &str,
        body: &Value,
    ) -> impl Future<Output = Result<(), RequestError>>;
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// The server's status code; none if it did not answer.
    pub code: Option<u16>,
    /// The server's message, or why there was no answer.
    pub message: String,
}

// === impl RequestError ===

impl RequestError {
    pub(crate) fn is(&self, code: u16) -> bool {
        self.code == Some(code)
    }
}

/// All objects of a collection.
pub(crate) async fn list(cluster: &impl Cluster, path: &str) -> Result<Vec<Value>, RequestError> {
    let mut items = Vec::new();
    let mut query = format!("?limit={PAGE_SIZE}");
    loop {
        let mut list = match cluster.get(&format!("{path}{query}")).await {
            Ok(list) => list,
            // The snapshot expired between two pages: read the whole list in one request.
            Err(error) if error.is(410) && !query.is_empty() => {
                items.clear();
                query.clear();
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Value::Array(page) = list["items"].take() {
            items.extend(page);
        }
        match list["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => {
                query = format!("?limit={PAGE_SIZE}&continue={}", percent_encoded(token));
            }
            _ => return Ok(items),
        }
    }
}

/// Sends a patch. Its body names the uid; with `version` it also fails if the object has changed
/// since it was read.
pub(crate) async fn send(
    cluster: &impl Cluster,
    patch: &Patch,
    version: Option<&Value>,
) -> Result<(), RequestError> {
    let (group, api, plural, subresource) = patch.target.resource();
    let root =
        if group.is_empty() { format!("/api/{api}") } else { format!("/apis/{group}/{api}") };
    let mut path = format!("{root}/namespaces/{}/{plural}/{}", patch.namespace, patch.name);
    if let Some(subresource) = subresource {
        path = format!("{path}/{subresource}");
    }
    let mut body = patch.body.clone();
    if let Some(version) = version {
        body["metadata"]["resourceVersion"] = version.clone();
    }
    cluster.merge_patch(&format!("{path}?fieldManager={FIELD_MANAGER}"), &body).await
}

/// A value for a query. Continue tokens are opaque, and some contain `=` or `+`.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use serde_json::json;

    use super::*;

    /// Answers requests in order and keeps their paths.
    struct Script {
        answers: RefCell<Vec<Result<Value, RequestError>>>,
        paths: RefCell<Vec<String>>,
    }

    impl Cluster for Script {
        async fn get(&self, path: &str) -> Result<Value, RequestError> {
            self.paths.borrow_mut().push(path.to_owned());
            self.answers.borrow_mut().remove(0)
        }

        async fn merge_patch(&self, _: &str, _: &Value) -> Result<(), RequestError> {
            panic!("nothing is patched");
        }
    }

    #[test]
    fn list_reads_every_page_and_starts_again_when_the_snapshot_expires() {
        let expired = RequestError { code: Some(410), message: "expired".to_owned() };
        let answers = vec![
            Ok(json!({"items": [1], "metadata": {"continue": "a=+"}})),
            Err(expired),
            Ok(json!({"items": [1, 2]})),
        ];
        let script = Script { answers: RefCell::new(answers), paths: RefCell::default() };
        let mut listing = pin!(list(&script, "/api/v1/pods"));
        let listed = listing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(listed, Poll::Ready(Ok(vec![json!(1), json!(2)])));
        let expected =
            ["/api/v1/pods?limit=500", "/api/v1/pods?limit=500&continue=a%3D%2B", "/api/v1/pods"];
        assert_eq!(*script.paths.borrow(), expected);
    }
}
