//! `pods/exec`, `pods/attach` and `pods/portforward`: requests that become connections.
//!
//! ```text
//! request ─▶ options, pod, container ─▶ WebSocket? ─▶ node ─▶ 101 ─▶ exec: channels ◀─▶ command
//!                           forward, tunnel: channels or SPDY frames ◀─▶ ports ◀┘
//! ```
//!
//! Watches and logs come over WebSocket as well where the client asks for it.
//!
//! Invalid requests are refused before the upgrade with an ordinary `Status`. Only WebSocket is
//! supported, which `kubectl` has preferred since 1.31 and every other client uses. The older
//! upgrade to bare SPDY is refused with a message.

mod exec;
mod forward;
mod handshake;
mod options;
mod relay;
mod socket;
mod spdy;
mod stream;
mod tunnel;

use std::sync::Arc;

use http::Response;
use hyper::upgrade::OnUpgrade;
use mxjob_machinery::error::chain;
use mxjob_machinery::json::{list, text};
use serde_json::Value;

use self::handshake::{Handshake, Protocol};
use self::options::Options;
use crate::body::Body;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::node::{ExecRequest, ExecSession, LogRequest, NodeConnector};
use crate::server::Closing;
use crate::verbs::log;

pub(crate) use self::stream::Messages;

/// The protocols of exec and attach, as upstream has them.
const COMMAND: &[Protocol] = &[
    Protocol::V5,
    Protocol::V4,
    Protocol::Base64V4,
    Protocol::Channel,
    Protocol::Base64Channel,
    Protocol::Unnamed,
];
/// The protocols of port forwarding.
const FORWARD: &[Protocol] =
    &[Protocol::PortForward, Protocol::V4, Protocol::Base64V4, Protocol::Unnamed];

/// Whether the request is for a connection.
pub(crate) fn is_connection(context: &Context<'_>) -> bool {
    context.kind.group.is_empty()
        && context.kind.plural == "pods"
        && matches!(context.path.subresource, Some("exec" | "attach" | "portforward"))
}

/// Responds with `101` and takes over the connection, or refuses the request.
pub(crate) async fn open(
    context: &Context<'_>,
    node: Option<&Arc<dyn NodeConnector>>,
    closing: Closing,
    upgrade: Option<&OnUpgrade>,
) -> Result<Response<Body>, ApiError> {
    let what = context.path.subresource.unwrap_or_default();
    let pod = document::decode(&context.entry()?.value);
    let uid = document::meta_str(&pod, "uid").to_owned();
    if what == "portforward" {
        let ports = options::ports(context.query)?;
        let node = reachable(context, node, &pod)?;
        if text(&pod, "/status/phase") != "Running" {
            let phase = text(&pod, "/status/phase");
            return Err(ApiError::bad_request(format!(
                "unable to forward port because pod is not running. Current status={phase}"
            )));
        }
        let handshake = Handshake::read(context.headers, upgrade, FORWARD)?;
        return Ok(handshake.accept(move |socket, protocol| async move {
            if protocol == Protocol::PortForward {
                tunnel::run(socket, node, uid, closing).await;
            } else {
                forward::run(socket, protocol, node, uid, ports, closing).await;
            }
        }));
    }
    let options = Options::read(context.query, what)?;
    let container = log::container(context, &pod)?;
    let node = reachable(context, node, &pod)?;
    must_run(context, &pod, &container)?;
    if what == "attach" && options.stdin {
        return Err(ApiError::bad_request(format!(
            "containers of this node have no standard input, so nothing can be sent to container {container}; attach without stdin follows its output, and exec runs a command with input beside it"
        )));
    }
    let handshake = Handshake::read(context.headers, upgrade, COMMAND)?;
    let session = if what == "attach" {
        attach(context, node.as_ref(), &pod, container).await?
    } else {
        let Options { command, stdin, stdout, stderr, tty } = options;
        let request =
            ExecRequest { uid, container, command, stdin, stdout, stderr: stderr && !tty, tty };
        node.exec(request).await.map_err(|error| ApiError::internal(chain(&error)))?
    };
    Ok(handshake.accept(move |socket, protocol| exec::run(socket, protocol, session, closing)))
}

/// The output of a container from now on, as one stream, since the log interleaves both streams.
async fn attach(
    context: &Context<'_>,
    node: &dyn NodeConnector,
    pod: &Value,
    container: String,
) -> Result<ExecSession, ApiError> {
    let request = LogRequest {
        namespace: document::meta_str(pod, "namespace").to_owned(),
        pod: context.name().to_owned(),
        uid: document::meta_str(pod, "uid").to_owned(),
        container,
        follow: true,
        tail_lines: Some(0),
        ..LogRequest::default()
    };
    let output = node.logs(request).await.map_err(|error| ApiError::internal(chain(&error)))?;
    Ok(ExecSession {
        stdin: None,
        stdout: Some(output),
        stderr: None,
        resize: None,
        // The output ends with the container; the pod's status has the exit code.
        exit: None,
    })
}

/// The node, if the pod has one.
fn reachable(
    context: &Context<'_>,
    node: Option<&Arc<dyn NodeConnector>>,
    pod: &Value,
) -> Result<Arc<dyn NodeConnector>, ApiError> {
    if text(pod, "/spec/nodeName").is_empty() {
        let name = context.name();
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    node.cloned().ok_or_else(|| {
        ApiError::unavailable("no node is connected to this API server, so no pod can be reached")
    })
}

/// Refuses containers that are not running.
fn must_run(context: &Context<'_>, pod: &Value, container: &str) -> Result<(), ApiError> {
    let running = ["/status/containerStatuses", "/status/initContainerStatuses"]
        .iter()
        .flat_map(|group| list(pod, group))
        .any(|status| {
            text(status, "/name") == container && status.pointer("/state/running").is_some()
        });
    if running {
        return Ok(());
    }
    let (name, phase) = (context.name(), text(pod, "/status/phase"));
    Err(ApiError::bad_request(format!(
        "container {container} of pod {name} is not running; the pod's phase is {phase}"
    )))
}

/// Resolves when the server stops.
async fn closed(mut closing: Closing) {
    // An error means that the server is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}
