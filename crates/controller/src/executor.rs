//! Carries plans out against a Kubernetes API.
//!
//! ```text
//! watches ─▶ cache ─▶ work queue ─▶ workers: snapshot ─▶ plan ─▶ effects ─▶ API
//!              ▲                                                     │
//!              └──────────────────── answers ◀───────────────────────┘
//! ```
//!
//! It holds no rules: [`plan`](crate::plan::plan) decides what a job needs. It reads from its
//! caches and never lists live. Its own writes are in the cache before the next plan is made, so
//! nothing is created or counted twice. It must be the only controller of its jobs; a second one
//! does no harm to objects (the server refuses duplicates), but both would do the work.

mod cache;
mod capacity;
mod context;
mod debounce;
mod effects;
mod error;
mod events;
mod gang_queue;
mod local_cache;
mod object;
mod obstacles;
mod requests;
mod status;
mod stored_job;
mod sync_gate;
mod watches;
mod work_queue;
mod worker;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::info;

use crate::health::Health;
use crate::metrics::Metrics;
use crate::pod_group::member::Kind;
use crate::scheduling::Gang;
use cache::{Cache, Resource};
use context::Context;
use debounce::Debounce;
use requests::{Child, Requests};
use sync_gate::SyncGate;
use work_queue::WorkQueue;

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace whose jobs are managed; `None` means all namespaces.
    pub namespace: Option<String>,
    /// How many jobs are reconciled in parallel.
    pub workers: usize,
    /// Who decides which jobs may start.
    pub gang: Gang,
    /// The metrics; keep a clone to read them.
    pub metrics: Metrics,
    /// The health of the controller; keep a clone to read it.
    pub health: Health,
    /// Whether a node that runs containers as processes runs the pods, so that jobs get an event
    /// about the fields that it does not honour.
    pub process_node: bool,
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl Default for Options {
    /// All namespaces. Four workers keep an in-process API server busy; the requests of one job
    /// also run in parallel.
    fn default() -> Self {
        Self {
            namespace: None,
            workers: 4,
            gang: Gang::Off,
            metrics: Metrics::default(),
            health: Health::default(),
            process_node: false,
            now: Timestamp::now,
        }
    }
}

/// Why the controller stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of its tasks ended by itself: a bug.
    #[error("a task of the controller exited unexpectedly")]
    Task(#[source] Option<JoinError>),
}

/// How long the last requests may take after a shutdown was requested. The next controller does
/// what is cut off.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Manages all jobs until the shutdown is requested.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    options.health.begin();
    let requests = Requests::new(client.clone());
    let (recorder, poster) = events::channel(client.clone(), options.health.clone());
    let context = Context {
        requests,
        cache: Cache::new(options.gang == Gang::Native, options.metrics.clone()),
        recorder,
        metrics: options.metrics.clone(),
        sync_gate: SyncGate::new(options.health.clone()),
        health: options.health.clone(),
        debounce: Debounce::default(),
        scheduler: match &options.gang {
            Gang::PodGroups(scheduler) => Some(scheduler.clone()),
            Gang::Off | Gang::Native => None,
        },
        process_node: options.process_node,
        now: options.now,
    };
    let poster = tokio::spawn(poster.run());
    let mut controller = Controller::new(client, options, context);
    let mut shutdown = pin!(shutdown);

    controller.start_workers();
    let is_synced = tokio::select! {
        () = controller.sync() => true,
        () = &mut shutdown => false,
    };
    if is_synced {
        controller.start_reconciling();
        tokio::select! {
            ended = controller.tasks.join_next() => {
                return Err(Error::Task(ended.and_then(Result::err)));
            }
            () = &mut shutdown => {}
        }
    }
    controller.stop().await;
    // It ends when the last recorder is gone.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, poster).await;
    Ok(())
}

/// The tasks of a running controller and what they share.
struct Controller {
    client: Client,
    options: Options,
    context: Arc<Context>,
    queue: Arc<WorkQueue>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Controller {
    fn new(client: Client, options: Options, context: Context) -> Self {
        Self {
            client,
            options,
            context: Arc::new(context),
            queue: Arc::default(),
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
        }
    }

    /// Until everything has been listed the workers only report obstacles.
    fn start_workers(&mut self) {
        for _ in 0..self.options.workers.max(1) {
            let (context, queue) = (Arc::clone(&self.context), Arc::clone(&self.queue));
            self.tasks.spawn(worker::work(context, queue, self.stop.subscribe()));
        }
    }

    /// Follows all resources and waits until each has been listed once.
    async fn sync(&mut self) {
        // Jobs before what they own: a list of pods is then at least as new as every job's status.
        self.follow(&[Resource::Jobs]).await;
        let mut others = Vec::from([Child::Pod, Child::Service].map(Resource::Children));
        if let Some(scheduler) = &self.context.scheduler {
            others.push(Resource::Children(Child::PodGroup(Kind::of(scheduler))));
        }
        if self.options.gang == Gang::Native {
            others.push(Resource::Nodes);
            if gang_queue::has_priority_classes(&self.client).await {
                others.push(Resource::PriorityClasses);
            }
        }
        self.follow(&others).await;
    }

    async fn follow(&mut self, resources: &[Resource]) {
        let mut listed = Vec::with_capacity(resources.len());
        for resource in resources {
            let (follower, is_listed) = watches::follow(
                &self.client,
                self.options.namespace.as_deref(),
                *resource,
                self.options.gang == Gang::Native,
                &self.context,
                &self.queue,
            );
            self.tasks.spawn(follower);
            listed.push(is_listed);
        }
        for is_listed in listed {
            let _ = is_listed.await;
        }
    }

    /// Lets the workers plan, and starts what needs a complete cache.
    fn start_reconciling(&mut self) {
        info!("caches synced");
        self.context.sync_gate.open();
        for key in self.context.cache.keys() {
            self.queue.add(key);
        }
        if self.options.gang == Gang::Native {
            let (context, queue) = (Arc::clone(&self.context), Arc::clone(&self.queue));
            self.tasks.spawn(gang_queue::keep_deciding(context, queue));
        }
    }

    async fn stop(mut self) {
        let _ = self.stop.send(true);
        // The followers never end by themselves. The workers have ended when all receivers of
        // the stop signal are gone.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.stop.closed()).await;
        self.tasks.shutdown().await;
    }
}
