//! An API server in this process, and the rules for each of its answers.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tokens::Tokens;
use mxjob_apiserver::client::Connector;
use mxjob_apiserver::environment::System;
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config};
use mxjob_store::{Options, Store};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

use crate::known;

/// After this many sets of fixtures a new server is started, so that lists stay short.
const FIXTURES_MAX: u32 = 200;
/// How long a stream is read: the answer to the input arrives immediately.
const LISTEN: Duration = Duration::from_millis(2);
/// Requests a Table.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const JSON: &str = "application/json";

thread_local! {
    /// One per thread that runs targets, because its start costs more than a thousand inputs.
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Calls `run` with this thread's server.
pub(crate) fn with(run: impl FnOnce(&Server)) {
    SERVER.with_borrow_mut(|slot| {
        // The slot is empty during the call, so that the next input after a panic gets a new
        // server.
        let server = slot.take().filter(|server| server.fixtures.get() < FIXTURES_MAX);
        let server = server.unwrap_or_else(Server::start);
        run(&server);
        *slot = Some(server);
    });
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) uri: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) body: &'a [u8],
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: &'a str, uri: &'a str) -> Self {
        Self { method, uri, content_type: JSON, accept: JSON, body: &[] }
    }

    pub(crate) fn get(uri: &'a str) -> Self {
        Self::new("GET", uri)
    }

    pub(crate) fn with(self, content_type: &'a str, body: &'a [u8]) -> Self {
        Self { content_type, body, ..self }
    }
}

/// An answer that passed the checks.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Bytes,
    /// Whether the request changed the store.
    pub(crate) wrote: bool,
}

#[derive(Debug)]
pub(crate) struct Server {
    runtime: Runtime,
    api: ApiServer,
    admin: Connector,
    fixtures: Cell<u32>,
    /// Whether the fixtures have changed.
    dirty: Cell<bool>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let store = Store::open(folder.path(), Options::default()).expect("a new store opens");
        let api = ApiServer::new(Config {
            store,
            environment: Arc::new(System),
            authenticator: Authenticator::new(Tokens::default()),
            readiness: Readiness::new(),
        });
        runtime.block_on(api.bootstrap()).expect("a new store takes the objects of every cluster");
        let admin = api.connector(Identity::admin(), "fuzz");
        let server = Self {
            runtime,
            api,
            admin,
            fixtures: Cell::new(0),
            dirty: Cell::new(true),
            _folder: folder,
        };
        server.namespace();
        server
    }

    /// A namespace with an unchanged job, pod and config map, each named `a`.
    ///
    /// A new one after every change, so that the effect of an input does not depend on earlier
    /// ones.
    pub(crate) fn namespace(&self) -> String {
        if self.dirty.get() {
            self.fixtures.set(self.fixtures.get() + 1);
            let namespace = self.current();
            let space =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            self.make("/api/v1/namespaces", &space);
            self.make(&format!("/apis/kubeflow.org/v1/namespaces/{namespace}/mxjobs"), &job());
            self.make(&format!("/api/v1/namespaces/{namespace}/pods"), &pod());
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}});
            self.make(&format!("/api/v1/namespaces/{namespace}/configmaps"), &map);
            self.dirty.set(false);
        }
        self.current()
    }

    /// Patches every fixture, and a status.
    pub(crate) fn patch(&self, content_type: &str, patch: &[u8]) {
        for path in [
            "/apis/kubeflow.org/v1/namespaces/{}/mxjobs/a",
            "/apis/kubeflow.org/v1/namespaces/{}/mxjobs/a/status",
            "/api/v1/namespaces/{}/pods/a",
            "/api/v1/namespaces/{}/pods/a/status",
            "/api/v1/namespaces/{}/configmaps/a",
        ] {
            for strict in ["", "?fieldValidation=Strict"] {
                let uri = format!("{}{strict}", path.replace("{}", &self.namespace()));
                self.send(Call::new("PATCH", &uri).with(content_type, patch));
            }
        }
    }

    fn current(&self) -> String {
        format!("fuzz-{}", self.fixtures.get())
    }

    fn make(&self, uri: &str, object: &Value) {
        let body = object.to_string();
        let answer = self.send(Call::new("POST", uri).with(JSON, body.as_bytes()));
        let text = answer.map(|answer| (answer.code, answer.body));
        assert!(matches!(text, Some((201, _))), "{uri}: a fixture was rejected: {text:?}");
    }

    /// Sends a request and checks the answer; `None` if HTTP does not allow such a request.
    pub(crate) fn send(&self, call: Call<'_>) -> Option<Answer> {
        let request = http::Request::builder()
            .method(call.method)
            .uri(call.uri)
            .header(CONTENT_TYPE, call.content_type)
            .header(ACCEPT, call.accept)
            .body(Full::new(Bytes::copy_from_slice(call.body)))
            .ok()?;
        let before = self.api.store().revision();
        let (code, body) = self.runtime.block_on(async {
            let response = match self.admin.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let code = response.status().as_u16();
            let mut body = Vec::new();
            let mut frames = response.into_body().into_data_stream();
            // A watch and a followed log do not end by themselves; any other answer does.
            let ends = !call.uri.contains("watch") && !call.uri.contains("follow");
            loop {
                let next = frames.next();
                let frame = match ends {
                    true => next.await,
                    false => tokio::time::timeout(LISTEN, next).await.unwrap_or_default(),
                };
                let Some(frame) = frame else { break };
                body.extend_from_slice(&frame.expect("a body in memory is complete"));
            }
            (code, Bytes::from(body))
        });
        let wrote = self.api.store().revision() != before;
        if wrote {
            self.dirty.set(true);
        }
        let answer = Answer { code, body, wrote };
        check(call, &answer);
        Some(answer)
    }
}

fn check(call: Call<'_>, answer: &Answer) {
    let Call { method, uri, .. } = call;
    let text = || String::from_utf8_lossy(&answer.body).into_owned();
    if answer.code >= 400 && method != "HEAD" && call.accept == JSON {
        let status: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // Probes and metrics answer in plain text, all other paths with a Status.
        let message = status["message"].as_str().map_or_else(text, str::to_owned);
        assert!(
            answer.code < 500 || known::is_known(answer.code, &message),
            "{method} {uri}: {} {message}",
            answer.code
        );
    } else {
        let known = known::is_known(answer.code, &text());
        assert!(answer.code < 500 || known, "{method} {uri}: {} {}", answer.code, text());
    }
    if answer.wrote {
        let accepted = (200..300).contains(&answer.code);
        assert!(accepted, "{method} {uri}: {} but the store has changed: {}", answer.code, text());
        assert!(method != "GET" && method != "HEAD", "{method} {uri} changed the store");
    }
}

fn job() -> Value {
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": {"name": "a", "labels": {"app": "digits"}},
        "spec": {"jobMode": "MXTrain", "mxReplicaSpecs": {"Worker": {
            "replicas": 1, "restartPolicy": "Never",
            "template": {"spec": {"containers": [{"name": "mxnet", "image": "mxnet:1"}]}},
        }}},
    })
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"app": "digits"}},
        "spec": {"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
             "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
        ]},
    })
}
