//! The pods of nodes that do not exist (upstream's pod garbage collector).
//!
//! A node that was deleted may be registered again, so its pods stay for the quarantine. Then the
//! ones that have not ended are marked as failed. Their owners have the same time again to see it,
//! before the pods are deleted. Pods in deletion are not marked: no node agent will end them.

use std::time::Duration;

use http::Method;
use kube::Client;
use mxjob_client::request;

use super::requests::is_settled;
use crate::api::Settled;
use crate::node_pods;

/// How long a node must be missing before its pods are failed, and then deleted: upstream's value.
pub const ORPHAN_QUARANTINE: Duration = Duration::from_secs(40);

/// Fails or deletes the pods of a node, unless it exists. A pod that is changed by that comes back
/// with its next event.
pub(super) async fn collect(client: &Client, node: &str) -> Settled {
    let path = format!("/api/v1/nodes/{node}");
    match request::get_opt(client, &path).await {
        Ok(Some(_)) => true,
        Ok(None) => match collect_pods(client, node).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(node, %error, "cannot collect the pods of a deleted node; will retry");
                false
            }
        },
        Err(error) => is_settled(&error, &Method::GET, &path),
    }
}

async fn collect_pods(client: &Client, node: &str) -> kube::Result<()> {
    let pods = node_pods::bound(client, node).await?;
    if !pods.is_empty() {
        tracing::warn!(node, pods = pods.len(), "the node does not exist; collecting its pods");
    }
    let message = format!("Node {node}, to which the pod was bound, does not exist");
    node_pods::end(client, &pods, &message).await
}
