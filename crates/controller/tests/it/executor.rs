//! Jobs from creation to their end, with and without errors.

use std::time::Duration;

use mxjob_controller::Options;
use mxjob_testkit::{Fault, Server};
use serde_json::{Value, json};

use crate::cluster::{
    Cluster, count, counts, events, foreign_pod, is_terminating, job, last_condition, pods,
};

const REPLICAS: [&str; 4] =
    ["digits-scheduler-0", "digits-server-0", "digits-worker-0", "digits-worker-1"];

/// A job of four replicas, with other fields in its spec.
fn digits(more: &Value) -> Value {
    let mut job = job("digits", &[("Scheduler", 1), ("Server", 1), ("Worker", 2)]);
    for (key, value) in more.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

/// A cluster with a running job.
async fn running(more: &Value) -> Cluster {
    let cluster = Cluster::new(Options::default());
    run_job(&cluster, &digits(more)).await;
    cluster
}

async fn run_job(cluster: &Cluster, job: &Value) {
    cluster.submit(job);
    cluster.pods(4).await;
    cluster.run_pods("");
    cluster.state("Running").await;
}

fn terminating(server: &Server) -> usize {
    server.all("pods").iter().filter(|pod| is_terminating(pod)).count()
}

#[tokio::test]
async fn a_job_runs_to_its_end() {
    let mut cluster = running(&json!({})).await;
    let server = cluster.server.clone();
    let writes = server.link().writes();
    let place = |expected: &str| writes.iter().position(|write| write == expected).unwrap();
    for service in REPLICAS {
        for pod in REPLICAS {
            assert!(
                place(&format!("create services {service}")) < place(&format!("create pods {pod}"))
            );
        }
    }
    for replica in REPLICAS {
        cluster.end(replica, 0, "");
    }
    cluster.state("Succeeded").await;
    cluster.event("Normal MXJobSucceeded").await;
    let found = events(&server);
    assert!(
        found.contains(&"Normal SuccessfulCreatePod: Created pod: digits-worker-0".to_owned()),
        "{found:?}"
    );
    // One for each pod, one for all services, two of the job.
    assert_eq!(found.len(), 4 + 1 + 2);
    for resource in ["mxjobs", "pods", "services"] {
        assert_eq!(server.link().count(&format!("list {resource}")), 1, "{resource}");
    }
    assert_eq!(server.link().count("list"), 3, "nothing is listed after the start");
    cluster.stop().await;
}

#[tokio::test]
async fn a_failure_is_written_before_the_other_pods_are_deleted() {
    let mut cluster = running(&json!({})).await;
    let server = cluster.server.clone();
    cluster.end("digits-worker-1", 3, "epoch=2\nno data\n");
    server.wait_for("the other pods to leave", |server| terminating(server) == 3).await;
    assert_eq!(
        last_condition(&server)["message"],
        "MXJob digits is failed because worker-1 exited with exit code 3 (Error): no data"
    );
    let writes = server.link().writes();
    let status = writes.iter().rposition(|write| write == "patch mxjobs/status digits").unwrap();
    let removal = writes.iter().position(|write| write.starts_with("delete")).unwrap();
    assert!(status < removal, "{writes:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_restart_is_counted_once_despite_a_conflict() {
    let mut cluster = Cluster::new(Options::default());
    let mut job = digits(&json!({ "restartScope": "Job" }));
    for role in ["Scheduler", "Server", "Worker"] {
        job["spec"]["mxReplicaSpecs"][role]["restartPolicy"] = json!("OnFailure");
    }
    run_job(&cluster, &job).await;
    cluster.server.link().add_rule("patch mxjobs/status digits", Fault::Refuse(409), 1);
    cluster.end("digits-worker-0", 137, "");
    cluster.state("Restarting").await;
    // The failed pod has no process, so it is removed immediately.
    cluster.pods(3).await;
    cluster.reap("").await;
    cluster.pods(4).await;
    assert_eq!(counts(&cluster.server, "Worker")["restarts"], 1);
    for pod in cluster.server.all("pods") {
        assert_eq!(pod["metadata"]["annotations"]["kubeflow.org/attempt"], "1");
    }
    assert!(cluster.server.link().rules_are_used_up());
    cluster.stop().await;
}

#[tokio::test]
async fn nothing_is_created_twice_while_the_watches_lag() {
    let mut cluster = Cluster::new(Options::default());
    let server = cluster.server.clone();
    server.wait_for("the first lists", |server| server.link().count("list") == 3).await;
    server.link().hold_watches(&["pods", "services"]);
    cluster.submit(&digits(&json!({})));
    cluster.pods(4).await;
    cluster.run_pods("");
    // Every change of the job causes another plan, without any event of the held watches.
    for suspend in [true, false] {
        cluster.set("digits", "suspend", json!(suspend));
        cluster.state(if suspend { "Suspended" } else { "Created" }).await;
    }
    server.link().hold_watches(&[]);
    cluster.reap("").await;
    let is_new = |server: &Server| count(server, "create pods digits-worker-1") == 2;
    server.wait_for("new pods", is_new).await;
    cluster.pods(4).await;
    for replica in REPLICAS {
        assert_eq!(count(&server, &format!("create pods {replica}")), 2, "{replica}");
        assert_eq!(count(&server, &format!("delete pods {replica}")), 1, "{replica}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_name_used_by_another_object_is_reported_and_retried() {
    let server = Server::new();
    server.create("pods", &foreign_pod("digits-worker-1"));
    let mut cluster = Cluster::on(server.clone(), Options::default());
    cluster.submit(&digits(&json!({})));
    let is_reported = |server: &Server| {
        let message = last_condition(server)["message"].to_string();
        message.contains("MXJob digits is created. The pod digits-worker-1 cannot be created:")
    };
    server.wait_for("the reason", is_reported).await;
    server.remove("pods", "digits-worker-1");
    cluster.pods(4).await;
    let is_resolved =
        |server: &Server| last_condition(server)["message"] == "MXJob digits is created.";
    server.wait_for("the message without an obstacle", is_resolved).await;
    let refused = events(&server).iter().filter(|event| event.contains("FailedCreatePod:")).count();
    assert_eq!(refused, 1, "reported once, however often it was tried");
    cluster.stop().await;
}

#[tokio::test]
async fn failed_requests_are_retried() {
    let mut cluster = Cluster::new(Options::default());
    for (request, fault) in [
        ("create services digits-server-0", Fault::Refuse(500)),
        ("create services digits-worker-0", Fault::LoseResponse),
        ("create pods digits-server-0", Fault::Cut),
        ("create pods digits-worker-0", Fault::Refuse(403)),
        ("patch mxjobs/status digits", Fault::Refuse(503)),
    ] {
        cluster.server.link().add_rule(request, fault, 1);
    }
    run_job(&cluster, &digits(&json!({}))).await;
    assert!(cluster.server.link().rules_are_used_up());
    cluster.stop().await;
}

#[tokio::test]
async fn an_object_not_deleted_because_of_a_conflict_is_deleted_later() {
    let mut cluster = running(&json!({})).await;
    cluster.server.link().add_rule("delete pods digits-worker-0", Fault::Refuse(409), 1);
    cluster.end("digits-worker-1", 3, "");
    cluster.server.wait_for("the other pods to leave", |server| terminating(server) == 3).await;
    assert!(cluster.server.link().rules_are_used_up());
    cluster.stop().await;
}

#[tokio::test]
async fn a_finished_job_is_deleted_after_its_ttl() {
    let mut cluster = running(&json!({ "ttlSecondsAfterFinished": 1 })).await;
    for replica in REPLICAS {
        cluster.end(replica, 0, "");
    }
    let is_gone = |server: &Server| server.get("mxjobs", "digits").is_none();
    cluster.server.wait_for("the deletion", is_gone).await;
    cluster.stop().await;
    assert_eq!(count(&cluster.server, "delete mxjobs digits"), 1);
}

#[tokio::test]
async fn a_deadline_needs_no_other_event() {
    let mut cluster = Cluster::new(Options::default());
    cluster.submit(&digits(&json!({ "activeDeadlineSeconds": 1 })));
    cluster.state("Failed").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_new_controller_continues_where_the_last_one_stopped() {
    let mut first = running(&json!({})).await;
    first.stop().await;
    let server = first.server;
    let writes = server.link().writes().len();
    let mut second = Cluster::on(server.clone(), Options::default());
    second.end("digits-worker-1", 3, "");
    second.state("Failed").await;
    let since = server.link().writes().split_off(writes);
    assert!(!since.iter().any(|write| write.starts_with("create")), "{since:?}");
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_start_at_about_the_same_time_are_reported_in_one_write() {
    let mut cluster = Cluster::new(Options::default());
    cluster.submit(&digits(&json!({})));
    cluster.pods(4).await;
    for replica in REPLICAS {
        cluster.phase(replica, "Running");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.state("Running").await;
    let written = count(&cluster.server, "patch mxjobs/status digits");
    assert_eq!(written, 2, "created, running");
    cluster.stop().await;

    // The others take longer: running pods are reported anyway.
    let mut cluster = Cluster::new(Options::default());
    cluster.submit(&digits(&json!({})));
    cluster.pods(4).await;
    cluster.phase("digits-scheduler-0", "Running");
    let is_active = |server: &Server| counts(server, "Scheduler")["active"] == 1;
    cluster.server.wait_for("its count", is_active).await;
    assert_eq!(pods(&cluster.server, "digits").len(), 4);
    cluster.stop().await;
}
