//! A cluster without a controller: `mxjob apiserver`, simulated nodes, and operators as processes
//! of their own.

use std::fs::{self, File};
use std::process::{Child, ExitStatus};

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use mxjob_testkit::History;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::history::{RECORDED, kind};
use super::nodes::{Behavior, Nodes};
use super::proxy::Proxy;
use crate::support::{Place, Server, signal, wait_until};

/// A cluster for one test.
pub(crate) struct Cluster<'a> {
    pub(crate) place: &'a Place,
    pub(crate) server: Option<Server<'a>>,
    pub(crate) client: Client,
    pub(crate) history: History,
    pub(crate) nodes: Nodes,
}

/// A running operator behind a proxy of its own.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) proxy: Proxy,
    child: Child,
    out: std::path::PathBuf,
    err: std::path::PathBuf,
}

impl<'a> Cluster<'a> {
    /// A cluster whose pods run until a command ends them.
    pub(crate) async fn start(place: &'a Place) -> Self {
        Self::with_behavior(place, |_| Behavior::default()).await
    }

    /// A cluster whose pods have a behavior.
    pub(crate) async fn with_behavior(
        place: &'a Place,
        behavior: impl Fn(&Value) -> Behavior + Send + Sync + 'static,
    ) -> Self {
        Self::of(place, Server::start(place, "apiserver", &[]), behavior).await
    }

    /// A cluster of a running server.
    pub(crate) async fn of(
        place: &'a Place,
        server: Server<'a>,
        behavior: impl Fn(&Value) -> Behavior + Send + Sync + 'static,
    ) -> Self {
        let client = client(place).await;
        let history = History::follow(&client, &RECORDED).await;
        let nodes = Nodes::start(&client, &history, behavior);
        Self { place, server: Some(server), client, history, nodes }
    }

    pub(crate) fn server(&self) -> &Server<'a> {
        self.server.as_ref().unwrap()
    }

    /// `kill -9` of the API server, and another one on the same port and data.
    pub(crate) fn restart_server(&mut self) {
        let server = self.server.take().unwrap();
        let address = server.address();
        server.kill();
        self.server = Some(Server::start(self.place, "apiserver", &["--listen", &address]));
    }

    /// Starts an operator behind a proxy.
    pub(crate) async fn operator(&self, name: &str) -> Operator {
        let args = ["--leader-elect-namespace", "default"];
        Operator::start(self.place, name, &token(self.place), &args).await
    }

    /// Submits a job of one scheduler, one server and two workers, with other fields of the spec.
    pub(crate) async fn submit(&self, name: &str, more: &Value) {
        let mut job = job(name, &[("Scheduler", 1), ("Server", 1), ("Worker", 2)]);
        for (key, value) in more.as_object().unwrap() {
            job["spec"][key] = value.clone();
        }
        self.create(&job).await;
    }

    pub(crate) async fn create(&self, job: &Value) {
        let job = serde_json::from_value(job.clone()).unwrap();
        self.jobs().create(&PostParams::default(), &job).await.unwrap();
    }

    /// Changes fields of a job's spec.
    pub(crate) async fn change(&self, job: &str, spec: &Value) {
        let patch = json!({ "spec": spec });
        self.jobs().patch(job, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// The same for a job that may not exist, on a server that may be down.
    pub(crate) async fn set(&self, job: &str, spec: &Value) {
        let patch = json!({ "spec": spec });
        loop {
            let jobs = self.jobs();
            match jobs.patch(job, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.code == 404 => return,
                Err(kube::Error::Api(status)) if status.code < 500 => panic!("{status:?}"),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) async fn delete(&self, resource: &str, name: &str) {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), "default", &kind(resource));
        drop(api.delete(name, &DeleteParams::default()).await.unwrap());
    }

    fn jobs(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), "default", &kind("mxjobs"))
    }

    /// The leader, and how often it has changed.
    pub(crate) fn lease(&self) -> Option<(String, i64)> {
        let lease = self.history.get("leases", "mxjob-operator")?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        Some((holder, lease["spec"]["leaseTransitions"].as_i64().unwrap_or(0)))
    }

    /// Waits for such a leader, and returns it.
    pub(crate) fn wait_for_leader(&self, matches: impl Fn(&str) -> bool) -> (String, i64) {
        wait_until("there is a leader", || {
            self.lease().filter(|(holder, _)| !holder.is_empty() && matches(holder))
        })
    }
}

/// A job with these roles whose replicas never restart.
pub(crate) fn job(name: &str, roles: &[(&str, usize)]) -> Value {
    let mut specs = json!({});
    for (role, count) in roles {
        specs[*role] = json!({
            "replicas": count, "restartPolicy": "Never",
            "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } },
        });
    }
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": name, "namespace": "default" }, "spec": { "mxReplicaSpecs": specs },
    })
}

/// The token of a kubeconfig that the server wrote.
pub(crate) fn token(place: &Place) -> String {
    let kubeconfig = fs::read_to_string(place.data().join("kubeconfig")).unwrap();
    let (_, token) = kubeconfig.split_once("token: ").unwrap();
    token.trim().trim_matches('"').to_owned()
}

/// A client of the server itself.
pub(crate) async fn client(place: &Place) -> Client {
    let kubeconfig = Kubeconfig::read_from(place.data().join("kubeconfig")).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

// === impl Operator ===

impl Operator {
    /// Starts an operator with this token behind a proxy to the server of a place.
    pub(crate) async fn start(place: &Place, name: &str, token: &str, args: &[&str]) -> Self {
        let proxy = Proxy::to(&place.data().join("kubeconfig"), 0).await;
        let kubeconfig = place.write(&format!("{name}.kubeconfig"), &proxy.kubeconfig(token));
        let [out, err] = ["out", "err"].map(|end| place.path().join(format!("{name}.{end}")));
        let mut words = vec!["operator", "--kubeconfig", &kubeconfig];
        words.extend(["--lease-duration", "3s", "--renew-deadline", "2s", "--retry-period", "1s"]);
        words.extend(["--metrics-listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]);
        words.extend(["--log-level", "debug"]);
        words.extend(args);
        let mut command = place.command(&words);
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let child = command.spawn().unwrap();
        Self { proxy, child, out, err }
    }

    /// Its address for `metrics`, `probes` or `webhook`.
    pub(crate) fn address(&self, what: &str) -> String {
        wait_until("its address is printed", || {
            let printed = fs::read_to_string(&self.out).unwrap();
            let (_, rest) = printed.split_once(&format!("{what} at http"))?;
            let (_, rest) = rest.split_once("://")?;
            rest.split_once('\n').map(|(address, _)| address.to_owned())
        })
    }

    pub(crate) fn id(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until it has logged something.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        wait_until(&format!("the operator logs {text:?}"), || {
            let log = self.log();
            log.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_until("the operator has ended", || self.child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Code and body of an answer to `GET`, of `metrics` or `probes`.
    pub(crate) async fn ask(&self, what: &str, path: &str) -> (u16, String) {
        let address = self.address(what);
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Waits until the readiness probe answers with a code.
    pub(crate) async fn wait_until_ready_is(&self, expected: u16) {
        self.wait_until_ready(|code, _| code == expected).await;
    }

    /// Waits until the page of the readiness probe contains a text.
    pub(crate) async fn wait_until_ready_says(&self, text: &str) {
        self.wait_until_ready(|_, page| page.contains(text)).await;
    }

    async fn wait_until_ready(&self, matches: impl Fn(u16, &str) -> bool) {
        let began = std::time::Instant::now();
        loop {
            let (code, page) = self.ask("probes", "/readyz").await;
            if matches(code, &page) {
                return;
            }
            assert!(began.elapsed() < crate::support::LIMIT, "/readyz is {code}: {page}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Operator {
    #[allow(
        clippy::print_stderr,
        reason = "the log of a process is for the reader of a failed test"
    )]
    fn drop(&mut self) {
        // It may have ended already. Suspended processes are killed as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.err).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let lines = lines[lines.len().saturating_sub(100)..].join("\n");
            let requests = self.proxy.describe_last(100).join("\n");
            eprintln!(
                "=== the end of {}:\n{lines}\n=== its last requests:\n{requests}",
                self.err.display()
            );
        }
    }
}
