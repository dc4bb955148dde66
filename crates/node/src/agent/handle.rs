//! Access to a node for the API server, while its agent runs.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_core::Stream;

use super::usage::{NodeUsage, Sampler};
use crate::{
    clock, exec, log,
    runtime::{Isolation, ShimCommand},
    state,
};

/// Access to the logs of this node, to commands in its containers, and to what its pods use. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) state_dir: Arc<PathBuf>,
    pub(super) isolation: Arc<Isolation>,
    pub(super) shim: Arc<ShimCommand>,
    pub(super) usage: Arc<Sampler>,
}

impl Handle {
    /// How pods are isolated from each other.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// Opens the log of a container.
    ///
    /// # Errors
    /// When the log does not exist on this node or cannot be read.
    pub fn logs(
        &self,
        request: &log::read::Request,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, log::read::Error> {
        log::read::open(&self.state_dir, request, clock::now())
    }

    /// Runs a command in a running container. Blocks until its process is started. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the container does not run, or the process cannot be started.
    pub fn exec(&self, request: &exec::Request) -> Result<exec::Session, exec::Error> {
        exec::start(&self.state_dir, &self.shim, request)
    }

    /// What this machine and its pods use. The first call in a minute takes a second.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub async fn usage(&self) -> io::Result<NodeUsage> {
        self.usage.usage().await
    }

    /// What this machine and its pods have used, in the OpenMetrics text format without its end: a
    /// sample that is at most as old as the time between two calls.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.usage.metrics()
    }

    /// The loopback address of a pod of this node.
    #[must_use]
    pub fn address_of(&self, uid: &str) -> Option<std::net::Ipv4Addr> {
        let uid = uid.parse().ok()?;
        state::PodDir::new(&self.state_dir, &uid).record().map(|record| record.address)
    }
}
