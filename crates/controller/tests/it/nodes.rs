//! A pod that the manager has marked as lost with its node.

use mxjob_controller::{Options, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::server::Server;

/// A job with that restart policy, whose only pod is lost.
async fn with_lost_pod(policy: &str, test: impl AsyncFnOnce(&Server)) {
    let server = Server::new();
    let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } });
    server.put("mxjobs", &json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "default" },
        "spec": { "mxReplicaSpecs": { "Worker": { "replicas": 1, "restartPolicy": policy, "template": template } } },
    }));
    let (stop, stopped) = oneshot::channel::<()>();
    let client = server.client();
    let controller = tokio::spawn(async move {
        let stopped = async move { stopped.await.unwrap_or_default() };
        run(client, Options::default(), stopped).await.unwrap();
    });
    let has_pod = |server: &Server| server.get("pods", "digits-worker-0").is_some();
    server.wait_for("a pod", has_pod).await;
    server.change("pods", "digits-worker-0", |pod| {
        pod["spec"]["nodeName"] = json!("machine");
        pod["status"] = json!({ "phase": "Failed", "reason": "NodeLost" });
    });
    test(&server).await;
    stop.send(()).unwrap();
    controller.await.unwrap();
}

fn failure(server: &Server) -> Value {
    let job = server.get("mxjobs", "digits").unwrap_or_default();
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array).cloned();
    let failed = |all: Vec<Value>| all.into_iter().find(|one| one["type"] == "Failed");
    conditions.and_then(failed).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_lost_with_its_node_fails_a_job_that_never_restarts() {
    with_lost_pod("Never", async |server| {
        server.wait_for("the failure", |server| failure(server)["status"] == "True").await;
        let message = failure(server)["message"].to_string();
        assert!(message.contains("NodeLost"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_pod_lost_with_its_node_has_no_exit_code_and_is_replaced() {
    with_lost_pod("ExitCode", async |server| {
        let restarts = |server: &Server| {
            let job = server.get("mxjobs", "digits").unwrap_or_default();
            job["status"]["mxReplicaStatuses"]["Worker"]["restarts"].clone()
        };
        server.wait_for("the restart", |server| restarts(server) == 1).await;
    })
    .await;
}
