//! A server for one test, and helpers to call it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tokens::{ServiceAccounts, SigningKey, Tokens};
use mxjob_apiserver::client::Connector;
use mxjob_apiserver::environment::{Environment, System};
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config, Extensions, expiry};
use mxjob_manager::garbage;
use mxjob_serve as serve;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_service::Service;

pub const JOBS: &str = "/apis/kubeflow.org/v1/namespaces/default/mxjobs";
pub const MERGE: &str = "application/merge-patch+json";
pub const JSON: &str = "application/json";
/// Longer than any step takes; a hanging test fails after it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The server on a port of this machine. It ends when it is dropped.
pub struct Listening {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<serve::Drained, serve::ServeError>>,
}

impl Listening {
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(PATIENCE, self.done).await;
        ended.expect("the server never ended").unwrap().unwrap();
    }
}

pub struct Server {
    pub api: ApiServer,
    pub admin: Connector,
    _dir: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_in(Arc::new(System)).await
    }

    /// A server with this clock.
    pub async fn start_in(environment: Arc<dyn Environment>) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), environment, Extensions::default()).await
    }

    /// A server on which MXJobs are an ordinary custom resource. It collects garbage.
    pub async fn without_mxjobs() -> Self {
        let extensions = Extensions { built_in_mxjobs: false, ..Extensions::default() };
        let dir = tempfile::tempdir().unwrap();
        let server = Self::start_on(dir, Arc::new(System), extensions).await;
        server.collect_garbage();
        server
    }

    /// Serves on a free port, without TLS.
    pub fn listen(&self) -> Listening {
        let bound = serve::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = bound.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let (limits, api) = (serve::Limits::default(), self.api.clone());
        let done = tokio::spawn(serve::serve(limits, bound, None, api, shutdown, PATIENCE));
        Listening { address, stop, done }
    }

    /// Starts the garbage collector, and what finalizes definitions.
    pub fn collect_garbage(&self) {
        let client = self.client(garbage::ACCOUNT);
        tokio::spawn(garbage::run(client, None, std::future::pending()));
        tokio::spawn(self.api.clone().finalize_definitions(std::future::pending()));
    }

    /// A client as a service account of the manager.
    pub fn client(&self, account: &str) -> kube::Client {
        let identity = Identity::service_account(mxjob_manager::NAMESPACE, account, "");
        kube::Client::new(self.api.connector(identity, account), "default")
    }

    /// A new server on the same data.
    pub async fn again(self, extensions: Extensions) -> Self {
        let Self { api, admin, _dir } = self;
        let store = api.store().clone();
        drop((api, admin));
        tokio::task::spawn_blocking(|| store.close()).await.unwrap();
        Self::start_on(_dir, Arc::new(System), extensions).await
    }

    async fn start_on(
        dir: tempfile::TempDir,
        environment: Arc<dyn Environment>,
        extensions: Extensions,
    ) -> Self {
        let mut options = mxjob_store::Options::default();
        options.expiry = Some(expiry::rules(expiry::EVENT_TTL, Arc::clone(&environment)));
        let store = mxjob_store::Store::open(dir.path(), options).unwrap();
        let mut tokens = Tokens::default();
        tokens.insert("good", Identity::admin());
        tokens.insert("limited", Identity::new("limited", "", []));
        let key = SigningKey::generate().unwrap();
        let accounts = ServiceAccounts::new(key, store.clone(), Arc::clone(&environment));
        let config = Config {
            store,
            environment,
            authenticator: Authenticator::new(tokens).with_service_accounts(accounts),
            readiness: Readiness::new(),
        };
        let api = ApiServer::with(config, extensions);
        api.bootstrap().await.unwrap();
        let admin = api.connector(Identity::admin(), "test");
        Self { api, admin, _dir: dir }
    }

    pub async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let content_type = if method == Method::PATCH { MERGE } else { JSON };
        let body = (!body.is_null()).then_some(body);
        let (status, value) = self.admin.send(method, path, content_type, body).await;
        (status.as_u16(), value)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, &Value::Null).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::PUT, path, body).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::PATCH, path, body).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.call(Method::DELETE, path, &Value::Null).await
    }

    /// A created object.
    pub async fn make(&self, path: &str, body: &Value) -> Value {
        let (code, object) = self.post(path, body).await;
        assert_eq!(code, 201, "{object:#}");
        object
    }

    /// The raw response to a request from the network: headers unchanged, no identity other than
    /// theirs.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(bytes::Bytes::copy_from_slice(body))).unwrap();
        let response = self.api.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { code: parts.status.as_u16(), headers: parts.headers, text, bytes }
    }

    /// Starts a watch.
    pub async fn watch(&self, path: &str) -> Watch {
        self.watch_as(path, JSON).await
    }

    /// Starts a watch in this form.
    pub async fn watch_as(&self, path: &str, accept: &str) -> Watch {
        let request = http::Request::builder()
            .method("GET")
            .uri(path)
            .header(header::ACCEPT, accept)
            .body(Full::new(bytes::Bytes::new()))
            .unwrap();
        let response = self.admin.clone().call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Watch { body: response.into_body().into_data_stream(), buffer: Vec::new() }
    }

    /// Waits until an object has some property.
    pub async fn until(
        &self,
        path: &str,
        what: &str,
        condition: impl Fn(u16, &Value) -> bool,
    ) -> Value {
        let wait = async {
            loop {
                let (code, object) = self.get(path).await;
                if condition(code, &object) {
                    return object;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("{path}: never {what}"))
    }
}

/// A clock that the test sets, in seconds.
#[derive(Debug)]
pub struct Clock(pub AtomicI64);

impl Clock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000)))
    }
}

impl Environment for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::Relaxed)).unwrap()
    }

    fn uid(&self) -> String {
        System.uid()
    }

    fn name_suffix(&self) -> String {
        System.name_suffix()
    }
}

pub struct Answer {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub text: String,
    pub bytes: bytes::Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

pub struct Watch {
    body: http_body_util::BodyDataStream<mxjob_apiserver::Body>,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk =
                tokio::time::timeout(PATIENCE, self.body.next()).await.expect("no event came")?;
            self.buffer.extend_from_slice(&chunk.unwrap());
        }
    }

    /// The next event as `TYPE name`.
    pub async fn line(&mut self) -> String {
        let event = self.next().await.expect("the watch ended");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

/// A job of one worker.
pub fn job(name: &str) -> Value {
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": {"name": name},
        "spec": {"jobMode": "MXTrain", "ttlSecondsAfterFinished": 100, "mxReplicaSpecs": {"Worker": {
            "replicas": 1, "restartPolicy": "Never",
            "template": {"spec": {"containers": [{"name": "mxnet", "image": "mxnet:1"}]}},
        }}},
    })
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}
