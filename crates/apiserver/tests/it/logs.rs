//! `pods/log`: options, the choice of the container, and the request to the node.

use std::sync::{Arc, Mutex};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use mxjob_apiserver::node::{LogError, LogRequest, LogStream, NodeConnector};
use serde_json::{Value, json};

use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Records its requests and responds with one line; containers named `early` have not started.
#[derive(Debug, Default)]
struct Node(Mutex<Vec<LogRequest>>);

impl NodeConnector for Node {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, LogError>> {
        let (container, pod) = (request.container.clone(), request.pod.clone());
        let answer = if request.previous {
            Err(LogError::NoPrevious { container, pod })
        } else if container == "early" {
            Err(LogError::NotStarted { container, pod, reason: "ContainerCreating".to_owned() })
        } else {
            Ok(stream::iter([Ok(bytes::Bytes::from_static(b"a line\n"))]).boxed() as LogStream)
        };
        self.0.lock().unwrap().push(request);
        async move { answer }.boxed()
    }
}

/// A server with pods `one` (one container) and `two` (two, and an init container) on a node, and
/// `free` on none.
async fn start() -> (Server, Arc<Node>) {
    let server = Server::start().await;
    let node = Arc::new(Node::default());
    server.api.connect_node(node.clone());
    let container = |name: &str| json!({"name": name, "image": "i"});
    for (name, containers, init, bound) in [
        ("one", json!([container("c")]), json!([]), true),
        ("two", json!([container("a"), container("early")]), json!([container("setup")]), true),
        ("free", json!([container("c")]), json!([]), false),
    ] {
        let mut spec = json!({"containers": containers, "initContainers": init});
        if bound {
            spec["nodeName"] = "here".into();
        }
        server.make(PODS, &json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    (server, node)
}

async fn read(server: &Server, query: &str) -> (u16, String) {
    let answer = server
        .raw("GET", &format!("{PODS}/{query}"), &[("authorization", "Bearer good")], b"")
        .await;
    let message = answer.json()["message"].as_str().map(str::to_owned);
    (answer.code, message.unwrap_or(answer.text))
}

#[tokio::test]
async fn options_reach_the_node() {
    let (server, node) = start().await;
    let query = "one/log?follow=false&timestamps=true&tailLines=3&sinceSeconds=60&limitBytes=100&insecureSkipTLSVerifyBackend=true";
    assert_eq!(read(&server, query).await, (200, "a line\n".to_owned()));
    assert_eq!(read(&server, "one/log?sinceTime=2026-11-24T08:00:00Z&tailLines=0").await.0, 200);
    let asked = node.0.lock().unwrap();
    let [first, second] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(
        (first.pod.as_str(), first.container.as_str(), first.timestamps, first.follow),
        ("one", "c", true, false)
    );
    assert_eq!(
        (first.tail_lines, first.since_seconds, first.limit_bytes),
        (Some(3), Some(60), Some(100))
    );
    assert_eq!(second.since_time.unwrap().to_string(), "2026-11-24T08:00:00Z");
    assert_eq!(second.tail_lines, Some(0));
}

#[tokio::test]
async fn invalid_options_are_refused_with_upstreams_messages() {
    let (server, _) = start().await;
    let check = async |query: &str, want: &str| {
        let answer = server
            .raw(
                "GET",
                &format!("{PODS}/one/log?{query}"),
                &[("authorization", "Bearer good")],
                b"",
            )
            .await;
        assert_eq!(answer.code, 422, "{query} {}", answer.text);
        assert_eq!(
            answer.json()["message"],
            format!("PodLogOptions \"one\" is invalid: {want}"),
            "{query}"
        );
        assert_eq!(answer.json()["details"]["kind"], "PodLogOptions");
    };
    check("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0").await;
    check("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0").await;
    check("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0").await;
    let both = ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
    check("sinceSeconds=1&sinceTime=2026-11-24T08:00:00Z", both).await;
    let two = "[tailLines: Invalid value: -1: must be greater than or equal to 0, limitBytes: Invalid value: -2: must be greater than 0]";
    check("tailLines=-1&limitBytes=-2", two).await;
    for query in ["one/log?tailLines=x", "one/log?sinceTime=yesterday"] {
        assert_eq!(read(&server, query).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn the_container_is_the_only_one_or_the_named_one() {
    let (server, _) = start().await;
    let check = async |query: &str, code: u16, want: &str| {
        assert_eq!(read(&server, query).await, (code, want.to_owned()), "{query}");
    };
    check("one/log", 200, "a line\n").await;
    check("two/log?container=a", 200, "a line\n").await;
    check("two/log?container=setup", 200, "a line\n").await;
    let choose = "a container name must be specified for pod two, choose one of: [a early] or one of the init containers: [setup]";
    check("two/log", 400, choose).await;
    check("two/log?container=x", 400, "container x is not valid for pod two").await;
    check(
        "two/log?container=early",
        400,
        "container \"early\" in pod \"two\" is waiting to start: ContainerCreating",
    )
    .await;
    check(
        "one/log?previous=true",
        400,
        "previous terminated container \"c\" in pod \"one\" not found",
    )
    .await;
    check("nope/log", 404, "pods \"nope\" not found").await;
    check("free/log", 204, "").await;
}

#[tokio::test]
async fn an_eviction_is_a_delete_with_its_own_options() {
    let (server, _) = start().await;
    let evict =
        async |pod: &str, body: Value| server.post(&format!("{PODS}/{pod}/eviction"), &body).await;
    let eviction = |name: &str, options: Value| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options});
    assert_eq!(evict("one", eviction("two", json!({}))).await.0, 400);
    assert_eq!(evict("nope", eviction("nope", json!({}))).await.0, 404);
    assert_eq!(
        evict("one", eviction("one", json!({"preconditions": {"uid": "other"}}))).await.0,
        409
    );
    assert_eq!(evict("one", eviction("one", json!({"dryRun": ["All"]}))).await.0, 201);
    assert!(server.get(&format!("{PODS}/one")).await.1["metadata"]["deletionTimestamp"].is_null());
    let (code, answer) = evict("one", eviction("one", json!({"gracePeriodSeconds": 7}))).await;
    assert_eq!((code, &answer["status"]), (201, &json!("Success")), "{answer:#}");
    let (_, pod) = server.get(&format!("{PODS}/one")).await;
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 7);
    assert_eq!(evict("free", eviction("free", json!({}))).await.0, 201);
    assert_eq!(server.get(&format!("{PODS}/free")).await.0, 404);
}
