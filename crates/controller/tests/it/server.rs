//! An API server in memory, with only what the controller needs: collections, watches, merge
//! patches of a status, preconditions.
//!
//! It records writes, can refuse one, and can hold a watch back.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};
use tokio::sync::watch;

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    revision: watch::Sender<u64>,
    /// Resources whose watches deliver nothing for now.
    held: watch::Sender<Vec<String>>,
}

#[derive(Default)]
struct State {
    /// By resource, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    log: Vec<(u64, String, &'static str, Value)>,
    revision: u64,
    /// `POST pods digits-worker-0`, `PATCH mxjobs digits`, …
    writes: Vec<String>,
    refusals: Vec<(String, StatusCode, &'static str)>,
    lists: Vec<String>,
    /// `list pods`, `patch mxjobs/status`: all requests of the client.
    asked: BTreeSet<String>,
    /// What the client may not do, in the same format.
    forbidden: Vec<String>,
    /// Resources that are not served.
    missing: Vec<String>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            revision: watch::channel(0).0,
            held: watch::channel(Vec::new()).0,
        }
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// Creates or changes an object, as another client would.
    pub(crate) fn put(&self, resource: &str, object: &Value) -> Value {
        let mut state = self.state.lock().unwrap();
        let stored = state.store(resource, object.clone());
        drop(state);
        self.publish();
        stored
    }

    /// Changes an object by a function.
    pub(crate) fn change(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(resource, name).unwrap_or_else(|| panic!("there is no {name}"));
        change(&mut object);
        self.put(resource, &object);
    }

    /// Deletes an object, as a node or the garbage collector does.
    pub(crate) fn remove(&self, resource: &str, name: &str) {
        self.state.lock().unwrap().remove(resource, name);
        self.publish();
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Option<Value> {
        let key = (resource.to_owned(), "default".to_owned(), name.to_owned());
        self.state.lock().unwrap().objects.get(&key).cloned()
    }

    pub(crate) fn all(&self, resource: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state
            .objects
            .iter()
            .filter(|((of, ..), _)| of == resource)
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        self.state.lock().unwrap().writes.clone()
    }

    pub(crate) fn lists(&self) -> Vec<String> {
        self.state.lock().unwrap().lists.clone()
    }

    /// All requests of the client, as verb and resource.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Refuses the next write of that description (`POST pods digits-worker-0`).
    pub(crate) fn refuse(&self, write: &str, code: StatusCode, reason: &'static str) {
        self.state.lock().unwrap().refusals.push((write.to_owned(), code, reason));
    }

    /// Forbids these requests (`list pods`); an empty list allows everything again.
    pub(crate) fn forbid(&self, verbs: &[&str]) {
        self.state.lock().unwrap().forbidden = verbs.iter().map(|&verb| verb.to_owned()).collect();
    }

    /// Does not serve these resources for now.
    pub(crate) fn stop_serving(&self, resources: &[&str]) {
        self.state.lock().unwrap().missing =
            resources.iter().map(|&resource| resource.to_owned()).collect();
    }

    /// Holds the watch of these resources back.
    pub(crate) fn hold(&self, resources: &[&str]) {
        self.held.send_replace(resources.iter().map(|&resource| resource.to_owned()).collect());
    }

    /// Waits until a condition on the server is true; every change triggers a check.
    pub(crate) async fn wait_for(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let mut revision = self.revision.subscribe();
        let waiting = async {
            while !is_true(self) {
                revision.changed().await.unwrap();
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok();
        assert!(
            in_time,
            "{what} never came true; writes: {:#?}\nobjects: {:#?}",
            self.writes(),
            self.all("mxjobs")
        );
    }

    fn publish(&self) {
        self.revision.send_replace(self.state.lock().unwrap().revision);
    }

    async fn answer(self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let rest = if segments[0] == "api" { &segments[2..] } else { &segments[3..] };
        let (namespace, rest) =
            if rest.first() == Some(&"namespaces") { (rest[1], &rest[2..]) } else { ("", rest) };
        let Some(&resource) = rest.first() else {
            let served = json!({ "kind": "APIResourceList", "groupVersion": segments[1..].join("/"), "resources": [] });
            let body = http_body_util::Full::new(Bytes::from(served.to_string()));
            return Response::new(body.boxed_unsync());
        };
        let query = parts.uri.query().unwrap_or_default();
        let is_watch = parts.method == Method::GET && query.contains("watch=true");
        let verb = match parts.method.as_str() {
            "GET" if is_watch => "watch",
            "GET" if rest.len() == 1 => "list",
            "GET" => "get",
            "POST" => "create",
            "PATCH" => "patch",
            _ => "delete",
        };
        if let Some(refusal) = self.state.lock().unwrap().refusal(verb, &rest.join("/"), resource) {
            return refusal;
        }
        if is_watch {
            return self.watch(resource, query);
        }
        let name =
            rest.get(1).copied().or_else(|| body["metadata"]["name"].as_str()).unwrap_or_default();
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let is_status = rest.get(2) == Some(&"status");
        let result = self.state.lock().unwrap().act(&parts.method, &key, &body, query, is_status);
        self.publish();
        match result {
            Ok(value) => respond(StatusCode::OK, &value),
            Err((code, reason)) => {
                respond(code, &status(code, reason, &format!("{resource} {name:?}: {reason}")))
            }
        }
    }

    fn watch(&self, resource: &str, query: &str) -> Answer {
        let from = parameter(query, "resourceVersion").unwrap_or_default().parse().unwrap();
        let body = StreamBody::new(self.events(resource.to_owned(), query.to_owned(), from).map(
            |event| {
                let line = format!("{event}\n");
                Ok(http_body::Frame::data(Bytes::from(line)))
            },
        ));
        Response::builder().status(StatusCode::OK).body(body.boxed_unsync()).unwrap()
    }

    fn events(
        &self,
        resource: String,
        query: String,
        from: u64,
    ) -> impl Stream<Item = Value> + use<> {
        let (server, revision, held) =
            (self.clone(), self.revision.subscribe(), self.held.subscribe());
        stream::unfold(
            (server, revision, held, from),
            move |(server, mut revision, mut held, from)| {
                let (resource, query) = (resource.clone(), query.clone());
                async move {
                    loop {
                        held.wait_for(|held| !held.contains(&resource)).await.unwrap();
                        let next = {
                            let state = server.state.lock().unwrap();
                            let mut events = state.log.iter();
                            events
                                .find(|(at, of, _, object)| {
                                    *at > from && *of == resource && is_selected(object, &query)
                                })
                                .cloned()
                        };
                        if let Some((at, _, kind, object)) = next {
                            return Some((
                                json!({ "type": kind, "object": object }),
                                (server, revision, held, at),
                            ));
                        }
                        revision.changed().await.unwrap();
                    }
                }
            },
        )
    }
}

impl State {
    fn refusal(&mut self, verb: &str, path: &str, resource: &str) -> Option<Answer> {
        let mut segments = path.split('/').skip(2);
        let resource_path = match segments.next() {
            Some(sub) => format!("{resource}/{sub}"),
            None => resource.to_owned(),
        };
        let asked = format!("{verb} {resource_path}");
        self.asked.insert(asked.clone());
        if self.missing.iter().any(|missing| missing == resource) {
            let message = "the server could not find the requested resource";
            return Some(respond(
                StatusCode::NOT_FOUND,
                &status(StatusCode::NOT_FOUND, "NotFound", message),
            ));
        }
        self.forbidden.contains(&asked).then(|| {
            let message = format!(
                "{resource} is forbidden: User \"operator\" cannot {verb} resource \"{resource_path}\" in API group \"\""
            );
            respond(StatusCode::FORBIDDEN, &status(StatusCode::FORBIDDEN, "Forbidden", &message))
        })
    }

    fn act(
        &mut self,
        method: &Method,
        key: &(String, String, String),
        body: &Value,
        query: &str,
        is_status: bool,
    ) -> Result<Value, (StatusCode, &'static str)> {
        let (resource, _, name) = key;
        if *method != Method::GET {
            let write = format!("{method} {resource} {name}");
            self.writes.push(write.clone());
            if let Some(place) = self.refusals.iter().position(|(refused, ..)| *refused == write) {
                let (_, code, reason) = self.refusals.remove(place);
                return Err((code, reason));
            }
        }
        let current = self.objects.get(key).cloned();
        let not_found = (StatusCode::NOT_FOUND, "NotFound");
        let conflict = (StatusCode::CONFLICT, "Conflict");
        match (method.as_str(), current) {
            ("GET", _) if name.is_empty() => {
                self.lists.push(resource.clone());
                let items: Vec<&Value> = self
                    .objects
                    .iter()
                    .filter(|((of, ..), _)| of == resource)
                    .map(|(_, object)| object)
                    .collect();
                let items: Vec<&Value> =
                    items.into_iter().filter(|object| is_selected(object, query)).collect();
                Ok(
                    json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": self.revision.to_string() }, "items": items }),
                )
            }
            ("POST", Some(_)) => Err((StatusCode::CONFLICT, "AlreadyExists")),
            ("POST", None) => Ok(self.store(resource, body.clone())),
            (_, None) => Err(not_found),
            ("GET", Some(object)) => Ok(object),
            ("PATCH", Some(object)) if !is_status => {
                if body["metadata"]["uid"] != object["metadata"]["uid"] {
                    return Err(conflict);
                }
                Ok(self.store(resource, merge_patch(&object, body)))
            }
            ("PATCH", Some(object)) => {
                if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                    return Err(conflict);
                }
                let mut patched = object.clone();
                patched["status"] = merge_patch(&object["status"], &body["status"]);
                Ok(self.store(resource, patched))
            }
            ("DELETE", Some(mut object)) => {
                let expected = &body["preconditions"];
                for field in ["uid", "resourceVersion"] {
                    if expected
                        .get(field)
                        .is_some_and(|expected| *expected != object["metadata"][field])
                    {
                        return Err(conflict);
                    }
                }
                if resource == "pods" {
                    object["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:00:00Z");
                    return Ok(self.store(resource, object));
                }
                self.remove(resource, name);
                Ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
            }
            (method, _) => panic!("{method} is not served"),
        }
    }

    fn store(&mut self, resource: &str, mut object: Value) -> Value {
        self.revision += 1;
        let revision = self.revision;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        let is_new = object["metadata"].get("uid").is_none();
        if is_new {
            object["metadata"]["uid"] = format!("uid-{revision}").into();
        }
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or("default").to_owned();
        let key = (resource.to_owned(), text("namespace"), text("name"));
        self.objects.insert(key, object.clone());
        self.log.push((
            revision,
            resource.to_owned(),
            if is_new { "ADDED" } else { "MODIFIED" },
            object.clone(),
        ));
        object
    }

    fn remove(&mut self, resource: &str, name: &str) {
        let key = (resource.to_owned(), "default".to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key).unwrap_or_else(|| panic!("there is no {name}"));
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.log.push((self.revision, resource.to_owned(), "DELETED", object));
    }
}

impl tower_service::Service<Request<Body>> for Server {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().answer(request).map(Ok).boxed()
    }
}

fn respond(code: StatusCode, value: &Value) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(value.to_string()));
    Response::builder().status(code).body(body.boxed_unsync()).unwrap()
}

fn is_selected(object: &Value, query: &str) -> bool {
    let Some(selector) = parameter(query, "labelSelector") else { return true };
    let (key, value) = selector.split_once("%3D").unwrap();
    object["metadata"]["labels"][key.replace("%2F", "/")] == value
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn status(code: StatusCode, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code.as_u16() })
}
