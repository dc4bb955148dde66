//! `pods/exec`, `pods/attach`, `pods/portforward`: requests that are refused before the upgrade.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use mxjob_apiserver::node::{LogError, LogRequest, LogStream, NodeConnector};
use serde_json::json;

use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A connector that must not be called.
#[derive(Debug)]
struct Node;

impl NodeConnector for Node {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, LogError>> {
        async move { panic!("nothing may reach the node: {request:?}") }.boxed()
    }
}

/// A server with the pods `runs` and `waits` on a node, and `free` on none.
async fn start() -> Server {
    let server = Server::start().await;
    server.api.connect_node(Arc::new(Node));
    for name in ["runs", "waits", "free"] {
        let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
        if name != "free" {
            spec["nodeName"] = "here".into();
        }
        server.make(PODS, &json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }]}});
    let (code, answer) = server.patch(&format!("{PODS}/runs/status"), &status).await;
    assert_eq!(code, 200, "{answer}");
    server
}

async fn refused(server: &Server, headers: &[(&str, &str)], path: &str) -> Vec<(u16, String)> {
    let mut headers = headers.to_vec();
    headers.push(("authorization", "Bearer good"));
    let mut answers = Vec::new();
    for method in ["GET", "POST"] {
        let answer = server.raw(method, &format!("{PODS}/{path}"), &headers, b"").await;
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        answers.push((answer.code, message));
    }
    answers
}

#[tokio::test]
async fn invalid_requests_are_refused_for_get_and_post() {
    let server = start().await;
    let check = async |path: &str, code: u16, message: &str| {
        for (found, text) in refused(&server, &[], path).await {
            assert_eq!(found, code, "{path}: {text}");
            assert!(text.contains(message), "{path}: {text}");
        }
    };
    check("none/exec?command=x&stdout=1", 404, r#"pods "none" not found"#).await;
    check("runs/exec?stdout=1", 400, "at least 1 command").await;
    check("runs/exec?command=x", 400, "at least 1 of stdin, stdout, stderr").await;
    check("runs/attach", 400, "at least 1 of stdin, stdout, stderr").await;
    check("runs/exec?command=x&stdout=1&container=d", 400, "container d is not valid for pod runs")
        .await;
    check("free/exec?command=x&stdout=1", 400, "pod free does not have a host assigned").await;
    check("waits/exec?command=x&stdout=1", 400, "container c of pod waits is not running").await;
    check("waits/portforward?ports=80", 400, "pod is not running. Current status=Pending").await;
    check("runs/attach?stdin=1&stdout=1", 400, "no standard input").await;
    check("runs/portforward?ports=http", 400, r#"unable to parse "http" as a port"#).await;
    check("runs/exec?command=x&stdout=1", 400, "Upgrade request required").await;
    check("runs/attach?stdout=1", 400, "Upgrade request required").await;
    check("runs/portforward?ports=80", 400, "Upgrade request required").await;
}

#[tokio::test]
async fn only_websockets_with_known_protocols_are_accepted() {
    let server = start().await;
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let upgrade = |to| [("connection", "Upgrade"), ("upgrade", to), key];
    let path = "runs/exec?command=x&stdout=1";
    let check = async |headers: &[(&str, &str)], message: &str| {
        let (code, text) = refused(&server, headers, path).await.remove(0);
        assert_eq!(code, 400, "{headers:?}: {text}");
        assert!(text.contains(message), "{headers:?}: {text}");
    };
    check(&upgrade("SPDY/3.1"), "WebSocket only").await;
    check(&upgrade("websocket"), "the WebSocket handshake is broken").await;
    let mut headers = upgrade("websocket").to_vec();
    headers.push(("sec-websocket-version", "13"));
    check(&headers, "only connections of HTTP/1.1").await;
    headers.push(("sec-websocket-protocol", "binary.k8s.io"));
    check(&headers, "unable to negotiate a protocol").await;
    check(&headers, "v5.channel.k8s.io, v4.channel.k8s.io, v4.base64.channel.k8s.io").await;
    headers.push(("sec-websocket-protocol", "v4.channel.k8s.io"));
    check(&headers, "only connections of HTTP/1.1").await;
}
