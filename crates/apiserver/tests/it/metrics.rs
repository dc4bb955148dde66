//! `metrics.k8s.io`: what the node measures, as objects.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use http::Method;
use mxjob_access::identity::Identity;
use mxjob_apiserver::node::{
    LogError, LogRequest, LogStream, NodeConnector, NodeUsage, PodUsage, Usage,
};
use serde_json::{Value, json};

use crate::server::{JSON, Server};

const PODS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

/// Returns the measurements that a test gives it.
#[derive(Debug)]
struct Node(Vec<PodUsage>);

impl NodeConnector for Node {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, LogError>> {
        let LogRequest { container, pod, .. } = request;
        async { Err(LogError::NoContainer { container, pod }) }.boxed()
    }

    fn usage(&self) -> BoxFuture<'static, io::Result<NodeUsage>> {
        let usage = NodeUsage {
            name: "node-1".to_owned(),
            time: "2026-11-24T08:00:00Z".parse().unwrap(),
            window: Duration::from_secs(15),
            node: used(2_000_000_000, 4096),
            pods: self.0.clone(),
        };
        async { Ok(usage) }.boxed()
    }
}

const fn used(cpu_nanos: u64, kib: u64) -> Usage {
    Usage { cpu_nanos, memory: kib * 1024 }
}

/// A server with the pods `a` and `b`, of which the node measures `a`, and pods that do not exist.
async fn start() -> Server {
    let server = Server::start().await;
    server.make("/api/v1/nodes", &json!({"metadata": {"name": "node-1"}})).await;
    let mut measured = Vec::new();
    for name in ["a", "b"] {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        });
        let path = "/api/v1/namespaces/default/pods";
        server.make(path, &pod).await;
        let pod = server.get(&format!("{path}/{name}")).await.1;
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        measured.push(PodUsage {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid,
            containers: vec![
                ("c".to_owned(), used(250_000_000, 1024)),
                ("d".to_owned(), used(1_000_000, 3)),
            ],
        });
    }
    let replaced = PodUsage { uid: "another".to_owned(), ..measured.pop().unwrap() };
    let gone = PodUsage { name: "gone".to_owned(), ..replaced.clone() };
    measured.extend([replaced, gone]);
    server.api.connect_node(Arc::new(Node(measured)));
    server
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pods_have_the_use_of_their_containers() {
    let server = start().await;
    let (code, list) = server.get(PODS).await;
    assert_eq!((code, &list["kind"]), (200, &json!("PodMetricsList")), "{list:#}");
    // A pod that was replaced, or is gone, is not shown with what another used.
    assert_eq!(names(&list), ["a"]);
    let (code, pod) = server.get(&format!("{PODS}/a")).await;
    assert_eq!(code, 200);
    assert_eq!(pod["apiVersion"], "metrics.k8s.io/v1beta1");
    assert_eq!(
        (&pod["window"], &pod["timestamp"]),
        (&json!("15s"), &json!("2026-11-24T08:00:00Z"))
    );
    assert_eq!(
        pod["containers"][0],
        json!({"name": "c", "usage": {"cpu": "250000000n", "memory": "1024Ki"}})
    );
    assert_eq!(pod["metadata"]["labels"], json!({"app": "a"}));
    for (query, expect) in [("app=a", vec!["a"]), ("app=b", vec![])] {
        let list = server.get(&format!("{PODS}?labelSelector={query}")).await.1;
        assert_eq!(names(&list), expect, "{query}");
    }
    let everywhere = server.get("/apis/metrics.k8s.io/v1beta1/pods").await.1;
    assert_eq!(names(&everywhere), ["a"]);
    let (code, missing) = server.get(&format!("{PODS}/b")).await;
    assert_eq!((code, &missing["message"]), (404, &json!("pods.metrics.k8s.io \"b\" not found")));
    assert_eq!(server.post(PODS, &json!({})).await.0, 405);
}

#[tokio::test]
async fn nodes_have_the_use_of_the_machine() {
    let server = start().await;
    let (code, node) = server.get(&format!("{NODES}/node-1")).await;
    assert_eq!(code, 200);
    assert_eq!(node["usage"], json!({"cpu": "2000000000n", "memory": "4096Ki"}));
    assert_eq!(server.get(&format!("{NODES}/other")).await.0, 404);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let headers = [("authorization", "Bearer good"), ("accept", table)];
    let answer = server.raw("GET", PODS, &headers, b"").await.json();
    assert_eq!(answer["rows"][0]["cells"], json!(["a", "251m", "1027Ki", "15s"]));
}

#[tokio::test]
async fn viewers_may_read_it_in_their_namespace() {
    let server = start().await;
    let binding = json!({
        "metadata": {"name": "ann"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "ann"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    server.make(path, &binding).await;
    let as_user = |user: &str| server.api.connector(Identity::new(user, "", []), "test");
    for (user, path, code) in [("ann", PODS, 200), ("ann", NODES, 403), ("bob", PODS, 403)] {
        let answer = as_user(user).send(Method::GET, path, JSON, None).await;
        assert_eq!(answer.0, code, "{user} {path}");
    }
}

#[tokio::test]
async fn without_a_node_nothing_is_measured() {
    let server = Server::start().await;
    let (code, answer) = server.get(PODS).await;
    assert_eq!(code, 503);
    assert!(answer["message"].as_str().unwrap().starts_with("no node is connected"), "{answer}");
}
