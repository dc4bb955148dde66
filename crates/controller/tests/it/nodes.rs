//! A pod that the manager has marked as lost with its node.

use mxjob_controller::Options;
use mxjob_testkit::Server;
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, counts, job};

/// Runs a job with that restart policy, whose only pod is lost.
async fn with_lost_pod(policy: &str, test: impl AsyncFnOnce(&Server)) {
    let mut cluster = Cluster::new(Options::default());
    let mut job = job("digits", &[("Worker", 1)]);
    job["spec"]["mxReplicaSpecs"]["Worker"]["restartPolicy"] = json!(policy);
    cluster.submit(&job);
    cluster.pods(1).await;
    cluster.report("digits-worker-0", &json!({ "phase": "Failed", "reason": "NodeLost" }));
    test(&cluster.server).await;
    cluster.stop().await;
}

fn failure(server: &Server) -> Value {
    condition(server, "digits", "Failed")
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
        let is_counted = |server: &Server| counts(server, "Worker")["restarts"] == 1;
        server.wait_for("the restart", is_counted).await;
    })
    .await;
}
