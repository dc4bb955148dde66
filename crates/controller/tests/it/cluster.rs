//! A controller on an API server, and the actions of users and nodes.

use mxjob_controller::{Health, Metrics, Options, run};
use mxjob_testkit::Server;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The node of all pods that run.
pub(crate) const NODE: &str = "machine";

pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    controller: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Cluster {
    /// A controller on a new server.
    pub(crate) fn new(options: Options) -> Self {
        Self::on(Server::new(), options)
    }

    /// A controller on this server.
    pub(crate) fn on(server: Server, options: Options) -> Self {
        let (health, metrics) = (options.health.clone(), options.metrics.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let client = server.client();
        let task = tokio::spawn(async move {
            run(client, options, async move { stopped.await.unwrap_or_default() }).await.unwrap();
        });
        Self { server, health, metrics, controller: Some((stop, task)) }
    }

    /// Stops the controller; its server remains.
    pub(crate) async fn stop(&mut self) {
        let (stop, task) = self.controller.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
    }

    pub(crate) fn submit(&self, job: &Value) {
        self.server.create("mxjobs", job);
    }

    /// Changes the spec of a job.
    pub(crate) fn set(&self, job: &str, field: &str, value: Value) {
        self.server.change("mxjobs", job, |job| job["spec"][field] = value);
    }

    /// Waits until this number of pods exists.
    pub(crate) async fn pods(&self, count: usize) {
        self.pods_of("", count).await;
    }

    /// Waits until this number of pods exists whose name begins so.
    pub(crate) async fn pods_of(&self, prefix: &str, count: usize) {
        let what = format!("{count} pods {prefix}");
        self.server.wait_for(&what, |server| pods(server, prefix).len() == count).await;
    }

    /// Waits until a condition of a job has that status.
    pub(crate) async fn condition(&self, job: &str, kind: &str, status: &str) {
        let what = format!("{kind} of {job} to be {status:?}");
        let holds = |server: &Server| text(&condition(server, job, kind), "status") == status;
        self.server.wait_for(&what, holds).await;
    }

    /// Waits until the newest condition of the job `digits` is of that type.
    pub(crate) async fn state(&self, state: &str) {
        self.server.wait_for(state, |server| last_condition(server)["type"] == state).await;
    }

    /// Waits until the condition `Created` of a job has that reason and such a message, and returns
    /// the message.
    pub(crate) async fn created(&self, job: &str, reason: &str, message: &str) -> String {
        let holds = |server: &Server| {
            let created = condition(server, job, "Created");
            created["reason"] == reason && text(&created, "message").contains(message)
        };
        self.server.wait_for(&format!("{job}: {reason}: {message}"), holds).await;
        text(&condition(&self.server, job, "Created"), "message").to_owned()
    }

    /// Waits for an event and returns it as `Type Reason: message`.
    pub(crate) async fn event(&self, part: &str) -> String {
        let find = |server: &Server| events(server).into_iter().find(|event| event.contains(part));
        self.server.wait_for(&format!("the event {part}"), |server| find(server).is_some()).await;
        find(&self.server).unwrap()
    }

    /// A node takes a pod.
    pub(crate) fn bind(&self, pod: &str) {
        if self.server.get("pods", pod).unwrap()["spec"]["nodeName"].is_null() {
            self.server.bind(pod, NODE);
        }
    }

    /// The node of a pod writes its status.
    pub(crate) fn report(&self, pod: &str, status: &Value) {
        self.bind(pod);
        self.server.change("pods", pod, |pod| pod["status"] = status.clone());
    }

    pub(crate) fn phase(&self, pod: &str, phase: &str) {
        self.report(pod, &json!({ "phase": phase }));
    }

    /// A process ends.
    pub(crate) fn end(&self, pod: &str, code: i32, message: &str) {
        let (phase, reason) =
            if code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
        let end = json!({ "exitCode": code, "reason": reason, "message": message });
        let container = json!({ "name": "mxnet", "state": { "terminated": end } });
        self.report(pod, &json!({ "phase": phase, "containerStatuses": [container] }));
    }

    /// A node takes all pods whose name begins so, and they run.
    pub(crate) fn run_pods(&self, prefix: &str) {
        pods(&self.server, prefix).iter().for_each(|pod| self.phase(name(pod), "Running"));
    }

    /// Waits until all pods whose name begins so are terminating, and ends them.
    pub(crate) async fn reap(&self, prefix: &str) {
        let all_leave = |server: &Server| pods(server, prefix).iter().all(is_terminating);
        self.server.wait_for("all pods to be terminating", all_leave).await;
        for pod in pods(&self.server, prefix) {
            self.server.remove("pods", name(&pod));
        }
    }
}

/// A job with these roles and numbers of replicas.
pub(crate) fn job(name: &str, roles: &[(&str, u64)]) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } });
    let replica = |count: u64| json!({ "replicas": count, "template": template });
    let specs: Value =
        roles.iter().map(|(role, count)| ((*role).to_owned(), replica(*count))).collect();
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": name, "namespace": "default" }, "spec": { "mxReplicaSpecs": specs },
    })
}

/// A pod of another owner.
pub(crate) fn foreign_pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "containers": [{ "name": "main", "image": "any" }] },
    })
}

/// A node that is ready and has 4 CPUs.
pub(crate) fn node() -> Value {
    json!({
        "metadata": { "name": NODE },
        "status": {
            "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "10" },
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// The pods whose name begins so.
pub(crate) fn pods(server: &Server, prefix: &str) -> Vec<Value> {
    let mut pods = server.all("pods");
    pods.retain(|pod| name(pod).starts_with(prefix));
    pods
}

/// A condition of a job; null if it does not exist.
pub(crate) fn condition(server: &Server, job: &str, kind: &str) -> Value {
    conditions(server, job).into_iter().find(|one| one["type"] == kind).unwrap_or_default()
}

/// The newest condition of the job `digits`.
pub(crate) fn last_condition(server: &Server) -> Value {
    conditions(server, "digits").pop().unwrap_or_default()
}

fn conditions(server: &Server, job: &str) -> Vec<Value> {
    let job = server.get("mxjobs", job).unwrap_or_default();
    job.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The counts of a role in the status of the job `digits`.
pub(crate) fn counts(server: &Server, role: &str) -> Value {
    let job = server.get("mxjobs", "digits").unwrap_or_default();
    job["status"]["replicaStatuses"][role].clone()
}

/// All events as `Type Reason: message`.
pub(crate) fn events(server: &Server) -> Vec<String> {
    let line = |event: &Value| {
        format!("{} {}: {}", text(event, "type"), text(event, "reason"), text(event, "message"))
    };
    server.all("events").iter().map(line).collect()
}

/// How many writes of the client had that text.
pub(crate) fn count(server: &Server, write: &str) -> usize {
    server.link().writes().iter().filter(|done| *done == write).count()
}

pub(crate) fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}
