//! A minimal API server for the agent: objects by path, one list of changes, no validation.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type HttpResponse = Response<UnsyncBoxBody<bytes::Bytes, io::Error>>;

/// The server. Clones share their state.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<ServerState>>,
    /// The newest revision.
    changed: watch::Sender<usize>,
}

#[derive(Default)]
struct ServerState {
    objects: BTreeMap<String, Value>,
    /// Path, type of change, object. The revision is the index plus one.
    changes: Vec<(String, &'static str, Value)>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: watch::channel(0).0 }
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// The current version of an object.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    /// All objects below a path.
    pub(crate) fn list(&self, prefix: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(prefix))
            .map(|(_, one)| one.clone())
            .collect()
    }

    pub(crate) fn create(&self, collection: &str, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut state = self.state.lock().unwrap();
        let uid = format!("uid-{name}-{}", state.changes.len());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = uid.into();
        }
        self.put(&mut state, &format!("{collection}/{name}"), "ADDED", object)
    }

    pub(crate) fn merge(&self, path: &str, patch: &Value) -> Option<Value> {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects.get(path)?.clone();
        merge(&mut object, patch);
        if state.objects.get(path) == Some(&object) {
            return Some(object);
        }
        Some(self.put(&mut state, path, "MODIFIED", object))
    }

    /// Replaces only the status with `/status`, otherwise everything except the status.
    fn replace(&self, path: &str, mut object: Value) -> Option<Value> {
        let mut state = self.state.lock().unwrap();
        let own_path = path.trim_end_matches("/status");
        let mut old = state.objects.get(own_path)?.clone();
        if own_path == path {
            object["metadata"]["uid"] = old["metadata"]["uid"].take();
            object["status"] = old["status"].take();
        } else {
            old["status"] = object["status"].take();
            object = old;
        }
        Some(self.put(&mut state, own_path, "MODIFIED", object))
    }

    /// Removes the object with a grace period of 0; otherwise only marks it as deleted.
    pub(crate) fn delete(&self, path: &str, grace: i64) -> Option<Value> {
        if grace > 0 {
            let marks = json!({ "metadata": {
                "deletionTimestamp": "2026-11-24T08:00:00Z",
                "deletionGracePeriodSeconds": grace,
            } });
            return self.merge(path, &marks);
        }
        let mut state = self.state.lock().unwrap();
        let object = state.objects.get(path)?.clone();
        self.put(&mut state, path, "DELETED", object);
        state.objects.remove(path)
    }

    /// Waits until an object matches. Returns it.
    pub(crate) async fn until(
        &self,
        path: &str,
        matches: impl Fn(Option<&Value>) -> bool,
    ) -> Value {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                changed.borrow_and_update();
                let now = self.get(path);
                if matches(now.as_ref()) {
                    return now.unwrap_or_default();
                }
                changed.changed().await.unwrap();
            }
        };
        let limit = std::time::Duration::from_secs(60);
        match tokio::time::timeout(limit, wait).await {
            Ok(object) => object,
            Err(_) => panic!("{path} stayed {:#?}", self.get(path)),
        }
    }

    fn put(
        &self,
        state: &mut ServerState,
        path: &str,
        kind: &'static str,
        mut object: Value,
    ) -> Value {
        let revision = state.changes.len() + 1;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        state.objects.insert(path.to_owned(), object.clone());
        state.changes.push((path.to_owned(), kind, object.clone()));
        self.changed.send_replace(revision);
        object
    }

    async fn respond(self, request: Request<Body>) -> HttpResponse {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if method == Method::GET && query.contains("watch=true") {
            return self.watch(&path, &query);
        }
        let object_path = path.trim_end_matches("/status").trim_end_matches("/binding");
        let found = match method {
            Method::GET if is_collection(&path) => Some(self.list_response(&path)),
            Method::GET => self.get(object_path),
            Method::PATCH => self.merge(object_path, &body),
            Method::DELETE => {
                self.delete(object_path, body["gracePeriodSeconds"].as_i64().unwrap_or(0))
            }
            Method::POST if path.ends_with("/binding") => {
                let patch = json!({ "spec": { "nodeName": body["target"]["name"] } });
                self.merge(object_path, &patch)
                    .map(|_| json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
            }
            Method::PUT => self.replace(&path, body),
            _ => Some(self.create(&path, body)),
        };
        let (code, value) = match found {
            Some(value) => (200, value),
            None => (
                404,
                json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                    "reason": "NotFound", "message": format!("{path} not found"),
                }),
            ),
        };
        let body =
            Full::new(value.to_string().into()).map_err(|never| match never {}).boxed_unsync();
        Response::builder().status(code).body(body).unwrap()
    }

    fn list_response(&self, collection: &str) -> Value {
        let state = self.state.lock().unwrap();
        let revision = state.changes.len().to_string();
        let items: Vec<&Value> = state
            .objects
            .iter()
            .filter(|(path, _)| belongs(path, collection))
            .map(|(_, object)| object)
            .collect();
        json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": revision }, "items": items })
    }

    fn watch(&self, collection: &str, query: &str) -> HttpResponse {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .and_then(|revision| revision.parse().ok())
            .unwrap_or(0);
        let (server, collection) = (self.clone(), collection.to_owned());
        let lines = stream::unfold((from, self.changed.subscribe()), move |(from, mut changed)| {
            let (server, collection) = (server.clone(), collection.clone());
            async move {
                while *changed.borrow_and_update() <= from {
                    changed.changed().await.ok()?;
                }
                let state = server.state.lock().unwrap();
                let mut text = String::new();
                for (path, kind, object) in state.changes.iter().skip(from) {
                    if belongs(path, &collection) {
                        text.push_str(&json!({ "type": kind, "object": object }).to_string());
                        text.push('\n');
                    }
                }
                let next = state.changes.len();
                drop(state);
                Some((text, (next, changed)))
            }
        });
        let frames = lines.map(|text| Ok(http_body_frame(text)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn http_body_frame(text: String) -> http_body::Frame<bytes::Bytes> {
    http_body::Frame::data(text.into())
}

/// `/api/v1/pods` and `/api/v1/namespaces/ns/pods`, but not `…/pods/name`.
fn is_collection(path: &str) -> bool {
    let words: Vec<&str> = path.trim_start_matches("/api").split('/').collect();
    matches!(words.as_slice(), [.., "v1", _] | [.., "namespaces", _, _])
}

/// Whether an object is in a collection of one namespace or of all.
fn belongs(path: &str, collection: &str) -> bool {
    let Some((own, _)) = path.rsplit_once('/') else { return false };
    if own == collection {
        return true;
    }
    let mut words: Vec<&str> = own.split('/').collect();
    if let Some(at) = words.iter().position(|word| *word == "namespaces") {
        words.drain(at..(at + 2).min(words.len()));
    }
    words.join("/") == collection
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

impl tower_service::Service<Request<Body>> for Fake {
    type Response = HttpResponse;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpResponse>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.respond(request).await) })
    }
}
