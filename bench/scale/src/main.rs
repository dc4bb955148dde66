//! How fast many jobs, or one large one, go through the controller, and what finished ones cost.
//! The controller and the real API server run in one process; the nodes only report that pods run.
//!
//! ```text
//! cargo run --profile release-fast -p mxjob-bench-scale -- jobs 1000
//! cargo run --profile release-fast -p mxjob-bench-scale -- job 1000
//! cargo run --profile release-fast -p mxjob-bench-scale -- kept 10000
//! ```
//!
//! With `operator` the controller is a separate process across the network: see [`operator`].
//!
//! CPU time is that of the whole process: the API server with its disk, the controller, the nodes
//! and the submitting client.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::indexing_slicing)]

mod operator;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, pin_mut, stream};
use http::{Method, Request, Response};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tokens::{ServiceAccounts, SigningKey, Tokens};
use mxjob_apiserver::client::Connector;
use mxjob_apiserver::environment::{Environment, System};
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config};
use mxjob_controller::{Gang, Metrics, Options, run};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_service::Service;

/// Parallel requests of the nodes and of the submitting client.
const PARALLEL: usize = 64;

/// A client that counts its writes by verb and resource.
#[derive(Clone)]
struct Counting {
    inner: Connector,
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Service<Request<Body>> for Counting {
    type Response = Response<mxjob_apiserver::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let segments: Vec<&str> = request.uri().path().split('/').collect();
        let of = segments.iter().position(|segment| *segment == "namespaces");
        let resource = of.and_then(|place| segments.get(place + 2)).copied().unwrap_or("cluster");
        let verb =
            if *request.method() == Method::GET { "read" } else { request.method().as_str() };
        *self.counts.lock().unwrap().entry(format!("{verb} {resource}")).or_default() += 1;
        let mut inner = self.inner.clone();
        async move { inner.call(request).await }.boxed()
    }
}

/// Controller and server in this process.
struct Bench {
    world: World,
    controller: Counting,
    metrics: Metrics,
    _dir: tempfile::TempDir,
}

/// A server with fake nodes, and the counts of its jobs.
struct World {
    admin: Client,
    /// Created pods, running jobs, finished jobs.
    seen: watch::Sender<(usize, usize, usize)>,
    /// Whether pods should end.
    finish: watch::Sender<bool>,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = mxjob_store::Store::open(dir.path(), mxjob_store::Options::default()).unwrap();
        let environment: Arc<dyn Environment> = Arc::new(System);
        let key = SigningKey::generate().unwrap();
        let accounts = ServiceAccounts::new(key, store.clone(), Arc::clone(&environment));
        let api = ApiServer::new(Config {
            store,
            environment,
            authenticator: Authenticator::new(Tokens::default()).with_service_accounts(accounts),
            readiness: Readiness::new(),
        });
        api.bootstrap().await.unwrap();
        let admin = Client::new(api.connector(Identity::admin(), "bench"), "default");
        let inner = api.connector(Identity::controller(), "mxjob-controller");
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "fake" },
            "status": {
                "allocatable": { "cpu": "1000", "memory": "1Ti", "pods": "1000000" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        });
        let nodes: Api<DynamicObject> = Api::all_with(admin.clone(), &kind("", "Node", "nodes"));
        let node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        Self {
            world: World::new(admin),
            controller: Counting { inner, counts: Arc::default() },
            metrics: Metrics::default(),
            _dir: dir,
        }
    }

    fn start_controller(&self) {
        let client = Client::new(self.controller.clone(), "default");
        let options =
            Options { gang: Gang::Native, metrics: self.metrics.clone(), ..Options::default() };
        tokio::spawn(run(client, options, std::future::pending()));
    }

    fn report(&self, jobs: usize) {
        let text = self.metrics.encode();
        let reconciles = text
            .lines()
            .find_map(|line| line.strip_prefix("mxjob_reconcile_duration_seconds_count "));
        let reconciles: f64 = reconciles.unwrap_or("0").parse().unwrap();
        #[allow(clippy::cast_precision_loss)] // small numbers
        let per_job = |count: f64| count / jobs as f64;
        println!("reconciles per job           {:>8.2}", per_job(reconciles));
        for (what, count) in self.controller.counts.lock().unwrap().iter() {
            #[allow(clippy::cast_precision_loss)] // small numbers
            let each = per_job(*count as f64);
            println!("{what:<28} {count:>8}   {each:.2} per job");
        }
    }
}

impl World {
    fn new(admin: Client) -> Self {
        Self { admin, seen: watch::channel((0, 0, 0)).0, finish: watch::channel(false).0 }
    }

    /// Starts nodes that report every pod as running, and as succeeded once `finish` is set.
    fn start_nodes(&self) {
        let (client, seen, finish) =
            (self.admin.clone(), self.seen.clone(), self.finish.subscribe());
        tokio::spawn(async move {
            let pods: Api<DynamicObject> = Api::all_with(client.clone(), &kind("", "Pod", "pods"));
            let events = watcher::watcher(pods, watcher::Config::default());
            let new_pods = events.filter_map(|event| async {
                // The server stops at the end of the measurement.
                match event.ok()? {
                    Event::Apply(pod) | Event::InitApply(pod)
                        if pod.data.pointer("/status/phase").and_then(Value::as_str)
                            != Some("Running") =>
                    {
                        let is_new = pod.data.pointer("/status/startTime").is_none();
                        is_new.then_some(pod)
                    }
                    _ => None,
                }
            });
            new_pods
                .for_each_concurrent(None, |pod| {
                    seen.send_modify(|seen| seen.0 += 1);
                    live(client.clone(), pod, finish.clone())
                })
                .await;
        });
    }

    fn watch_jobs(&self) {
        let (client, seen) = (self.admin.clone(), self.seen.clone());
        tokio::spawn(async move {
            let jobs: Api<DynamicObject> = Api::all_with(client, &job_kind());
            let events = watcher::watcher(jobs, watcher::Config::default());
            pin_mut!(events);
            let mut states = HashMap::new();
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(job) | Event::InitApply(job)) = event else { continue };
                let newest = job.data.pointer("/status/conditions").and_then(Value::as_array);
                let newest =
                    newest.and_then(|all| all.last()?.get("type")?.as_str()).unwrap_or_default();
                let number = match newest {
                    "Running" => 1,
                    "Succeeded" => 2,
                    "Failed" => panic!("{} failed", job.name_any()),
                    _ => 0,
                };
                let before = states.insert(job.name_any(), number).unwrap_or(0);
                seen.send_modify(|seen| {
                    seen.1 += usize::from(number >= 1 && before < 1);
                    seen.2 += usize::from(number >= 2 && before < 2);
                });
            }
        });
    }

    async fn until(
        &self,
        what: &str,
        begun: Instant,
        holds: impl FnMut(&(usize, usize, usize)) -> bool,
    ) {
        self.seen.subscribe().wait_for(holds).await.unwrap();
        println!("{what:<28} {:>8.2} s", begun.elapsed().as_secs_f64());
    }

    async fn submit(&self, count: usize, job: impl Fn(usize) -> Value) {
        let jobs: Api<DynamicObject> =
            Api::namespaced_with(self.admin.clone(), "default", &job_kind());
        stream::iter(0..count)
            .for_each_concurrent(PARALLEL, |number| {
                let job = serde_json::from_value(job(number)).unwrap();
                let jobs = jobs.clone();
                async move { drop(jobs.create(&PostParams::default(), &job).await.unwrap()) }
            })
            .await;
    }
}

/// The life of one pod on a fake node.
async fn live(client: Client, pod: DynamicObject, mut finish: watch::Receiver<bool>) {
    let pods: Api<DynamicObject> =
        Api::namespaced_with(client, &pod.namespace().unwrap(), &kind("", "Pod", "pods"));
    let name = pod.name_any();
    let status =
        |phase: &str| json!({ "status": { "phase": phase, "startTime": "2026-11-24T08:00:00Z" } });
    let to = async |phase: &str| {
        let patch = Patch::Merge(status(phase));
        let _ = pods.patch_status(&name, &PatchParams::default(), &patch).await;
    };
    to("Running").await;
    let _ = finish.wait_for(|finish| *finish).await;
    to("Succeeded").await;
}

fn kind(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

fn job_kind() -> ApiResource {
    kind("kubeflow.org", "MXJob", "mxjobs")
}

fn job(name: &str, roles: &[(&str, usize)]) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet", "command": ["true"] }] } });
    let replica = |count: &usize| json!({ "replicas": count, "template": template });
    let roles: BTreeMap<&str, Value> =
        roles.iter().map(|(role, count)| (*role, replica(count))).collect();
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "cleanPodPolicy": "None", "mxReplicaSpecs": roles },
    })
}

/// CPU seconds of this process so far, and its resident memory in MiB.
fn usage() -> (f64, u64) {
    let (cpu, kib) = usage_of("self");
    (cpu, kib / 1024)
}

/// CPU seconds of a process so far, and its resident memory in KiB.
fn usage_of(process: &str) -> (f64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    (ticks / 100.0, resident)
}

/// Jobs with one scheduler, one server and this many workers, from submission to success.
async fn lives(jobs: usize, workers: usize) {
    let bench = Bench::new().await;
    bench.world.start_nodes();
    bench.world.watch_jobs();
    bench.start_controller();
    let begun = Instant::now();
    let roles = [("Scheduler", 1), ("Server", 1), ("Worker", workers)];
    bench.world.submit(jobs, |number| job(&format!("j{number}"), &roles)).await;
    println!("{:<28} {:>8.2} s", "submitted", begun.elapsed().as_secs_f64());
    bench.world.until("all pods created", begun, |seen| seen.0 == jobs * (workers + 2)).await;
    bench.world.until("all jobs Running", begun, |seen| seen.1 == jobs).await;
    let ends = Instant::now();
    bench.world.finish.send_replace(true);
    bench.world.until("all Succeeded, from the end", ends, |seen| seen.2 == jobs).await;
    let (cpu, resident) = usage();
    println!("CPU of the whole process     {cpu:>8.2} s, resident {resident} MiB");
    bench.report(jobs);
}

/// Finished jobs that are kept: their cost for an idle controller, and for a new job.
async fn kept(jobs: usize) {
    let bench = Bench::new().await;
    let before = usage().1;
    bench
        .world
        .submit(jobs, |number| {
            let mut job =
                job(&format!("old{number}"), &[("Scheduler", 1), ("Server", 1), ("Worker", 1)]);
            job["status"] = json!({});
            job
        })
        .await;
    // The status that the controller writes.
    let counts = json!({ "Scheduler": { "succeeded": 1 }, "Server": { "succeeded": 1 }, "Worker": { "succeeded": 1 } });
    let done = json!({ "status": {
        "mxReplicaStatuses": counts, "replicaStatuses": counts,
        "completedIndexes": { "Scheduler": "0", "Server": "0", "Worker": "0" },
        "conditions": [
            { "type": "Created", "status": "True", "reason": "MXJobCreated", "message": "", "lastTransitionTime": "2026-11-24T08:00:00Z", "lastUpdateTime": "2026-11-24T08:00:00Z" },
            { "type": "Succeeded", "status": "True", "reason": "MXJobSucceeded", "message": "", "lastTransitionTime": "2026-11-24T08:00:00Z", "lastUpdateTime": "2026-11-24T08:00:00Z" },
        ],
        "startTime": "2026-11-24T08:00:00Z", "completionTime": "2026-11-24T08:00:00Z",
    } });
    let api: Api<DynamicObject> =
        Api::namespaced_with(bench.world.admin.clone(), "default", &job_kind());
    stream::iter(0..jobs)
        .for_each_concurrent(PARALLEL, |number| {
            let (api, done) = (api.clone(), &done);
            async move {
                let name = format!("old{number}");
                let patch = Patch::Merge(done);
                drop(api.patch_status(&name, &PatchParams::default(), &patch).await.unwrap());
            }
        })
        .await;
    let stored = usage().1;
    println!("memory of the server with them {stored} MiB, before {before} MiB");
    bench.start_controller();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (cpu, resident) = usage();
    println!("memory with the controller     {resident} MiB");
    bench.report(jobs);
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("CPU in 10 idle seconds         {:.2} s", usage().0 - cpu);
    bench.report(jobs);
    bench.world.start_nodes();
    bench.world.watch_jobs();
    let running = bench.world.seen.borrow().1;
    bench.world.seen.subscribe().wait_for(|seen| seen.2 >= jobs).await.unwrap();
    let new = Instant::now();
    bench.world.submit(1, |_| job("new", &[("Worker", 1)])).await;
    bench.world.until("a new job is Running after", new, |seen| seen.1 > running + jobs).await;
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let what = words.next().unwrap_or_default();
    let count = words.next().and_then(|count| count.parse().ok()).unwrap_or(100);
    match what.as_str() {
        "jobs" => lives(count, 1).await,
        "job" => lives(1, count).await,
        "kept" => kept(count).await,
        "operator" => {
            let foreign = words.next().and_then(|count| count.parse().ok()).unwrap_or(0);
            operator::run(count, foreign).await;
        }
        _ => println!("usage: scale jobs|job|kept COUNT, scale operator JOBS [FOREIGN PODS]"),
    }
}
