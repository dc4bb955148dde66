//! An API server on a port, and operators whose cluster it is.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, header};
use kube::client::Body;
use kube::client::Client;
use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tokens::Tokens;
use mxjob_apiserver::ApiServer;
use mxjob_apiserver::environment::System;
use mxjob_apiserver::health::Readiness;
use mxjob_controller::Gang;
use mxjob_operator::client::Cluster;
use mxjob_operator::{Config, Election, Error, Sockets, Timing};
use mxjob_serve as serve;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Far longer than any step takes.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/default/leases/mxjob-operator";

pub(crate) struct World {
    api: ApiServer,
    address: SocketAddr,
    serving: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

pub(crate) struct Operator {
    pub(crate) identity: String,
    metrics: Client,
    probes: Client,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), Error>>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = mxjob_store::Store::open(dir.path(), mxjob_store::Options::default()).unwrap();
        let mut tokens = Tokens::default();
        tokens.insert("admin", Identity::admin());
        let api = ApiServer::new(mxjob_apiserver::Config {
            store,
            environment: Arc::new(System),
            authenticator: Authenticator::new(tokens),
            readiness: Readiness::new(),
        });
        api.bootstrap().await.unwrap();
        let bound = serve::bind(LOOPBACK).unwrap();
        let address = bound.local_addr();
        let service = api.clone();
        let serving = tokio::spawn(async move {
            let never = std::future::pending();
            serve::serve(serve::Limits::default(), bound, None, service, never, Duration::ZERO)
                .await
                .unwrap();
        });
        Self { api, address, serving, _dir: dir }
    }

    /// An operator with short election timings; `change` adapts its configuration.
    pub(crate) fn operator(&self, change: impl FnOnce(&mut Config)) -> Operator {
        self.operator_with(false, change)
    }

    pub(crate) fn operator_with(
        &self,
        webhook: bool,
        change: impl FnOnce(&mut Config),
    ) -> Operator {
        let mut cluster = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        cluster.headers.push((header::AUTHORIZATION, HeaderValue::from_static("Bearer admin")));
        let identity = Election::identity("test");
        let ms = Duration::from_millis;
        let mut config = Config {
            cluster: Cluster { config: cluster, pod_namespace: None },
            namespace: None,
            own_namespace: "default".to_owned(),
            workers: 4,
            rate: None,
            election: Some(Election {
                namespace: "default".to_owned(),
                name: "mxjob-operator".to_owned(),
                identity: identity.clone(),
                timing: Timing { lease: ms(3_000), renew: ms(2_000), retry: ms(200) },
            }),
            gang: Gang::Off,
        };
        change(&mut config);
        let sockets = Sockets::bind(LOOPBACK, LOOPBACK, webhook.then_some(LOOPBACK)).unwrap();
        let client = |address: SocketAddr| {
            let mut config = kube::Config::new(format!("http://{address}").parse().unwrap());
            config.default_retry = false;
            Client::try_from(config).unwrap()
        };
        let (metrics, probes) =
            (client(sockets.metrics.local_addr()), client(sockets.probes.local_addr()));
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(Box::pin(mxjob_operator::run(config, sockets, async {
            let _ = stopped.await;
        })));
        Operator { identity, metrics, probes, stop: Some(stop), running }
    }

    /// Sends a request as the administrator; `null` for a missing object.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let connector = self.api.connector(Identity::admin(), "test");
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let (status, answer) = connector.send(method, path, content, body).await;
        match status.as_u16() {
            404 => Value::Null,
            _ if status.is_success() => answer,
            _ => panic!("{path}: {answer}"),
        }
    }

    pub(crate) async fn lease(&self) -> Value {
        self.ask(Method::GET, LEASE, None).await
    }

    pub(crate) async fn holder(&self) -> String {
        self.lease().await["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    /// Creates a job of a scheduler, a server and a worker.
    pub(crate) async fn submit(&self, name: &str) {
        let role = json!({ "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } } });
        let job = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": { "name": name },
            "spec": { "mxReplicaSpecs": { "Scheduler": role, "Server": role, "Worker": role } },
        });
        let path = "/apis/kubeflow.org/v1/namespaces/default/mxjobs";
        self.ask(Method::POST, path, Some(&job)).await;
    }

    /// The names of all pods.
    pub(crate) async fn pods(&self) -> Vec<String> {
        let list = self.ask(Method::GET, "/api/v1/namespaces/default/pods", None).await;
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(name).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Operator {
    /// The status and the body of a probe.
    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        page(&self.probes, path).await
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = page(&self.metrics, "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
    }

    pub(crate) async fn leads(&self) -> bool {
        self.metric("mxjob_leader").await > 0.0
    }

    /// As on SIGTERM.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stop(mut self) {
        self.ask_to_stop();
        tokio::time::timeout(LIMIT, self.running).await.unwrap().unwrap().unwrap();
    }

    /// As on `kill -9`.
    pub(crate) fn kill(&self) {
        self.running.abort();
    }
}

async fn page(client: &Client, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (parts, body) = client.send(request).await.unwrap().into_parts();
    let text = body.collect_bytes().await.unwrap();
    (parts.status.as_u16(), String::from_utf8(text.to_vec()).unwrap())
}

/// Waits until a value is as expected.
pub(crate) async fn until<T: PartialEq + Debug>(want: T, mut is: impl AsyncFnMut() -> T) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let begun = tokio::time::Instant::now();
    loop {
        let now = is().await;
        if now == want {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{now:?} is not {want:?}");
        ticks.tick().await;
    }
}
