//! The agent: makes the pods that are bound to this node real, and says in their status what became of them.
//!
//! ```text
//!  watch pods ──┬─ unbound ──▶ bind
//!               └─ ours ─────▶ one worker per pod ──▶ runtime (shims)
//!  watch services ──▶ names ──▶ hosts files of the pods
//! ```
//!
//! It is an ordinary API client and keeps no truth of its own: what should run is in the API, what runs is in
//! the state directory. Stopping the agent stops no pod; the next one finds them.

mod bind;
mod command;
mod container;
mod events;
mod mounts;
mod names;
mod register;
mod sources;
mod start;
mod status;
mod worker;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    future::Future,
    io,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use mxjob_client::{Lenient, Raw, Unreadable};
use mxjob_machinery::error::chain;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use self::{events::Events, names::Names};
use crate::{
    exec, log,
    runtime::{Error, Isolation, IsolationMode, Runtime, Sandbox, ShimCommand},
    state,
};

/// Changes of pods and services that come together lead to one rewrite of the hosts files.
const NAMES_DELAY: Duration = Duration::from_millis(10);

/// How often unused addresses are looked for. Nobody waits for it.
const UNUSED_EVERY: Duration = Duration::from_secs(60);

/// How long a stopping agent waits for steps in progress.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// What an agent has to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for everything about pods; one agent at a time.
    pub state_dir: PathBuf,
    /// Name of the node; [`Config::new`] takes the host name.
    pub node_name: String,
    /// Where containers run that do not say where; relative working directories begin here.
    pub workdir: PathBuf,
    /// How to become a shim.
    pub shim: ShimCommand,
    /// How pods are kept apart.
    pub isolation: IsolationMode,
    /// `PATH` of containers that set none.
    pub path: String,
    /// What pods can ask for besides CPU, memory and their places, by resource name; [`Config::new`] takes the GPUs that it finds.
    /// The node counts them and keeps nobody from using more.
    pub extended_resources: BTreeMap<String, i64>,
}

/// The agent before it runs.
pub struct Agent {
    context: Arc<Context>,
}

/// Access to what the node alone has: logs, commands in containers, and how pods are kept apart.
#[derive(Debug, Clone)]
pub struct Handle {
    state_dir: Arc<PathBuf>,
    isolation: Arc<Isolation>,
    shim: Arc<ShimCommand>,
}

/// What all parts of the agent share.
struct Context {
    client: Client,
    config: Config,
    runtime: Runtime,
    names: Names,
    events: Events,
    /// The machine's own address.
    host_ip: String,
}

/// What a worker knows of its pod.
#[derive(Debug, Clone)]
enum Wanted {
    /// The newest version.
    Present(Arc<Pod>),
    /// It is no longer in the API.
    Gone,
}

// === impl Config ===

impl Config {
    /// A configuration with every default: this host's name, the current folder, this program as shim.
    ///
    /// # Errors
    /// When the current folder or the path of this program is not known.
    pub fn new(state_dir: PathBuf) -> io::Result<Self> {
        Ok(Self {
            state_dir,
            node_name: register::host_name(),
            workdir: std::env::current_dir()?,
            shim: ShimCommand::current_exe()?,
            isolation: IsolationMode::Auto,
            extended_resources: register::devices(),
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        })
    }
}

// === impl Handle ===

impl Handle {
    /// What keeps the pods of this node apart.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// Opens the log of a container.
    ///
    /// # Errors
    /// When there is no such log on this node.
    pub fn logs(
        &self,
        request: &log::read::Request,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, log::read::Error> {
        log::read::open(&self.state_dir, request, Timestamp::now())
    }
}

impl Handle {
    /// Runs a command beside the program of a running container. Blocks for the start of a process. Needs a tokio
    /// runtime around it.
    ///
    /// # Errors
    /// When the container does not run, or the process cannot be started.
    pub fn exec(&self, request: &exec::Request) -> Result<exec::Session, exec::Error> {
        exec::start(&self.state_dir, &self.shim, request)
    }

    /// The address at which a pod of this node listens.
    #[must_use]
    pub fn address_of(&self, uid: &str) -> Option<std::net::Ipv4Addr> {
        let uid = uid.parse().ok()?;
        state::PodDir::new(&self.state_dir, &uid).record().map(|record| record.address)
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
    /// Takes the state directory. Nothing runs yet. Call within a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be used, or another agent has it.
    pub fn new(config: Config, client: Client) -> Result<Self, Error> {
        let runtime = Runtime::open(&config.state_dir, config.shim.clone(), config.isolation)?;
        let names = Names::open(runtime.state_dir());
        let events = Events::start(client.clone(), config.node_name.clone());
        let host_ip = register::host_ip();
        let context = Context { client, config, runtime, names, events, host_ip };
        Ok(Self { context: Arc::new(context) })
    }

    /// Access to the logs of this node.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            state_dir: Arc::new(self.context.runtime.state_dir().to_owned()),
            isolation: Arc::new(self.context.runtime.isolation().clone()),
            shim: Arc::new(self.context.config.shim.clone()),
        }
    }

    /// Runs until `shutdown`. Pods go on afterwards. API errors never end it; they are retried.
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
        let mut unused = interval(UNUSED_EVERY);
        unused.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When the hosts files are to be looked at.
        let mut refresh_at: Option<Instant> = None;
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(event) = pod_events.next() => match event {
                    Ok(event) => pods.handle(event),
                    Err(error) => tracing::warn!(%error, "cannot watch pods"),
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
                    pods.finished(result);
                }
                () = sleep_until(refresh_at.unwrap_or_else(Instant::now)), if refresh_at.is_some() => {
                    refresh_at = None;
                    context.names.refresh();
                }
                _ = unused.tick() => context.names.release_unused(),
            }
            if refresh_at.is_none() && context.names.is_stale() {
                refresh_at = Some(Instant::now() + NAMES_DELAY);
            }
        }
        tasks.shutdown().await;
        pods.finish().await;
    }
}

/// The last readable version of a pod, told to end as the newest one is.
fn leaving(last: &Pod, newest: &Raw) -> Pod {
    let mut pod = last.clone();
    let time = newest.text("/metadata/deletionTimestamp").parse();
    pod.metadata.deletion_timestamp = Some(Time(time.unwrap_or_else(|_| Timestamp::now())));
    pod.metadata.deletion_grace_period_seconds = newest
        .value
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(serde_json::Value::as_i64);
    pod
}

/// The workers, one for each pod that is or was bound to this node.
struct Pods {
    context: Arc<Context>,
    wanted: HashMap<String, watch::Sender<Wanted>>,
    /// Ends with the uid of the pod.
    workers: JoinSet<String>,
    /// Uids seen during a new list of all pods.
    listed: Option<HashSet<String>>,
    /// Pods that are here, or may be, and cannot be read as they are now: by uid, whether they have been told to end.
    unread: HashMap<String, bool>,
    binder: bind::Binder,
}

/// The object of an event that cannot be read.
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
            wanted: HashMap::new(),
            workers: JoinSet::new(),
            listed: None,
            unread: HashMap::new(),
            binder,
        }
    }

    fn handle(&mut self, event: watcher::Event<Lenient<Pod>>) {
        match event {
            watcher::Event::Apply(pod) => self.look_at(pod),
            watcher::Event::Delete(pod) => {
                self.gone(pod.meta().uid.as_deref().unwrap_or_default());
            }
            watcher::Event::Init => {
                self.binder.list_begins();
                self.listed = Some(HashSet::new());
            }
            watcher::Event::InitApply(pod) => {
                if let (Some(listed), Some(uid)) = (&mut self.listed, &pod.meta().uid) {
                    listed.insert(uid.clone());
                }
                self.look_at(pod);
            }
            watcher::Event::InitDone => self.forget_unlisted(),
        }
    }

    fn look_at(&mut self, pod: Lenient<Pod>) {
        match pod.0 {
            Ok(pod) => self.apply(pod),
            Err(unreadable) => self.leave_as_it_is(*unreadable),
        }
    }

    /// A pod that cannot be read is not started, and what runs of it goes on: it ends when the pod is deleted.
    fn leave_as_it_is(&mut self, pod: Unreadable) {
        let Some(uid) = pod.raw.uid() else { return };
        let node = pod.raw.text("/spec/nodeName");
        let is_cared_for = self.wanted.contains_key(&uid);
        if !node.is_empty() && node != self.context.config.node_name && !is_cared_for {
            return;
        }
        self.context.events.unreadable(&pod);
        if is_cared_for || !node.is_empty() {
            self.binder.is_bound_unread(&pod.raw, &uid);
        } else {
            self.binder.is_gone(&uid);
        }
        let is_leaving = pod.raw.is_leaving();
        let was_leaving = self.unread.insert(uid.clone(), is_leaving).unwrap_or(false);
        if !is_leaving || was_leaving {
            return;
        }
        if let Some(sender) = self.wanted.get(&uid) {
            let last = sender.borrow().clone();
            if let Wanted::Present(last) = last {
                sender.send_replace(Wanted::Present(Arc::new(leaving(&last, &pod.raw))));
            }
        } else if !node.is_empty() {
            self.remove_unread(uid, pod.raw);
        }
    }

    /// Removes a pod that was never read in this agent's life, from the machine and from the API.
    fn remove_unread(&mut self, uid: String, pod: Raw) {
        let sandbox = self.sandbox(&uid);
        let context = Arc::clone(&self.context);
        self.workers.spawn(async move {
            worker::remove_unread(&context, pod, sandbox).await;
            uid
        });
    }

    /// What an earlier agent left of a pod on the machine.
    fn sandbox(&self, uid: &str) -> Option<Sandbox> {
        let sandboxes = self.context.runtime.sandboxes().unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "cannot look for old pods");
            Vec::new()
        });
        sandboxes.into_iter().find(|sandbox| sandbox.record().uid.as_str() == uid)
    }

    fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        self.unread.remove(&uid);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() {
            self.binder.consider(&pod, &uid);
            return;
        }
        let ours = node == self.context.config.node_name;
        self.binder.is_bound(&pod, &uid, ours);
        self.context.names.set_pod(&pod, ours);
        if !ours {
            return;
        }
        let wanted = Wanted::Present(Arc::new(pod));
        match self.wanted.get(&uid) {
            Some(sender) => {
                sender.send_replace(wanted);
            }
            None => {
                let (sender, receiver) = watch::channel(wanted);
                self.wanted.insert(uid.clone(), sender);
                let context = Arc::clone(&self.context);
                self.workers.spawn(async move {
                    worker::run(context, receiver).await;
                    uid
                });
            }
        }
    }

    fn gone(&mut self, uid: &str) {
        self.binder.is_gone(uid);
        self.context.names.remove_pod(uid);
        let was_unread = self.unread.remove(uid).is_some();
        if let Some(sender) = self.wanted.get(uid) {
            sender.send_replace(Wanted::Gone);
        } else if let Some(sandbox) = was_unread.then(|| self.sandbox(uid)).flatten() {
            self.remove(sandbox);
        }
    }

    /// Removes from the machine what has no worker.
    fn remove(&mut self, sandbox: Sandbox) {
        let uid = sandbox.record().uid.to_string();
        tracing::info!(pod = %sandbox.record().name, "removing a pod that is no longer in the API");
        self.workers.spawn(async move {
            worker::remove(sandbox).await;
            uid
        });
    }

    /// After a complete list: what it does not have is gone, also what only the state directory knows.
    fn forget_unlisted(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        self.binder.list_ends(|uid| listed.contains(uid));
        let missing: Vec<String> =
            self.wanted.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        for uid in missing {
            self.gone(&uid);
        }
        self.unread.retain(|uid, _| listed.contains(uid));
        let sandboxes = match self.context.runtime.sandboxes() {
            Ok(sandboxes) => sandboxes,
            Err(error) => {
                tracing::error!(error = %chain(&error), "cannot look for old pods");
                return;
            }
        };
        for sandbox in sandboxes {
            let uid = sandbox.record().uid.to_string();
            if !self.wanted.contains_key(&uid) && !listed.contains(&uid) {
                self.remove(sandbox);
            }
        }
    }

    /// Lets the workers end the step they are in, so that no container is half started and nobody uses the
    /// state directory afterwards.
    async fn finish(mut self) {
        self.binder.finish().await;
        // A worker ends when nobody can tell it anything any more.
        self.wanted.clear();
        let all = async { while self.workers.join_next().await.is_some() {} };
        if timeout(FINISH_LIMIT, all).await.is_err() {
            tracing::warn!("some pods are still being worked on; leaving them as they are");
            self.workers.shutdown().await;
        }
    }

    fn finished(&mut self, result: Result<String, tokio::task::JoinError>) {
        match result {
            Ok(uid) => {
                self.wanted.remove(&uid);
            }
            // The pod's processes live under their shims; only the care for them has ended until a restart.
            Err(error) => tracing::error!(%error, "the worker of a pod has failed"),
        }
    }
}
