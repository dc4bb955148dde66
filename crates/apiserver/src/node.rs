//! What the API server requests from nodes: container logs, commands, and connections to pods.

mod connect;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;

pub use self::connect::{ExecRequest, ExecSession, Link, PortRequest, Resize, Stdin};

/// The bytes of a log.
pub type LogStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Gives access to containers on a node. At startup it is connected to the node agent.
pub trait NodeConnector: fmt::Debug + Send + Sync {
    /// Opens a container's log.
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, LogError>>;

    /// Starts a command in the environment of a running container. Dropping the session kills it.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, io::Result<ExecSession>> {
        drop(request);
        Box::pin(async {
            Err(io::Error::other("this node does not support running commands in containers"))
        })
    }

    /// What the node and its pods use.
    fn usage(&self) -> BoxFuture<'static, io::Result<NodeUsage>> {
        Box::pin(async { Err(io::Error::other("this node does not measure what its pods use")) })
    }

    /// Connects to a port of a pod.
    fn connect(&self, request: PortRequest) -> BoxFuture<'static, io::Result<Box<dyn Link>>> {
        drop(request);
        Box::pin(async { Err(io::Error::other("this node does not support connections to ports")) })
    }
}

/// What a container or a machine uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time for each second, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// What a node and its pods use.
#[derive(Debug, Clone)]
pub struct NodeUsage {
    /// Name of the node.
    pub name: String,
    /// The end of the time of which this is the mean.
    pub time: jiff::Timestamp,
    /// That time.
    pub window: Duration,
    /// The whole machine.
    pub node: Usage,
    /// The pods with running containers.
    pub pods: Vec<PodUsage>,
}

/// What a pod uses.
#[derive(Debug, Clone)]
pub struct PodUsage {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Uid of the pod.
    pub uid: String,
    /// Its running containers by name.
    pub containers: Vec<(String, Usage)>,
}

/// Which log, and how much of it.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
    /// Keep the stream open until the container ends.
    pub follow: bool,
    /// The log of the container's previous run.
    pub previous: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only lines of this many last seconds.
    pub since_seconds: Option<u64>,
    /// Only lines from this time on.
    pub since_time: Option<jiff::Timestamp>,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The container has not started.
    #[error("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")]
    NotStarted {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
        /// What it waits for.
        reason: String,
    },
    /// No container can have such a name.
    #[error("container {container} is not valid for pod {pod}")]
    NoContainer {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// There was no previous run.
    #[error("previous terminated container \"{container}\" in pod \"{pod}\" not found")]
    NoPrevious {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The log cannot be read.
    #[error("unable to read the log of container \"{container}\" in pod \"{pod}\"")]
    Read {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}
