//! Carries plans out against a Kubernetes API.
//!
//! ```text
//! watches ─▶ cache ─▶ queue ─▶ workers: snapshot ─▶ plan ─▶ effects ─▶ API
//!              ▲                                              │
//!              └──────────────── answers ◀────────────────────┘
//! ```
//!
//! It holds no rules: what a job needs is [`plan`](crate::plan::plan)'s business. It reads from its caches and never lists live; its own
//! writes are in the cache when the next plan is made, so nothing is made or counted twice. It must be the only controller of its
//! jobs; a second one does no harm to objects (the server refuses what is double) but both would do the work.

mod cache;
mod document;
mod effects;
mod events;
mod gang;
mod gate;
mod ledger;
mod mirror;
mod object;
mod obstacles;
mod pace;
mod queue;
mod requests;
mod status;
mod vigil;
mod watches;
mod work;

use crate::metrics::Metrics;
use crate::nodes::Limits;
use crate::pod_group::Kind;
use crate::standing::Standing;
use effects::Context;
use gate::Gate;
use jiff::Timestamp;
use kube::Client;
use pace::Pace;
use queue::Queue;
use requests::{Child, Requests};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace whose jobs are looked after; all of them if `None`.
    pub namespace: Option<String>,
    /// How many jobs are worked on at once.
    pub workers: usize,
    /// Who decides which jobs may start.
    pub gang: Gang,
    /// How long nodes may be silent until they, and then their pods, are given up; `None` where a cluster's own node controller sees
    /// to that.
    pub nodes: Option<Limits>,
    /// Where the controller counts; keep a clone to read it.
    pub metrics: Metrics,
    /// Where the controller says how it stands; keep a clone to read it.
    pub standing: Standing,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// Who sees to it that a job starts with enough of its replicas or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gang {
    /// Nobody, or the cluster's own scheduler: every job may start.
    #[default]
    Off,
    /// The controller, by [`admission`](crate::admission): where nodes bind whatever pods they get, as on one machine. It looks at all pods and
    /// nodes, so `Options::namespace` should be `None` beside it.
    Native,
    /// A scheduler of the cluster that is told of each job by a `PodGroup`.
    PodGroups(PodGroups),
}

/// The schedulers that know a `PodGroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodGroups {
    /// Volcano: it says when the pods of a group may be made.
    Volcano,
    /// A scheduler with the coscheduling plugin of scheduler-plugins: the pods are made at once and held back by it.
    SchedulerPlugins {
        /// Its name, for `schedulerName` of pods that name none.
        scheduler: String,
    },
}

impl Default for Options {
    /// All namespaces. Four workers keep an in-process API server busy; a job's own requests run in parallel besides.
    fn default() -> Self {
        Self {
            namespace: None,
            workers: 4,
            gang: Gang::Off,
            nodes: None,
            metrics: Metrics::default(),
            standing: Standing::default(),
            now: Timestamp::now,
        }
    }
}

/// Why the controller stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of it ended by itself: a bug.
    #[error("a task of the controller ended unexpectedly")]
    Task(#[source] Option<tokio::task::JoinError>),
}

/// How long the last requests may take after the shutdown was asked for. What is cut off is done by the next controller.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Looks after all jobs until the shutdown is asked for.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let admits = options.gang == Gang::Native;
    let scheduler = match &options.gang {
        Gang::PodGroups(scheduler) => Some(scheduler.clone()),
        Gang::Off | Gang::Native => None,
    };
    let requests = Requests::new(client.clone());
    options.standing.begin();
    let (recorder, poster) = events::channel(requests.clone(), options.standing.clone());
    let context = Arc::new(Context {
        requests,
        cache: cache::Cache::new(admits, options.metrics.clone()),
        metrics: options.metrics.clone(),
        recorder,
        gate: Gate::new(options.standing.clone()),
        standing: options.standing.clone(),
        pace: Pace::default(),
        scheduler,
        now: options.now,
    });
    let queue = Arc::new(Queue::default());
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);

    let poster = tokio::spawn(poster.run());
    // They have nothing to do before everything has been seen, unless it is to say what is in the way.
    for _ in 0..options.workers.max(1) {
        tasks.spawn(work::work(Arc::clone(&context), Arc::clone(&queue), stopped.clone()));
    }
    let started = async {
        // Jobs before what they own: a list of pods is then at least as new as every job's word about its pods.
        let mut others = Vec::from([Child::Pod, Child::Service].map(cache::Resource::Children));
        if let Some(scheduler) = &context.scheduler {
            others.push(cache::Resource::Children(Child::PodGroup(Kind::of(scheduler))));
        }
        if admits {
            others.push(cache::Resource::Nodes);
            if gang::has_priority_classes(&client).await {
                others.push(cache::Resource::PriorityClasses);
            }
        }
        for resources in [vec![cache::Resource::Jobs], others] {
            let mut ready = Vec::new();
            for resource in resources {
                let (follower, is_ready) = watches::follow(
                    &client,
                    options.namespace.as_deref(),
                    resource,
                    admits,
                    &context,
                    &queue,
                );
                tasks.spawn(follower);
                ready.push(is_ready);
            }
            for is_ready in ready {
                let _ = is_ready.await;
            }
        }
        info!("the controller has seen all jobs, pods and services");
        context.gate.open();
        for key in context.cache.keys() {
            queue.add(key);
        }
        if admits {
            tasks.spawn(gang::keep_deciding(Arc::clone(&context), Arc::clone(&queue)));
        }
        if let Some(limits) = options.nodes {
            tasks.spawn(vigil::keep(client.clone(), limits, options.now));
        }
    };
    let is_stopped_early = tokio::select! {
        () = started => false,
        () = &mut shutdown => true,
    };
    if !is_stopped_early {
        tokio::select! {
            ended = tasks.join_next() => return Err(Error::Task(ended.and_then(Result::err))),
            () = &mut shutdown => {}
        }
    }
    let _ = stop.send(true);
    drop(stopped);
    // The followers never end by themselves, so wait for the workers by their last hold on the stop signal.
    let _ = tokio::time::timeout(LAST_REQUESTS, stop.closed()).await;
    tasks.shutdown().await;
    drop(context);
    let _ = tokio::time::timeout(LAST_REQUESTS, poster).await;
    Ok(())
}
