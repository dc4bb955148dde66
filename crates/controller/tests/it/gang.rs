//! Jobs that wait for capacity on one machine, as clients see them.

use mxjob_controller::{Gang, Metrics, Options, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::server::Server;

/// A machine of 4 CPUs and a controller that schedules jobs on it.
struct Machine {
    server: Server,
    stop: Option<oneshot::Sender<()>>,
    controller: Option<JoinHandle<()>>,
    metrics: Metrics,
}

impl Machine {
    fn new() -> Self {
        let server = Server::new();
        server.put(
            "nodes",
            &json!({
                "metadata": { "name": "machine", "namespace": "" },
                "status": {
                    "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "10" },
                    "conditions": [{ "type": "Ready", "status": "True" }],
                },
            }),
        );
        let mut machine =
            Self { server, stop: None, controller: None, metrics: Metrics::default() };
        machine.start();
        machine
    }

    fn start(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let client = self.server.client();
        let metrics = self.metrics.clone();
        self.controller = Some(tokio::spawn(async move {
            let options = Options { gang: Gang::Native, metrics, ..Options::default() };
            run(client, options, async move { stopped.await.unwrap_or_default() }).await.unwrap();
        }));
        self.stop = Some(stop);
    }

    async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.controller.take().unwrap().await.unwrap();
    }

    /// Submits a job of workers with that many CPUs each, created at that second.
    fn submit(&self, name: &str, workers: u32, cpu: &str, came: u32, more: &Value) {
        let container = json!({ "name": "mxnet", "image": "mxnet", "resources": { "requests": { "cpu": cpu } } });
        let worker =
            json!({ "replicas": workers, "template": { "spec": { "containers": [container] } } });
        let mut spec = json!({ "mxReplicaSpecs": { "Worker": worker } });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.server.put("mxjobs", &json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": { "name": name, "namespace": "default", "creationTimestamp": format!("2026-11-24T08:00:{came:02}Z") },
            "spec": spec,
        }));
    }

    async fn pods(&self, job: &str, count: usize) {
        let of_job = |server: &Server| {
            let prefix = format!("{job}-worker-");
            let pods = server.all("pods");
            pods.iter()
                .filter(|pod| pod["metadata"]["name"].as_str().unwrap().starts_with(&prefix))
                .count()
        };
        self.server
            .wait_for(&format!("{count} pods of {job}"), |server| of_job(server) == count)
            .await;
    }

    /// Waits until the condition `Created` has that reason, and returns its message.
    async fn created(&self, job: &str, reason: &str) -> String {
        let is_so = |server: &Server| created(server, job)["reason"] == reason;
        self.server.wait_for(&format!("{job}: {reason}"), is_so).await;
        created(&self.server, job)["message"].as_str().unwrap().to_owned()
    }

    fn end(&self, pod: &str) {
        self.server.change("pods", pod, |pod| pod["status"] = json!({ "phase": "Succeeded" }));
    }

    async fn event(&self, reason: &str) -> String {
        let find = |server: &Server| {
            server.all("events").into_iter().find(|event| event["reason"] == reason)
        };
        self.server.wait_for(reason, |server| find(server).is_some()).await;
        find(&self.server).unwrap()["message"].as_str().unwrap().to_owned()
    }
}

fn created(server: &Server, job: &str) -> Value {
    let job = server.get("mxjobs", job).unwrap_or_default();
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .and_then(|all| all.iter().find(|one| one["type"] == "Created").cloned())
        .unwrap_or_default()
}

fn start_time(server: &Server, job: &str) -> Value {
    server.get("mxjobs", job).unwrap_or_default()["status"]["startTime"].clone()
}

#[tokio::test]
async fn a_job_waits_without_pods_and_starts_when_the_previous_one_finishes() {
    let mut machine = Machine::new();
    machine.submit("first", 3, "1", 0, &json!({}));
    machine.pods("first", 3).await;
    machine.submit("second", 2, "1", 1, &json!({}));
    let message = machine.created("second", "MXJobWaiting").await;
    assert_eq!(message, "MXJob second is created. MXJob second waits for cpu 2 for 2 pods.");
    assert_eq!(machine.event("MXJobWaiting").await, "MXJob second waits for cpu 2 for 2 pods.");
    assert_eq!(start_time(&machine.server, "second"), Value::Null);
    assert_eq!(machine.server.all("services").len(), 3, "nothing is held, no names either");
    machine.end("first-worker-0");
    machine.pods("second", 2).await;
    let message = machine.created("second", "MXJobCreated").await;
    assert_eq!(message, "MXJob second is created.");
    machine.stop().await;
    let created =
        "training_operator_jobs_created_total{job_namespace=\"default\",framework=\"mxnet\"} 2";
    let text = machine.metrics.encode();
    assert!(text.contains(created), "{text}");
}

#[tokio::test]
async fn pods_of_other_owners_take_capacity_until_they_finish() {
    let mut machine = Machine::new();
    machine.server.put("pods", &json!({
        "metadata": { "name": "other", "namespace": "default" },
        "spec": { "nodeName": "machine", "containers": [{ "resources": { "limits": { "cpu": "2" } } }] },
        "status": { "phase": "Running" },
    }));
    machine.submit("digits", 3, "1", 0, &json!({}));
    machine.created("digits", "MXJobWaiting").await;
    machine.end("other");
    machine.pods("digits", 3).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_new_controller_knows_which_jobs_have_started_and_which_wait() {
    let mut machine = Machine::new();
    machine.submit("first", 3, "1", 1, &json!({}));
    machine.pods("first", 3).await;
    machine.submit("second", 2, "1", 0, &json!({}));
    machine.created("second", "MXJobWaiting").await;
    machine.stop().await;
    // A replica without a pod keeps its capacity.
    machine.server.remove("pods", "first-worker-1");
    machine.metrics = Metrics::default();
    machine.start();
    machine.pods("first", 3).await;
    machine.pods("second", 0).await;
    let text = machine.metrics.encode();
    assert!(!text.contains("jobs_created_total{"), "jobs of before are not counted again: {text}");
    assert!(text.contains("mxjob_jobs{job_namespace=\"default\",state=\"waiting\"} 1"), "{text}");
    for pod in ["first-worker-0", "first-worker-1", "first-worker-2"] {
        machine.end(pod);
    }
    machine.pods("second", 2).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_job_that_can_never_start_says_so_and_blocks_nobody() {
    let mut machine = Machine::new();
    machine.submit("giant", 5, "1", 0, &json!({}));
    let message = machine.event("MXJobUnschedulable").await;
    assert_eq!(
        message,
        "MXJob giant can never start here: it requests 5 of cpu in total and the nodes have 4."
    );
    machine.created("giant", "MXJobUnschedulable").await;
    machine.submit("digits", 1, "1", 1, &json!({}));
    machine.pods("digits", 1).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_suspended_job_frees_its_capacity_and_waits_when_resumed() {
    let mut machine = Machine::new();
    machine.submit("first", 4, "1", 0, &json!({}));
    machine.pods("first", 4).await;
    machine.submit("second", 4, "1", 1, &json!({}));
    machine.created("second", "MXJobWaiting").await;
    machine.server.change("mxjobs", "first", |job| job["spec"]["suspend"] = json!(true));
    let all_leave = |server: &Server| {
        server.all("pods").iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string())
    };
    machine.server.wait_for("all leave", all_leave).await;
    for index in 0..4 {
        machine.server.remove("pods", &format!("first-worker-{index}"));
    }
    machine.pods("second", 4).await;
    machine.server.change("mxjobs", "first", |job| job["spec"]["suspend"] = json!(false));
    machine.created("first", "MXJobWaiting").await;
    assert_eq!(start_time(&machine.server, "first"), Value::Null, "its clock stands still");
    for index in 0..4 {
        machine.end(&format!("second-worker-{index}"));
    }
    machine.pods("first", 4).await;
    machine
        .server
        .wait_for("the clock runs", |server| start_time(server, "first").is_string())
        .await;
    machine.stop().await;
}

#[tokio::test]
async fn priority_classes_order_the_queue_and_an_unknown_one_is_reported() {
    let mut machine = Machine::new();
    let class = |name: &str| json!({ "schedulingPolicy": { "priorityClass": name } });
    machine.server.put(
        "priorityclasses",
        &json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": { "name": "urgent", "namespace": "" }, "value": 1000,
        }),
    );
    machine.submit("first", 4, "1", 0, &json!({}));
    machine.pods("first", 4).await;
    machine.submit("lost", 4, "1", 1, &class("missing"));
    let message = machine.event("UnknownPriorityClass").await;
    assert_eq!(message, "Priority class missing does not exist; the job waits with priority 0");
    machine.submit("urgent", 4, "1", 2, &class("urgent"));
    machine.created("urgent", "MXJobWaiting").await;
    for index in 0..4 {
        machine.end(&format!("first-worker-{index}"));
    }
    machine.pods("urgent", 4).await;
    machine.pods("lost", 0).await;
    machine.stop().await;
}

#[tokio::test]
async fn unschedulable_and_gated_pods_take_no_capacity() {
    let mut machine = Machine::new();
    for (name, cpu, gates) in
        [("giant", "100", json!([])), ("gated", "3", json!([{ "name": "quota" }]))]
    {
        machine.server.put("pods", &json!({
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "schedulingGates": gates, "containers": [{ "resources": { "requests": { "cpu": cpu } } }] },
            "status": { "phase": "Pending" },
        }));
    }
    machine.submit("digits", 4, "1", 0, &json!({}));
    machine.pods("digits", 4).await;
    machine.stop().await;
}

#[tokio::test]
async fn a_job_that_is_too_large_is_rejected_and_holds_no_capacity() {
    let mut machine = Machine::new();
    machine.submit("large", i32::MAX.unsigned_abs(), "1", 0, &json!({}));
    machine.server.put("mxjobs", &json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": "begun", "namespace": "default", "creationTimestamp": "2026-11-24T08:00:00Z" },
        "spec": machine.server.get("mxjobs", "large").unwrap()["spec"],
        "status": {
            "conditions": [{ "type": "Created", "status": "True", "reason": "MXJobCreated", "message": "" }],
            "startTime": "2026-11-24T08:00:00Z",
        },
    }));
    machine.submit("digits", 4, "1", 1, &json!({}));
    for name in ["large", "begun"] {
        let is_refused = |server: &Server| {
            let job = server.get("mxjobs", name).unwrap();
            let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
            conditions.and_then(|all| all.last()).is_some_and(|newest| {
                newest["type"] == "Failed" && newest["reason"] == "MXJobFailedValidation"
            })
        };
        machine.server.wait_for(name, is_refused).await;
        machine.pods(name, 0).await;
    }
    machine.pods("digits", 4).await;
    machine.stop().await;
}
