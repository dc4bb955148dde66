//! Nodes that stop reporting, nodes that are deleted, and what happens to their pods.

use std::future::pending;
use std::time::Duration;

use mxjob_manager::{garbage, nodes};
use serde_json::{Value, json};

use crate::server::Server;

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// A server with the node controller, which waits for a short time only.
async fn monitoring() -> Server {
    let server = Server::start().await;
    let short = Duration::from_millis(200);
    let limits = nodes::Limits { unreachable_after: short, lost_after: short };
    tokio::spawn(nodes::run(server.client(nodes::ACCOUNT), limits, pending()));
    server
}

/// A server with a garbage collector that waits that long before it collects pods.
async fn collecting(quarantine: Duration) -> Server {
    let server = Server::start().await;
    tokio::spawn(garbage::run(server.client(garbage::ACCOUNT), Some(quarantine), pending()));
    server
}

async fn make_node(server: &Server, name: &str) {
    server.make(NODES, &json!({ "metadata": { "name": name } })).await;
    let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    assert_eq!(server.patch(&format!("{NODES}/{name}/status"), &status).await.0, 200);
}

async fn make_pod(server: &Server, name: &str, node: &str, phase: &str) {
    let containers = json!([{ "name": "c", "image": "i" }]);
    let spec = json!({ "nodeName": node, "containers": containers });
    server.make(PODS, &json!({ "metadata": { "name": name }, "spec": spec })).await;
    let status = json!({ "status": { "phase": phase } });
    assert_eq!(server.patch(&format!("{PODS}/{name}/status"), &status).await.0, 200);
}

fn gone(code: u16, _: &Value) -> bool {
    code == 404
}

fn is_lost(_: u16, pod: &Value) -> bool {
    pod["status"]["phase"] == "Failed" && pod["status"]["reason"] == "NodeLost"
}

fn is_ready(status: &str, reason: &str) -> impl Fn(u16, &Value) -> bool {
    move |_, node| {
        let ready = &node["status"]["conditions"][0];
        ready["status"] == status && ready["reason"] == reason
    }
}

#[tokio::test]
async fn pods_of_a_silent_node_fail_and_those_in_deletion_are_removed() {
    let server = monitoring().await;
    make_node(&server, "machine").await;
    make_pod(&server, "running", "machine", "Running").await;
    make_pod(&server, "ended", "machine", "Succeeded").await;
    make_pod(&server, "leaving", "machine", "Running").await;
    assert_eq!(server.delete(&format!("{PODS}/leaving")).await.0, 200);
    let unknown = is_ready("Unknown", "NodeStatusUnknown");
    server.until(&format!("{NODES}/machine"), "unreachable", unknown).await;
    server.until(&format!("{PODS}/running"), "failed", is_lost).await;
    server.until(&format!("{PODS}/leaving"), "removed", gone).await;
    assert_eq!(server.get(&format!("{PODS}/ended")).await.1["status"]["phase"], "Succeeded");
}

#[tokio::test]
async fn a_node_is_ready_again_when_its_lease_is_renewed() {
    let server = monitoring().await;
    make_node(&server, "machine").await;
    let node = format!("{NODES}/machine");
    server.until(&node, "unreachable", is_ready("Unknown", "NodeStatusUnknown")).await;
    let spec = json!({ "renewTime": "2026-11-24T08:00:00.000000Z" });
    server.make(LEASES, &json!({ "metadata": { "name": "machine" }, "spec": spec })).await;
    server.until(&node, "ready again", is_ready("True", "AgentReady")).await;
}

#[tokio::test]
async fn pods_of_a_missing_node_fail_and_are_then_deleted() {
    let server = collecting(Duration::from_millis(200)).await;
    make_node(&server, "machine").await;
    make_node(&server, "old").await;
    make_pod(&server, "kept", "machine", "Running").await;
    make_pod(&server, "old", "old", "Running").await;
    make_pod(&server, "lost", "missing", "Running").await;
    server.until(&format!("{PODS}/lost"), "failed", is_lost).await;
    assert_eq!(server.delete(&format!("{NODES}/old")).await.0, 200);
    for pod in ["lost", "old"] {
        server.until(&format!("{PODS}/{pod}"), "collected", gone).await;
    }
    assert_eq!(server.get(&format!("{PODS}/kept")).await.1["status"]["phase"], "Running");
}

#[tokio::test]
async fn a_pod_in_deletion_on_a_missing_node_does_not_stay() {
    let server = collecting(Duration::from_millis(200)).await;
    make_pod(&server, "leaving", "missing", "Running").await;
    let path = format!("{PODS}/leaving");
    assert_eq!(server.delete(&path).await.0, 200);
    server.until(&path, "collected", gone).await;
}

#[tokio::test]
async fn pods_of_a_node_that_is_registered_again_stay() {
    let server = collecting(Duration::from_secs(1)).await;
    make_node(&server, "machine").await;
    make_pod(&server, "kept", "machine", "Running").await;
    server.delete(&format!("{NODES}/machine")).await;
    make_node(&server, "machine").await;
    // Its quarantine ends after the one of the node.
    make_pod(&server, "lost", "missing", "Running").await;
    server.until(&format!("{PODS}/lost"), "failed", is_lost).await;
    assert_eq!(server.get(&format!("{PODS}/kept")).await.1["status"]["phase"], "Running");
}
