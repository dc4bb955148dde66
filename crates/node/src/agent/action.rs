//! What a probe or a hook does: a command, an HTTP request, a connection, a gRPC health check or a
//! pause. What it reads is bounded: commands and servers belong to users.

mod grpc;
mod http;

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use k8s_openapi::{
    api::core::v1::{
        Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use mxjob_machinery::error::chain;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    exec::{self, Reader, Request, Session},
    runtime::ShimCommand,
};

/// The part of an output or an answer that is kept: the kubelet's limit.
const MAX_OUTPUT: usize = 10 * 1024;

/// How long output is awaited after the end of a command: another process may keep it open.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

/// The container that an action is about.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) state_dir: PathBuf,
    pub(super) shim: Arc<ShimCommand>,
    pub(super) uid: String,
    pub(super) container: String,
    pub(super) address: Ipv4Addr,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Exec(Vec<String>),
    Http(http::Get),
    /// Host and port; without a host the pod's own address.
    Tcp(Option<String>, u16),
    /// Port and service.
    Grpc(u16, String),
    Sleep(Duration),
}

/// The result of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Success,
    /// Success, with something to tell.
    Warning(String),
    /// With the reason, or the output.
    Failure(String),
}

impl Action {
    /// The action of a probe.
    pub(super) fn of_probe(probe: &Probe, container: &Container) -> Result<Self, String> {
        if let Some(grpc) = &probe.grpc {
            let port = u16::try_from(grpc.port).map_err(|_| invalid_port(grpc.port))?;
            return Ok(Self::Grpc(port, grpc.service.clone().unwrap_or_default()));
        }
        let (exec, get, socket) = (&probe.exec, &probe.http_get, &probe.tcp_socket);
        Self::of(exec.as_ref(), get.as_ref(), socket.as_ref(), container)
    }

    /// The action of a hook.
    pub(super) fn of_hook(hook: &LifecycleHandler, container: &Container) -> Result<Self, String> {
        if let Some(pause) = &hook.sleep {
            let seconds = u64::try_from(pause.seconds).unwrap_or_default();
            return Ok(Self::Sleep(Duration::from_secs(seconds)));
        }
        // The kubelet refuses `tcpSocket` of hooks, too.
        Self::of(hook.exec.as_ref(), hook.http_get.as_ref(), None, container)
    }

    fn of(
        exec: Option<&ExecAction>,
        get: Option<&HTTPGetAction>,
        socket: Option<&TCPSocketAction>,
        container: &Container,
    ) -> Result<Self, String> {
        if let Some(exec) = exec {
            return Ok(Self::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = get {
            let port = port(&get.port, container)?;
            return Ok(Self::Http(http::Get::new(get, port)));
        }
        if let Some(socket) = socket {
            let host = socket.host.clone().filter(|host| !host.is_empty());
            return Ok(Self::Tcp(host, port(&socket.port, container)?));
        }
        Err("it has no action that this node knows".to_owned())
    }

    /// Carries it out within `limit`.
    pub(super) async fn run(&self, target: &Target, limit: Duration) -> Answer {
        let answer = match self {
            Self::Exec(command) => timeout(limit, exec(command, target)).await,
            Self::Http(get) => timeout(limit, get.probe(target.address)).await,
            Self::Tcp(host, port) => {
                timeout(limit, connect_only(host.as_deref(), *port, target)).await
            }
            Self::Grpc(port, service) => {
                timeout(limit, grpc::check(target.address, *port, service)).await
            }
            Self::Sleep(pause) => timeout(limit, pause_for(*pause)).await,
        };
        answer.unwrap_or_else(|_| Answer::Failure(self.timed_out(target, limit)))
    }

    /// Carries out a hook. Of an HTTP request only the sending counts, as for the kubelet.
    pub(super) async fn run_hook(&self, target: &Target, limit: Duration) -> Answer {
        let Self::Http(get) = self else { return self.run(target, limit).await };
        let sent = timeout(limit, get.notify(target.address)).await;
        sent.unwrap_or_else(|_| Answer::Failure(self.timed_out(target, limit)))
    }

    fn timed_out(&self, target: &Target, limit: Duration) -> String {
        let seconds = limit.as_secs();
        match self {
            Self::Exec(command) => {
                let command = command.join(" ");
                format!("command timed out: {command:?} timed out after {seconds}s")
            }
            Self::Http(get) => format!(
                "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                get.url(target.address)
            ),
            Self::Tcp(host, port) => {
                let address = target.address.to_string();
                format!("dial tcp {}:{port}: i/o timeout", host.as_deref().unwrap_or(&address))
            }
            Self::Grpc(port, _) => {
                let address = target.address;
                format!(
                    "timeout: failed to connect service \"{address}:{port}\" within {seconds}s: context deadline exceeded"
                )
            }
            Self::Sleep(_) => format!("the pause was ended after {seconds}s"),
        }
    }
}

fn invalid_port(port: impl std::fmt::Display) -> String {
    format!("invalid port: {port}")
}

/// A number, or the port of the container with this name.
fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0).ok_or_else(
        || match port {
            IntOrString::Int(number) => invalid_port(number),
            IntOrString::String(name) => invalid_port(name),
        },
    )
}

async fn pause_for(pause: Duration) -> Answer {
    sleep(pause).await;
    Answer::Success
}

async fn connect_only(host: Option<&str>, port: u16, target: &Target) -> Answer {
    match connect(host, port, target.address).await {
        Ok(_) => Answer::Success,
        Err(why) => Answer::Failure(why),
    }
}

/// Connects to a host, or to the pod's own address.
async fn connect(host: Option<&str>, port: u16, address: Ipv4Addr) -> Result<TcpStream, String> {
    let own = address.to_string();
    let host = host.unwrap_or(&own);
    TcpStream::connect((host, port)).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {host}:{port}: {why}")
    })
}

async fn exec(command: &[String], target: &Target) -> Answer {
    let request = Request {
        uid: target.uid.clone(),
        container: target.container.clone(),
        command: command.to_vec(),
        stdout: true,
        stderr: true,
        ..Request::default()
    };
    let (state_dir, shim) = (target.state_dir.clone(), Arc::clone(&target.shim));
    // Starting a process blocks for a moment.
    let started =
        tokio::task::spawn_blocking(move || exec::start(&state_dir, &shim, &request)).await;
    let session = match started {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return Answer::Failure(chain(&error)),
        Err(error) => return Answer::Failure(error.to_string()),
    };
    let Session { stdout, stderr, program, .. } = session;
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let ended = {
        let reading = async {
            tokio::join!(read(stdout, &mut out), read(stderr, &mut errors));
        };
        tokio::pin!(reading);
        let waiting = program.wait();
        tokio::pin!(waiting);
        let mut has_read = false;
        loop {
            tokio::select! {
                ended = &mut waiting => {
                    if !has_read {
                        let _ = timeout(DRAIN_TIMEOUT, &mut reading).await;
                    }
                    break ended;
                }
                () = &mut reading, if !has_read => has_read = true,
            }
        }
    };
    out.extend(errors);
    out.truncate(MAX_OUTPUT);
    match ended {
        Ok(0) => Answer::Success,
        Ok(_) => Answer::Failure(String::from_utf8_lossy(&out).into_owned()),
        Err(error) => Answer::Failure(error.to_string()),
    }
}

/// Keeps the beginning of an output, and discards the rest, so that the command does not wait.
async fn read(reader: Option<Reader>, kept: &mut Vec<u8>) {
    let Some(reader) = reader else { return };
    let stream = reader.into_stream();
    tokio::pin!(stream);
    while let Some(Ok(data)) = stream.next().await {
        let room = MAX_OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(data.get(..room).unwrap_or(&data));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container() -> Container {
        let ports = json!([{ "name": "web", "containerPort": 8080 }]);
        serde_json::from_value(json!({ "name": "c", "ports": ports })).unwrap()
    }

    fn probe(probe: Value) -> Result<Action, String> {
        Action::of_probe(&serde_json::from_value(probe).unwrap(), &container())
    }

    #[test]
    fn ports_are_numbers_or_names_of_the_container() {
        for (port, expect) in [
            (json!(80), Ok(80)),
            (json!("web"), Ok(8080)),
            (json!("81"), Ok(81)),
            (json!("other"), Err("invalid port: other")),
            (json!(0), Err("invalid port: 0")),
            (json!(70_000), Err("invalid port: 70000")),
        ] {
            let found = probe(json!({ "tcpSocket": { "port": port } }));
            let expect = expect.map(|port| Action::Tcp(None, port)).map_err(str::to_owned);
            assert_eq!(found, expect, "{port}");
        }
    }

    #[test]
    fn every_action_is_read() {
        let command = vec!["true".to_owned()];
        assert_eq!(probe(json!({ "exec": { "command": ["true"] } })), Ok(Action::Exec(command)));
        let grpc = probe(json!({ "grpc": { "port": 9, "service": "s" } }));
        assert_eq!(grpc, Ok(Action::Grpc(9, "s".to_owned())));
        let socket = probe(json!({ "tcpSocket": { "host": "h", "port": 1 } }));
        assert_eq!(socket, Ok(Action::Tcp(Some("h".to_owned()), 1)));
        assert!(probe(json!({})).is_err());
        let hook =
            |hook: Value| Action::of_hook(&serde_json::from_value(hook).unwrap(), &container());
        let pause = Action::Sleep(Duration::from_secs(3));
        assert_eq!(hook(json!({ "sleep": { "seconds": 3 } })), Ok(pause));
        assert!(hook(json!({ "tcpSocket": { "port": 1 } })).is_err());
    }
}
