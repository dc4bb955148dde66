//! Jobs from creation to their end, with and without errors.

use std::time::Duration;

use http::StatusCode;
use mxjob_controller::{Options, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::server::Server;

/// A running controller and its server.
struct Running {
    server: Server,
    stop: Option<oneshot::Sender<()>>,
    controller: JoinHandle<()>,
}

impl Running {
    fn start(server: &Server) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let client = server.client();
        let controller = tokio::spawn(async move {
            let stopped = async move { stopped.await.unwrap_or_default() };
            run(client, Options::default(), stopped).await.unwrap();
        });
        Self { server: server.clone(), stop: Some(stop), controller }
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.controller.await.unwrap();
    }

    fn submit(&self, more: &Value) {
        let replica = |count: u32| json!({ "replicas": count, "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } } });
        let mut spec = json!({ "mxReplicaSpecs": { "Scheduler": replica(1), "Server": replica(1), "Worker": replica(2) } });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.server.put(
            "mxjobs",
            &json!({ "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": { "name": "digits", "namespace": "default" }, "spec": spec }),
        );
    }

    async fn pods(&self, count: usize) {
        self.server
            .wait_for(&format!("{count} pods"), |server| server.all("pods").len() == count)
            .await;
    }

    async fn state(&self, state: &str) {
        self.server.wait_for(state, |server| last_condition(server)["type"] == state).await;
    }

    fn phase(&self, replica: &str, phase: &str) {
        self.server.change("pods", &format!("digits-{replica}"), |pod| {
            pod["status"] = json!({ "phase": phase })
        });
    }

    fn end(&self, replica: &str, code: i32, message: &str) {
        self.server.change("pods", &format!("digits-{replica}"), |pod| {
            let reason = if code == 0 { "Completed" } else { "Error" };
            pod["status"] = json!({
                "phase": if code == 0 { "Succeeded" } else { "Failed" },
                "containerStatuses": [{ "name": "mxnet", "state": { "terminated": { "exitCode": code, "reason": reason, "message": message } } }],
            });
        });
    }

    async fn running(&self, more: &Value) {
        self.submit(more);
        self.pods(4).await;
        for replica in REPLICAS {
            self.phase(replica, "Running");
        }
        self.state("Running").await;
    }
}

const REPLICAS: [&str; 4] = ["scheduler-0", "server-0", "worker-0", "worker-1"];

fn last_condition(server: &Server) -> Value {
    let job = server.get("mxjobs", "digits").unwrap_or_default();
    job.pointer("/status/conditions")
        .and_then(Value::as_array)
        .and_then(|all| all.last().cloned())
        .unwrap_or_default()
}

fn events(server: &Server) -> Vec<String> {
    let found = |event: &Value| {
        format!("{}: {}", event["reason"].as_str().unwrap(), event["message"].as_str().unwrap())
    };
    server.all("events").iter().map(found).collect()
}

fn count(server: &Server, write: &str) -> usize {
    server.writes().iter().filter(|done| *done == write).count()
}

#[tokio::test]
async fn a_job_runs_to_its_end() {
    let server = Server::new();
    let controller = Running::start(&server);
    controller.running(&json!({})).await;
    let writes = server.writes();
    let place = |expected: &str| writes.iter().position(|write| write == expected).unwrap();
    for service in REPLICAS {
        for pod in REPLICAS {
            assert!(
                place(&format!("POST services digits-{service}"))
                    < place(&format!("POST pods digits-{pod}"))
            );
        }
    }
    for replica in REPLICAS {
        controller.end(replica, 0, "");
    }
    controller.state("Succeeded").await;
    server
        .wait_for("the event", |server| {
            events(server).iter().any(|event| event.starts_with("MXJobSucceeded"))
        })
        .await;
    let found = events(&server);
    assert!(
        found.contains(&"SuccessfulCreatePod: Created pod: digits-worker-0".to_owned()),
        "{found:?}"
    );
    assert_eq!(found.len(), 4 + 4 + 2);
    let mut lists = server.lists();
    lists.sort();
    assert_eq!(lists, ["mxjobs", "pods", "services"], "nothing is listed after the start");
    controller.stop().await;
}

#[tokio::test]
async fn a_failure_is_written_before_the_other_pods_are_deleted() {
    let server = Server::new();
    let controller = Running::start(&server);
    controller.running(&json!({})).await;
    controller.end("worker-1", 3, "epoch=2\nno data\n");
    server
        .wait_for("the rest to be stopped", |server| {
            server
                .all("pods")
                .iter()
                .filter(|pod| pod["metadata"].get("deletionTimestamp").is_some())
                .count()
                == 3
        })
        .await;
    assert_eq!(
        last_condition(&server)["message"],
        "MXJob digits is failed because worker-1 exited with exit code 3 (Error): no data"
    );
    let writes = server.writes();
    let status = writes.iter().rposition(|write| write == "PATCH mxjobs digits").unwrap();
    let removal = writes.iter().position(|write| write.starts_with("DELETE")).unwrap();
    assert!(status < removal, "{writes:?}");
    controller.stop().await;
}

#[tokio::test]
async fn a_restart_is_counted_once_despite_a_conflict() {
    let server = Server::new();
    let controller = Running::start(&server);
    let more = json!({ "restartScope": "Job" });
    controller.submit(&more);
    server.change("mxjobs", "digits", |job| {
        for role in ["Scheduler", "Server", "Worker"] {
            job["spec"]["mxReplicaSpecs"][role]["restartPolicy"] = json!("OnFailure");
        }
    });
    controller.pods(4).await;
    for replica in REPLICAS {
        controller.phase(replica, "Running");
    }
    controller.state("Running").await;
    server.refuse("PATCH mxjobs digits", StatusCode::CONFLICT, "Conflict");
    controller.end("worker-0", 137, "");
    controller.state("Restarting").await;
    server
        .wait_for("all pods to leave", |server| {
            server.all("pods").iter().all(|pod| pod["metadata"].get("deletionTimestamp").is_some())
        })
        .await;
    for replica in REPLICAS {
        server.remove("pods", &format!("digits-{replica}"));
    }
    controller.pods(4).await;
    let job = server.get("mxjobs", "digits").unwrap();
    assert_eq!(job["status"]["mxReplicaStatuses"]["Worker"]["restarts"], 1);
    for pod in server.all("pods") {
        assert_eq!(pod["metadata"]["annotations"]["kubeflow.org/attempt"], "1");
    }
    controller.stop().await;
}

#[tokio::test]
async fn nothing_is_created_twice_while_the_watches_lag() {
    let server = Server::new();
    let controller = Running::start(&server);
    server.wait_for("the first lists", |server| server.lists().len() == 3).await;
    server.hold(&["pods", "services"]);
    controller.submit(&json!({}));
    controller.pods(4).await;
    // Every change of the job causes another plan, without any event of the held watches.
    for suspend in [true, false] {
        server.change("mxjobs", "digits", |job| job["spec"]["suspend"] = json!(suspend));
        let state = if suspend { "Suspended" } else { "Created" };
        controller.state(state).await;
    }
    server.hold(&[]);
    for replica in REPLICAS {
        server.remove("pods", &format!("digits-{replica}"));
    }
    server.wait_for("new pods", |server| count(server, "POST pods digits-worker-1") == 2).await;
    controller.pods(4).await;
    for replica in REPLICAS {
        assert_eq!(count(&server, &format!("POST pods digits-{replica}")), 2, "{replica}");
        assert_eq!(count(&server, &format!("DELETE pods digits-{replica}")), 1, "{replica}");
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_name_used_by_another_object_is_reported_and_retried() {
    let server = Server::new();
    server
        .put("pods", &json!({ "metadata": { "name": "digits-worker-1", "namespace": "default" } }));
    let controller = Running::start(&server);
    controller.submit(&json!({}));
    server
        .wait_for("the reason", |server| {
            let message = last_condition(server)["message"].to_string();
            message.contains("MXJob digits is created. The pod digits-worker-1 cannot be created:")
        })
        .await;
    server.remove("pods", "digits-worker-1");
    controller.pods(4).await;
    server
        .wait_for("the all-clear", |server| {
            last_condition(server)["message"] == "MXJob digits is created."
        })
        .await;
    let refused =
        events(&server).iter().filter(|event| event.starts_with("FailedCreatePod")).count();
    assert_eq!(refused, 1, "reported once, however often it was tried");
    controller.stop().await;
}

#[tokio::test]
async fn failed_requests_are_retried() {
    let server = Server::new();
    let controller = Running::start(&server);
    server.refuse(
        "POST services digits-server-0",
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalError",
    );
    server.refuse("POST pods digits-worker-0", StatusCode::FORBIDDEN, "Forbidden");
    server.refuse("PATCH mxjobs digits", StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    controller.running(&json!({})).await;
    controller.stop().await;
}

#[tokio::test]
async fn an_object_not_deleted_because_of_a_conflict_is_deleted_later() {
    let server = Server::new();
    let controller = Running::start(&server);
    controller.running(&json!({})).await;
    server.refuse("DELETE pods digits-worker-0", StatusCode::CONFLICT, "Conflict");
    controller.end("worker-1", 3, "");
    server
        .wait_for("the rest to be stopped", |server| {
            let leaves = |pod: &&Value| pod["metadata"].get("deletionTimestamp").is_some();
            server.all("pods").iter().filter(leaves).count() == 3
        })
        .await;
    controller.stop().await;
}

#[tokio::test]
async fn a_finished_job_is_deleted_after_its_ttl() {
    let server = Server::new();
    let controller = Running::start(&server);
    controller.running(&json!({ "ttlSecondsAfterFinished": 1 })).await;
    for replica in REPLICAS {
        controller.end(replica, 0, "");
    }
    server.wait_for("the deletion", |server| server.get("mxjobs", "digits").is_none()).await;
    assert_eq!(count(&server, "DELETE mxjobs digits"), 1);
    controller.stop().await;
}

#[tokio::test]
async fn a_deadline_needs_no_other_event() {
    let server = Server::new();
    let controller = Running::start(&server);
    controller.submit(&json!({ "activeDeadlineSeconds": 1 }));
    controller.state("Failed").await;
    controller.stop().await;
}

#[tokio::test]
async fn a_new_controller_continues_where_the_last_one_stopped() {
    let server = Server::new();
    let first = Running::start(&server);
    first.running(&json!({})).await;
    first.stop().await;
    let writes = server.writes().len();
    let second = Running::start(&server);
    second.end("worker-1", 3, "");
    second.state("Failed").await;
    let since = server.writes().split_off(writes);
    assert!(
        !since
            .iter()
            .any(|write| write.starts_with("POST pods") || write.starts_with("POST services")),
        "{since:?}"
    );
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_start_at_about_the_same_time_are_reported_in_one_write() {
    let server = Server::new();
    let controller = Running::start(&server);
    controller.submit(&json!({}));
    controller.pods(4).await;
    let active = |server: &Server| {
        let job = server.get("mxjobs", "digits").unwrap_or_default();
        job["status"]["replicaStatuses"]["Scheduler"]["active"].clone()
    };
    for replica in REPLICAS {
        controller.phase(replica, "Running");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    controller.state("Running").await;
    assert_eq!(count(&server, "PATCH mxjobs digits"), 2, "created, running");
    controller.stop().await;

    // The others take longer: running pods are reported anyway.
    let server = Server::new();
    let controller = Running::start(&server);
    controller.submit(&json!({}));
    controller.pods(4).await;
    controller.phase("scheduler-0", "Running");
    server.wait_for("its count", |server| active(server) == 1).await;
    controller.stop().await;
}
