//! The API server's connection to the node agent, and logs: translates requests and errors between
//! the two crates.

use std::io;

use futures_core::future::BoxFuture;
use mxjob_apiserver::node::{
    ExecRequest, ExecSession, Link, LogError, LogRequest, LogStream, NodeConnector, NodeUsage,
    PortRequest,
};
use mxjob_node::Handle;
use mxjob_node::log::read;

use super::{connect, usage};

/// The node agent of this machine.
#[derive(Debug)]
pub(crate) struct Logs {
    pub(crate) node: Handle,
    /// The name of its Node.
    pub(crate) name: String,
}

// === impl Logs ===

impl NodeConnector for Logs {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, LogError>> {
        let node = self.node.clone();
        Box::pin(async move { open(&node, request) })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, io::Result<ExecSession>> {
        Box::pin(connect::exec(self.node.clone(), request))
    }

    fn usage(&self) -> BoxFuture<'static, io::Result<NodeUsage>> {
        let (node, name) = (self.node.clone(), self.name.clone());
        Box::pin(async move { Ok(usage::of(name, node.usage().await?)) })
    }

    fn connect(&self, request: PortRequest) -> BoxFuture<'static, io::Result<Box<dyn Link>>> {
        Box::pin(connect::port(self.node.clone(), request))
    }
}

fn open(node: &Handle, request: LogRequest) -> Result<LogStream, LogError> {
    let LogRequest { namespace, pod, uid, container, .. } = request;
    let read_request = read::Request {
        namespace,
        pod: pod.clone(),
        uid: Some(uid),
        container: Some(container.clone()),
        follow: request.follow,
        previous: request.previous,
        tail_lines: request.tail_lines,
        timestamps: request.timestamps,
        since_seconds: request.since_seconds,
        since_time: request.since_time,
        limit_bytes: request.limit_bytes,
    };
    match node.logs(&read_request) {
        Ok(stream) => Ok(Box::pin(stream)),
        Err(read::Error::NoContainer { .. }) => Err(LogError::NoContainer { container, pod }),
        Err(read::Error::NoPrevious { .. }) => Err(LogError::NoPrevious { container, pod }),
        Err(read::Error::Read { source, .. }) => Err(LogError::Read { container, pod, source }),
        Err(
            read::Error::NoPod { .. }
            | read::Error::NotStarted { .. }
            | read::Error::Ambiguous { .. },
        ) => Err(LogError::NotStarted { container, pod, reason: "ContainerCreating".to_owned() }),
    }
}
