//! The API server of a life, in memory, with everything that can go wrong between it and its
//! client: it is slow, it refuses requests, it carries a request out but loses the answer, it
//! delivers watch events late and twice, and it ends watches. A write may also be the last action
//! of its controller ([`Trouble::crashes`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::clock;
use super::history::History;
use super::random::Random;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Refusal = (StatusCode, &'static str);

/// How often errors happen, per thousand, and how slow requests are, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// Refused writes.
    pub(crate) refusals: u64,
    /// Writes that are carried out and whose answer is lost.
    pub(crate) lost_answers: u64,
    /// Writes that are their controller's last action, carried out or not.
    pub(crate) crashes: u64,
    /// Watch events that are delivered twice.
    pub(crate) duplicates: u64,
    /// Watches that end after an event.
    pub(crate) ended_watches: u64,
    /// The maximum delay of a request or an answer.
    pub(crate) latency: u64,
    /// The maximum delay of a watch event.
    pub(crate) lag: u64,
}

#[derive(Clone)]
pub(crate) struct Cluster {
    state: Arc<Mutex<State>>,
    revision: watch::Sender<u64>,
}

pub(crate) struct State {
    /// By resource and name; there is one namespace.
    pub(crate) objects: BTreeMap<(String, String), Value>,
    logs: BTreeMap<String, Vec<(u64, &'static str, Value)>>,
    pub(crate) revision: u64,
    pub(crate) history: History,
    pub(crate) trouble: Trouble,
    pub(crate) has_crashed: bool,
    random: Random,
}

impl Cluster {
    pub(crate) fn new(random: Random, history: History) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            logs: BTreeMap::new(),
            revision: 0,
            history,
            trouble: Trouble::default(),
            has_crashed: false,
            random,
        };
        Self { state: Arc::new(Mutex::new(state)), revision: watch::channel(0).0 }
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes the objects, and notifies the watches.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (result, revision) = {
            let mut state = self.state();
            let result = act(&mut state);
            (result, state.revision)
        };
        self.revision.send_replace(revision);
        result
    }

    /// Notified of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    async fn way(&self) {
        let ms = {
            let mut state = self.state();
            let longest = state.trouble.latency;
            state.random.between(0, longest)
        };
        tokio::time::sleep_until(clock::instant(clock::now() + ms)).await;
    }

    async fn answer(self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let rest = if segments[0] == "api" { &segments[2..] } else { &segments[3..] };
        let rest = if rest[0] == "namespaces" { &rest[2..] } else { rest };
        let resource = rest[0].to_owned();
        let query = parts.uri.query().unwrap_or_default();
        if parts.method == Method::GET && query.contains("watch=true") {
            let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
            return self.watch(resource, from.unwrap().parse().unwrap());
        }
        if resource == "events" {
            self.state().history.recorded(&body);
            return respond(StatusCode::OK, &body);
        }
        let name = rest.get(1).copied().or_else(|| body["metadata"]["name"].as_str());
        let name = name.unwrap_or_default().to_owned();
        self.way().await;
        let mut result = Err((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
        let is_write = parts.method != Method::GET;
        let (mut is_done, mut is_lost, mut is_last) = (true, false, false);
        if is_write {
            let mut state = self.state();
            let trouble = state.trouble;
            is_last = state.random.chance(trouble.crashes);
            is_done =
                !(state.random.chance(trouble.refusals) || is_last && state.random.chance(500));
            is_lost = state.random.chance(trouble.lost_answers);
        }
        if is_done {
            result = self.act(|state| state.serve(&parts.method, &resource, &name, &body));
        }
        if is_last {
            self.act(|state| state.has_crashed = true);
            self.revision.send_modify(|_| ());
            return std::future::pending().await;
        }
        self.way().await;
        match result {
            Ok(_) if is_lost => refuse((StatusCode::GATEWAY_TIMEOUT, "Timeout")),
            Ok(value) => respond(StatusCode::OK, &value),
            Err(refusal) => refuse(refusal),
        }
    }

    fn watch(&self, resource: String, from: u64) -> Answer {
        let events = self.events(resource, from);
        let frames =
            events.map(|event| Ok(http_body::Frame::data(Bytes::from(format!("{event}\n")))));
        Response::builder()
            .status(StatusCode::OK)
            .body(StreamBody::new(frames).boxed_unsync())
            .unwrap()
    }

    fn events(&self, resource: String, from: u64) -> impl Stream<Item = Value> + use<> {
        struct Watch {
            cluster: Cluster,
            revision: watch::Receiver<u64>,
            from: u64,
            again: Option<Value>,
            is_over: bool,
        }
        let watch = Watch {
            cluster: self.clone(),
            revision: self.changes(),
            from,
            again: None,
            is_over: false,
        };
        stream::unfold(watch, move |mut watch| {
            let resource = resource.clone();
            async move {
                if let Some(event) = watch.again.take() {
                    return Some((event, watch));
                }
                if watch.is_over {
                    return None;
                }
                loop {
                    watch.revision.borrow_and_update();
                    let next = {
                        let state = &mut *watch.cluster.state();
                        let log = state.logs.get(&resource).map_or(&[][..], Vec::as_slice);
                        let place = log.partition_point(|(at, ..)| *at <= watch.from);
                        log.get(place).cloned().map(|next| {
                            let trouble = state.trouble;
                            watch.is_over = state.random.chance(trouble.ended_watches);
                            let is_double = state.random.chance(trouble.duplicates);
                            let lag = state.random.between(0, trouble.lag);
                            let earlier = is_double.then(|| log[place.saturating_sub(1)].clone());
                            (next, earlier, lag)
                        })
                    };
                    let Some(((at, kind, object), earlier, lag)) = next else {
                        if watch.revision.changed().await.is_err() {
                            return None;
                        }
                        continue;
                    };
                    tokio::time::sleep_until(clock::instant(clock::now() + lag)).await;
                    watch.from = at;
                    let event =
                        |kind: &str, object: Value| json!({ "type": kind, "object": object });
                    watch.again = earlier.map(|(_, kind, object)| event(kind, object));
                    return Some((event(kind, object), watch));
                }
            }
        })
    }
}

impl State {
    fn serve(
        &mut self,
        method: &Method,
        resource: &str,
        name: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let conflict = (StatusCode::CONFLICT, "Conflict");
        let current = self.get(resource, name).cloned();
        match (method.as_str(), current) {
            ("GET", _) if name.is_empty() => {
                let items: Vec<&Value> = self.all(resource).collect();
                let metadata = json!({ "resourceVersion": self.revision.to_string() });
                Ok(
                    json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items }),
                )
            }
            ("POST", Some(_)) => Err((StatusCode::CONFLICT, "AlreadyExists")),
            ("POST", None) => {
                self.check_made(resource, body);
                Ok(self.store(resource, body.clone()))
            }
            (_, None) => Err((StatusCode::NOT_FOUND, "NotFound")),
            ("GET", Some(object)) => Ok(object),
            ("PATCH", Some(object)) if resource == "podgroups" => {
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
                self.history.status_written(&object, &patched, self.revision + 1);
                Ok(self.store(resource, patched))
            }
            ("DELETE", Some(object)) => {
                for field in ["uid", "resourceVersion"] {
                    let expected = &body["preconditions"][field];
                    if !expected.is_null() && *expected != object["metadata"][field] {
                        return Err(conflict);
                    }
                }
                if resource == "pods" {
                    self.history.controller_removes(&object);
                }
                self.delete(resource, name);
                Ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
            }
            (method, _) => panic!("{method} is not served"),
        }
    }

    fn check_made(&mut self, resource: &str, body: &Value) {
        let Self { objects, history, .. } = self;
        let of = |expected: &str| {
            let all = objects.iter().filter(move |((of, _), _)| of == expected);
            all.map(|(_, object)| object.clone()).collect::<Vec<_>>()
        };
        history.made(resource, body, &of("mxjobs"), &of("pods"), &of("services"));
    }

    /// Deletes an object as a server does: a pod is marked, and its node removes it.
    pub(crate) fn delete(&mut self, resource: &str, name: &str) {
        let Some(mut object) = self.get(resource, name).cloned() else { return };
        if resource == "pods" {
            if object["metadata"].get("deletionTimestamp").is_none() {
                object["metadata"]["deletionTimestamp"] = clock::text(clock::now()).into();
                self.store(resource, object);
            }
            return;
        }
        self.remove(resource, name);
        if resource == "mxjobs" {
            // The garbage collector.
            let owned = |(resource, name): &(String, String), object: &Value| {
                let is_owned = object["metadata"]["ownerReferences"][0]["kind"] == "MXJob";
                is_owned.then(|| (resource.clone(), name.clone()))
            };
            let owned: Vec<_> =
                self.objects.iter().filter_map(|(key, object)| owned(key, object)).collect();
            for (resource, name) in owned {
                self.delete(&resource, &name);
            }
        }
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), name.to_owned()))
    }

    pub(crate) fn all<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |((of, _), _)| of == resource).map(|(_, object)| object)
    }

    pub(crate) fn store(&mut self, resource: &str, mut object: Value) -> Value {
        self.revision += 1;
        let revision = self.revision;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        let is_new = object["metadata"].get("uid").is_none();
        if is_new {
            object["metadata"]["uid"] = format!("uid-{revision}").into();
        }
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.objects.insert((resource.to_owned(), name), object.clone());
        self.history.stored(resource, &object, revision);
        self.log(resource, if is_new { "ADDED" } else { "MODIFIED" }, object.clone());
        object
    }

    pub(crate) fn remove(&mut self, resource: &str, name: &str) {
        let key = (resource.to_owned(), name.to_owned());
        let Some(mut object) = self.objects.remove(&key) else { return };
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.history.removed(resource, &object);
        self.log(resource, "DELETED", object);
    }

    fn log(&mut self, resource: &str, kind: &'static str, object: Value) {
        self.logs.entry(resource.to_owned()).or_default().push((self.revision, kind, object));
    }
}

impl tower_service::Service<Request<Body>> for Cluster {
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

fn refuse((code, reason): Refusal) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code.as_u16(),
    });
    respond(code, &status)
}
