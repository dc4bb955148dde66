//! Wires the parts together: all start at the same time, and stop in order.
//!
//! ```text
//! client ─┬─▶ probes, metrics, webhook ──────────────────────────────────────┐ all the time
//!         ├─▶ preflight: until nothing is missing                            │
//!         └─▶ lease ─ term ─▶ controller ─ lost ─▶ stopped ─▶ standing by    │
//!
//! SIGTERM: not ready ─▶ controller stopped ─▶ lease released ─▶ webhook, probes, metrics
//! ```
//!
//! The lease is renewed until the controller has stopped and is released only then, so the next
//! leader starts immediately and never beside this one. The webhook is served until the cluster has
//! noticed that this replica is no longer ready.

mod advice;
mod leading;
mod parts;
mod sockets;

use std::pin::pin;
use std::time::Instant;

use mxjob_controller::Gang;
use mxjob_serve::ServeError;
use tokio::sync::watch;
use tracing::info;

use crate::client::{Cluster, Rate, Transport};
use crate::lease::Election;
use crate::metrics::Metrics;
use crate::probes::Health;
use crate::webhook;
use parts::Parts;

pub use sockets::{Sockets, bind_everywhere};

/// How the operator runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace whose jobs are managed; all namespaces if `None`.
    pub namespace: Option<String>,
    /// The operator's own namespace, which holds its Service and its Secret.
    pub own_namespace: String,
    /// How many jobs are reconciled at the same time.
    pub workers: usize,
    /// A limit on requests; none if `None`.
    pub rate: Option<Rate>,
    /// The leader election; if `None` the operator leads from the start.
    pub election: Option<Election>,
    /// How the pods of a job are started together.
    pub gang: Gang,
}

/// Why the operator ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig's settings do not make a client.
    #[error("cannot make a client for the cluster")]
    Client(#[source] kube::Error),
    /// The controller failed.
    #[error("the controller failed")]
    Controller(#[source] mxjob_controller::Error),
    /// The webhook cannot be served.
    #[error("the webhook failed")]
    Webhook(#[source] webhook::Error),
    /// Probes or metrics cannot be served.
    #[error("cannot serve the {0}")]
    Pages(&'static str, #[source] ServeError),
    /// A task ended that must not: a bug.
    #[error("a part of the operator ended unexpectedly")]
    Part(#[source] Option<tokio::task::JoinError>),
}

/// What all parts share.
struct Shared {
    config: Config,
    /// The API server's address, for messages.
    url: String,
    transport: Transport,
    metrics: Metrics,
    health: Health,
    controller_health: mxjob_controller::Health,
    started: Instant,
}

// === impl Shared ===

impl Shared {
    /// `certified` says whether the webhook has a certificate; `None` without a webhook.
    fn new(config: Config, certified: Option<watch::Receiver<bool>>) -> Result<Self, Error> {
        let metrics = Metrics::default();
        let cluster = config.cluster.config.clone();
        let url = cluster.cluster_url.to_string().trim_end_matches('/').to_owned();
        let transport = Transport::new(cluster, config.rate, metrics.requests.clone())
            .map_err(Error::Client)?;
        let controller_health = mxjob_controller::Health::default();
        let election_timeout = config.election.as_ref().map(|election| election.timing.lease * 2);
        let health = Health::new(election_timeout, certified, controller_health.clone());
        health.election_progressed();
        let started = Instant::now();
        Ok(Self { config, url, transport, metrics, health, controller_health, started })
    }

    fn controller_options(&self) -> mxjob_controller::Options {
        mxjob_controller::Options {
            namespace: self.config.namespace.clone(),
            workers: self.config.workers,
            gang: self.config.gang.clone(),
            metrics: self.metrics.controller.clone(),
            health: self.controller_health.clone(),
            ..mxjob_controller::Options::default()
        }
    }
}

/// Manages the cluster's jobs until `shutdown`.
///
/// # Errors
/// Where a part ends that must not. No answer of the cluster, nor a missing one, is an error: it is
/// reported and retried.
pub async fn run(
    config: Config,
    sockets: Sockets,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Sockets { metrics, probes, webhook } = sockets;
    let has_webhook = webhook.is_some();
    let (certified, is_certified) = watch::channel(false);
    let shared = Shared::new(config, has_webhook.then_some(is_certified))?;
    info!(url = shared.url, namespace = shared.config.namespace, "started managing jobs");

    let mut parts = Parts::new();
    parts.serve_pages(&shared, probes, metrics);
    if let Some(webhook) = webhook {
        parts.serve_webhook(&shared, webhook, certified);
    }
    parts.check_preconditions(&shared, has_webhook);
    let term = parts.join_election(&shared);

    let shutdown = pin!(async {
        shutdown.await;
        shared.health.stopping();
    });
    let result = tokio::select! {
        result = leading::lead(&shared, term, shutdown) => result,
        error = parts.failure() => Err(error),
    };
    shared.health.stopping();
    parts.stop().await;
    result
}
