//! Connections from the API server to the node agent: commands in pods, and ports of pods.

use std::io;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use mxjob_apiserver::node::{ExecRequest, ExecSession, Link, PortRequest, Resize, Stdin};
use mxjob_node::{Handle, exec};
use tokio::net::TcpStream;

/// Starts a command in a container.
pub(super) async fn exec(node: Handle, request: ExecRequest) -> io::Result<ExecSession> {
    let ExecRequest { uid, container, command, stdin, stdout, stderr, tty } = request;
    let request = exec::Request { uid, container, command, stdin, stdout, stderr, tty };
    // Starting a process blocks for some milliseconds.
    let started = tokio::task::spawn_blocking(move || node.exec(&request)).await?;
    let exec::Session { stdin, stdout, stderr, terminal, program } =
        started.map_err(io::Error::other)?;
    Ok(ExecSession {
        stdin: stdin.map(|writer| Box::new(Input(writer)) as Box<dyn Stdin>),
        stdout: stdout.map(|reader| Box::pin(reader.into_stream()) as _),
        stderr: stderr.map(|reader| Box::pin(reader.into_stream()) as _),
        resize: terminal.map(|terminal| {
            Box::new(move |columns, rows| terminal.resize(columns, rows)) as Resize
        }),
        exit: Some(Box::pin(program.wait())),
    })
}

/// Connects to a port of a pod.
pub(super) async fn port(node: Handle, request: PortRequest) -> io::Result<Box<dyn Link>> {
    let PortRequest { uid, port } = request;
    let address = node
        .address_of(&uid)
        .ok_or_else(|| io::Error::other("the pod does not run on this node"))?;
    let stream = TcpStream::connect((address, port)).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot connect to {address}:{port}: {error}"))
    })?;
    // Forwarded connections carry small messages that must not be delayed.
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

/// Standard input of a command.
struct Input(exec::Writer);

// === impl Input ===

impl Stdin for Input {
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.0.write(&data).await })
    }
}
