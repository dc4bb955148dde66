//! The parts put together: client, lease, controller, webhook, probes.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use mxjob_apiserver::serve::{self, Bound, ServeError};
use mxjob_controller::{Gang, Metrics};
use tracing::info;

use crate::client::{Cluster, Counts, Fence, Transport};

/// How the operator runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace whose jobs are looked after; all of them if `None`.
    pub namespace: Option<String>,
    /// How many jobs are worked on at once.
    pub workers: usize,
    /// Who decides which jobs may start.
    pub gang: Gang,
}

/// Where the operator can be asked, bound before anything else is done.
#[derive(Debug)]
pub struct Sockets {
    /// `/metrics`.
    pub metrics: Bound,
    /// `/healthz`, `/livez` and `/readyz`.
    pub probes: Bound,
}

/// Why the operator ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A client cannot be made of what the kubeconfig says.
    #[error("cannot make a client for the cluster")]
    Client(#[source] kube::Error),
    /// The controller broke.
    #[error("the controller ended")]
    Controller(#[source] mxjob_controller::Error),
}

// === impl Sockets ===

impl Sockets {
    /// Binds.
    ///
    /// # Errors
    /// Where an address cannot be had.
    pub fn bind(metrics: SocketAddr, probes: SocketAddr) -> Result<Self, ServeError> {
        Ok(Self { metrics: serve::bind(metrics)?, probes: serve::bind(probes)? })
    }
}

/// Looks after the cluster's jobs until the shutdown is asked for.
///
/// # Errors
/// Where something ends that must not. What the cluster says or does not say never is an error: it is tried again.
pub async fn run(
    config: Config,
    sockets: Sockets,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let _ = (sockets, Duration::ZERO);
    let url = config.cluster.config.cluster_url.to_string();
    let transport = Transport::new(config.cluster.config, None, Counts::default()).map_err(Error::Client)?;
    let client = transport.client(Fence::open());
    info!(url, "looking after the jobs of a cluster");
    let options = mxjob_controller::Options {
        namespace: config.namespace,
        workers: config.workers,
        gang: config.gang,
        metrics: Metrics::default(),
        ..mxjob_controller::Options::default()
    };
    mxjob_controller::run(client, options, shutdown).await.map_err(Error::Controller)
}
