//! The agent: runs the pods that are bound to this node, and reports their status.
//!
//! ```text
//!  watch pods ──┬─ unbound ──▶ bind
//!               └─ ours ─────▶ one worker per pod ──▶ runtime (shims)
//!  watch services ──▶ names ──▶ hosts files of the pods
//! ```
//!
//! The agent is an ordinary API client without state of its own: the desired state is in the API,
//! the actual state in the state directory. Stopping the agent stops no pod; the next agent finds
//! the pods again.

mod action;
mod bind;
mod claims;
mod command;
mod container;
mod devices;
mod dns;
mod events;
mod fields;
mod handle;
mod limits;
mod mounts;
mod names;
mod order;
mod pod_sources;
mod probes;
mod register;
mod security;
mod service_account;
mod service_env;
mod sources;
mod start;
mod status;
mod upkeep;
mod usage;
mod worker;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt as _;
use k8s_openapi::{
    api::core::v1::{Node, Pod, Service},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use mxjob_client::{Lenient, Raw, Unreadable};
use mxjob_machinery::error::chain;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use self::{
    devices::Devices,
    events::{Events, Level},
    names::Names,
    service_account::Tokens,
    usage::Sampler,
};
use crate::{
    clock,
    runtime::{Error, IsolationMode, Runtime, Sandbox, ShimCommand},
};

pub use self::{
    devices::{DeviceSource, Drivers},
    handle::Handle,
    security::Identity,
    usage::{NodeUsage, PodUsage, Usage},
};

/// Delay before the hosts files are rewritten, so that several changes cause one rewrite.
const HOSTS_DEBOUNCE: Duration = Duration::from_millis(10);

/// How often unused addresses are released.
const ADDRESS_RELEASE_INTERVAL: Duration = Duration::from_secs(60);

/// The default of [`Config::volume_interval`]. A kubelet needs about a minute.
const VOLUME_INTERVAL: Duration = Duration::from_secs(10);

/// How long a stopping agent waits for its workers.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration of an agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The state directory; used by one agent at a time.
    pub state_dir: PathBuf,
    /// Name of the node; the host name by default.
    pub node_name: String,
    /// The default working directory of containers, and the base of relative ones.
    pub workdir: PathBuf,
    /// How to start a shim.
    pub shim: ShimCommand,
    /// How pods are isolated from each other.
    pub isolation: IsolationMode,
    /// The user and group of containers that name no user; those of the agent by default.
    pub run_as: Option<Identity>,
    /// The default `PATH` of containers.
    pub path: String,
    /// Where the GPUs come from that the node hands out; by default the drivers of this machine.
    pub devices: Arc<dyn DeviceSource>,
    /// Extended resources of the node by name, in addition to its GPUs, or instead of the number
    /// of them. The node counts requests for them; only GPUs are handed out one by one.
    pub extended_resources: BTreeMap<String, i64>,
    /// Processes and threads that a pod may have; `None` for any number.
    pub pod_pids_limit: Option<u64>,
    /// The API server, for programs in pods; `None` gives them neither its address nor tokens.
    pub api_server: Option<ApiAccess>,
    /// How often the volumes of a running pod are compared with the objects that they show, and
    /// with their size limits.
    pub volume_interval: Duration,
}

/// How programs in pods reach the API server.
#[derive(Debug, Clone)]
pub struct ApiAccess {
    /// Its address.
    pub address: SocketAddr,
    /// The certificates of its authority, as PEM.
    pub authority: Arc<str>,
}

/// An agent that does not run yet.
pub struct Agent {
    context: Arc<Context>,
}

/// Shared by all parts of the agent.
struct Context {
    client: Client,
    config: Config,
    runtime: Runtime,
    names: Arc<Names>,
    events: Events,
    /// What the node may do.
    rights: security::Node,
    /// The turns of probes.
    probes: Arc<Semaphore>,
    devices: Arc<Devices>,
    usage: Arc<Sampler>,
    /// The machine's own address.
    host_ip: String,
    /// The node's resources, by name.
    allocatable: BTreeMap<String, String>,
    /// The tokens of the pods.
    tokens: Tokens,
    /// Held while the size of a pod's volumes is measured.
    measuring: Semaphore,
}

/// A change of a pod, for its worker.
#[derive(Debug, Clone)]
enum PodUpdate {
    /// The newest version of the pod.
    Present(Arc<Pod>),
    /// The pod is no longer in the API.
    Gone,
}

// === impl Config ===

impl Config {
    /// The default configuration: this host's name, the current folder, this program as shim.
    ///
    /// # Errors
    /// When the current folder or the path of this program is unknown.
    pub fn new(state_dir: PathBuf) -> io::Result<Self> {
        Ok(Self {
            state_dir,
            node_name: register::host_name(),
            workdir: std::env::current_dir()?,
            shim: ShimCommand::current_exe()?,
            isolation: IsolationMode::Auto,
            devices: Arc::new(Drivers::default()),
            extended_resources: BTreeMap::new(),
            pod_pids_limit: Some(limits::default_pids()),
            api_server: None,
            volume_interval: VOLUME_INTERVAL,
            run_as: None,
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        })
    }
}

// === impl Agent ===

impl fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Agent")
            .field("config", &self.context.config)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Locks the state directory. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be used, or another agent uses it.
    pub fn new(config: Config, client: Client) -> Result<Self, Error> {
        let runtime = Runtime::open(&config.state_dir, config.shim.clone(), config.isolation)?;
        let names = Arc::new(Names::open(runtime.state_dir()));
        let events = Events::start(client.clone(), config.node_name.clone());
        let host_ip = register::host_ip();
        let state_dir = runtime.state_dir();
        let devices = Devices::new(state_dir, &*config.devices, &config.extended_resources);
        let (devices, usage) = (Arc::new(devices), Arc::new(Sampler::new(state_dir)));
        let allocatable = register::allocatable_amounts(state_dir, &devices);
        let tokens = Tokens::default();
        let measuring = Semaphore::new(1);
        let rights = security::Node::new(config.run_as, runtime.isolation());
        let probes = Arc::new(Semaphore::new(probes::MAX_CONCURRENT));
        let context = Context {
            client,
            config,
            runtime,
            names,
            events,
            rights,
            probes,
            devices,
            usage,
            host_ip,
            allocatable,
            tokens,
            measuring,
        };
        Ok(Self { context: Arc::new(context) })
    }

    /// A handle for logs and commands.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            state_dir: Arc::new(self.context.runtime.state_dir().to_owned()),
            isolation: Arc::new(self.context.runtime.isolation().clone()),
            shim: Arc::new(self.context.config.shim.clone()),
            usage: Arc::clone(&self.context.usage),
        }
    }

    /// Runs until `shutdown`. Pods keep running afterwards. Failed API requests are retried.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let context = self.context;
        let mut tasks = JoinSet::new();
        tasks.spawn(register::keep_registered(Arc::clone(&context)));
        let mut pods = Pods::new(Arc::clone(&context));
        let pod_api: Api<Lenient<Pod>> = Api::all(context.client.clone());
        let mut pod_events = pin!(watcher(pod_api, watcher::Config::default()).default_backoff());
        let service_api: Api<Lenient<Service>> = Api::all(context.client.clone());
        let mut service_events =
            pin!(watcher(service_api, watcher::Config::default()).default_backoff());
        let node_api: Api<Lenient<Node>> = Api::all(context.client.clone());
        let own_node = format!("metadata.name={}", context.config.node_name);
        let own_node = watcher::Config::default().fields(&own_node);
        let mut node_events = pin!(watcher(node_api, own_node).default_backoff());
        let mut unused = interval(ADDRESS_RELEASE_INTERVAL);
        unused.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When to update the hosts files.
        let mut refresh_at: Option<Instant> = None;
        // At most one update at a time.
        let mut refresh: JoinSet<()> = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(event) = pod_events.next() => match event {
                    Ok(event) => pods.handle(event),
                    Err(error) => tracing::warn!(%error, "cannot watch pods"),
                },
                Some(event) = node_events.next() => match event {
                    Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => {
                        pods.binder.node_changed(&register::readable(node));
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "cannot watch the node"),
                },
                Some(event) = service_events.next() => match event {
                    Ok(event) => {
                        if let Some(unreadable) = unreadable(&event) {
                            context.events.unreadable(unreadable);
                        }
                        context.names.handle_service(event);
                    }
                    Err(error) => tracing::warn!(%error, "cannot watch services"),
                },
                Some(result) = pods.workers.join_next(), if !pods.workers.is_empty() => {
                    pods.worker_ended(result);
                }
                () = sleep_until(refresh_at.unwrap_or_else(Instant::now)), if refresh_at.is_some() => {
                    refresh_at = None;
                    let names = Arc::clone(&context.names);
                    refresh.spawn_blocking(move || names.refresh());
                }
                Some(_) = refresh.join_next(), if !refresh.is_empty() => {}
                _ = unused.tick(), if pods.is_listed => {
                    context.names.release_unused(|uid| pods.bound.contains(uid));
                }
            }
            if refresh_at.is_none() && refresh.is_empty() && context.names.is_stale() {
                refresh_at = Some(Instant::now() + HOSTS_DEBOUNCE);
            }
        }
        tasks.shutdown().await;
        pods.finish().await;
        let updated = async { while refresh.join_next().await.is_some() {} };
        // The next agent updates the rest.
        let _ = timeout(FINISH_TIMEOUT, updated).await;
    }
}

/// The last readable version of a pod with the deletion time and grace period of the newest one.
fn with_deletion(last: &Pod, newest: &Raw) -> Pod {
    let mut pod = last.clone();
    let time = newest.text("/metadata/deletionTimestamp").parse();
    pod.metadata.deletion_timestamp = Some(Time(time.unwrap_or_else(|_| clock::now())));
    pod.metadata.deletion_grace_period_seconds = newest
        .value
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(serde_json::Value::as_i64);
    pod
}

/// The workers: one for each pod that is or was bound to this node.
struct Pods {
    context: Arc<Context>,
    updates: HashMap<String, watch::Sender<PodUpdate>>,
    /// The uids of all pods that exist and are bound, to this node or another.
    bound: HashSet<String>,
    /// Whether all pods have been listed once.
    is_listed: bool,
    /// Each returns the uid of its pod.
    workers: JoinSet<String>,
    /// Uids seen during a new list of all pods.
    listed: Option<HashSet<String>>,
    /// Unreadable pods that may be bound to this node, by uid: whether they are being deleted.
    unreadable: HashMap<String, bool>,
    binder: bind::Binder,
}

/// The object of an event, if it is unreadable.
fn unreadable<K>(event: &watcher::Event<Lenient<K>>) -> Option<&Unreadable> {
    match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
            object.0.as_ref().err().map(|unreadable| &**unreadable)
        }
        watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone => None,
    }
}

impl Pods {
    fn new(context: Arc<Context>) -> Self {
        let binder = bind::Binder::new(Arc::clone(&context));
        Self {
            context,
            updates: HashMap::new(),
            bound: HashSet::new(),
            is_listed: false,
            workers: JoinSet::new(),
            listed: None,
            unreadable: HashMap::new(),
            binder,
        }
    }

    fn handle(&mut self, event: watcher::Event<Lenient<Pod>>) {
        match event {
            watcher::Event::Apply(pod) => self.handle_pod(pod),
            watcher::Event::Delete(pod) => {
                self.pod_removed(pod.meta().uid.as_deref().unwrap_or_default());
            }
            watcher::Event::Init => {
                self.binder.begin_list();
                self.listed = Some(HashSet::new());
            }
            watcher::Event::InitApply(pod) => {
                if let (Some(listed), Some(uid)) = (&mut self.listed, &pod.meta().uid) {
                    listed.insert(uid.clone());
                }
                self.handle_pod(pod);
            }
            watcher::Event::InitDone => self.remove_unlisted(),
        }
    }

    fn handle_pod(&mut self, pod: Lenient<Pod>) {
        match pod.0 {
            Ok(pod) => self.apply(pod),
            Err(unreadable) => self.handle_unreadable(*unreadable),
        }
    }

    /// An unreadable pod is not started. If it runs already, it keeps running until it is deleted.
    fn handle_unreadable(&mut self, pod: Unreadable) {
        let Some(uid) = pod.raw.uid() else { return };
        let node = pod.raw.text("/spec/nodeName");
        let has_worker = self.updates.contains_key(&uid);
        if !node.is_empty() && node != self.context.config.node_name && !has_worker {
            return;
        }
        self.context.events.unreadable(&pod);
        if has_worker || !node.is_empty() {
            self.binder.bound_unreadable(&pod.raw, &uid);
        } else {
            self.binder.pod_removed(&uid);
        }
        let is_leaving = pod.raw.is_leaving();
        let was_leaving = self.unreadable.insert(uid.clone(), is_leaving).unwrap_or(false);
        if !is_leaving || was_leaving {
            return;
        }
        if let Some(sender) = self.updates.get(&uid) {
            let last = sender.borrow().clone();
            if let PodUpdate::Present(last) = last {
                sender.send_replace(PodUpdate::Present(Arc::new(with_deletion(&last, &pod.raw))));
            }
        } else if !node.is_empty() {
            self.remove_unreadable(uid, pod.raw);
        }
    }

    /// Removes a pod that this agent was never able to read, from the machine and from the API.
    fn remove_unreadable(&mut self, uid: String, pod: Raw) {
        let sandbox = self.sandbox(&uid);
        let context = Arc::clone(&self.context);
        self.workers.spawn(async move {
            worker::remove_unreadable(&context, pod, sandbox).await;
            uid
        });
    }

    /// The sandbox of a pod from an earlier agent.
    fn sandbox(&self, uid: &str) -> Option<Sandbox> {
        let sandboxes = self.context.runtime.sandboxes().unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "cannot list the pods in the state directory");
            Vec::new()
        });
        sandboxes.into_iter().find(|sandbox| sandbox.record().uid.as_str() == uid)
    }

    fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        self.unreadable.remove(&uid);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() {
            self.binder.try_pod(&pod, &uid);
            return;
        }
        self.bound.insert(uid.clone());
        let ours = node == self.context.config.node_name;
        self.binder.pod_bound(&pod, &uid, ours);
        if let Err(error) = self.context.names.set_pod(&pod, ours) {
            self.context.events.pod(&pod, Level::Warning, "TooManyPeers", error.to_string());
        }
        if !ours {
            return;
        }
        let update = PodUpdate::Present(Arc::new(pod));
        match self.updates.get(&uid) {
            Some(sender) => {
                sender.send_replace(update);
            }
            None => {
                let (sender, receiver) = watch::channel(update);
                self.updates.insert(uid.clone(), sender);
                let context = Arc::clone(&self.context);
                self.workers.spawn(async move {
                    worker::run(context, receiver).await;
                    uid
                });
            }
        }
    }

    fn pod_removed(&mut self, uid: &str) {
        self.bound.remove(uid);
        self.binder.pod_removed(uid);
        self.context.names.remove_pod(uid);
        let was_unreadable = self.unreadable.remove(uid).is_some();
        if let Some(sender) = self.updates.get(uid) {
            sender.send_replace(PodUpdate::Gone);
        } else if let Some(sandbox) = was_unreadable.then(|| self.sandbox(uid)).flatten() {
            self.remove(sandbox);
        }
    }

    /// Removes a pod without a worker from the machine.
    fn remove(&mut self, sandbox: Sandbox) {
        let uid = sandbox.record().uid.to_string();
        tracing::info!(pod = %sandbox.record().name, "removing a pod that was deleted from the API");
        self.workers.spawn(async move {
            worker::remove(sandbox).await;
            uid
        });
    }

    /// Removes all pods that a complete list does not have, including those that only the state
    /// directory has.
    fn remove_unlisted(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        self.binder.end_list(|uid| listed.contains(uid));
        let missing: Vec<String> =
            self.updates.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        for uid in missing {
            self.pod_removed(&uid);
        }
        self.unreadable.retain(|uid, _| listed.contains(uid));
        self.bound.retain(|uid| listed.contains(uid));
        self.is_listed = true;
        let sandboxes = match self.context.runtime.sandboxes() {
            Ok(sandboxes) => sandboxes,
            Err(error) => {
                tracing::error!(error = %chain(&error), "cannot list the pods in the state directory");
                return;
            }
        };
        for sandbox in sandboxes {
            let uid = sandbox.record().uid.to_string();
            if !self.updates.contains_key(&uid) && !listed.contains(&uid) {
                self.remove(sandbox);
            }
        }
    }

    /// Waits until the workers have finished their current step, so that no container is half
    /// started and the state directory is no longer used.
    async fn finish(mut self) {
        self.binder.finish().await;
        // A worker ends when the sender of its updates is dropped.
        self.updates.clear();
        let all = async { while self.workers.join_next().await.is_some() {} };
        if timeout(FINISH_TIMEOUT, all).await.is_err() {
            tracing::warn!(
                "stopped before all pod workers had finished; the next agent resumes them"
            );
            self.workers.shutdown().await;
        }
    }

    fn worker_ended(&mut self, result: Result<String, tokio::task::JoinError>) {
        match result {
            Ok(uid) => {
                self.updates.remove(&uid);
            }
            // The shims keep the pod's processes running, but the pod has no worker until the next
            // start of the agent.
            Err(error) => {
                tracing::error!(%error, "a pod worker failed; restart the agent to resume its pod")
            }
        }
    }
}
