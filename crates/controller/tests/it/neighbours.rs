//! Other systems that use a job: Kueue, which suspends and resumes it, and Katib and Argo, which
//! wait for its end.

use mxjob_controller::{Options, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::server::Server;

/// A job in a cluster, and the actions of the other systems.
struct Cluster {
    server: Server,
    stop: oneshot::Sender<()>,
    controller: JoinHandle<()>,
}

const ROLES: [(&str, u64); 3] = [("Scheduler", 1), ("Server", 1), ("Worker", 2)];

impl Cluster {
    fn new() -> Self {
        let server = Server::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let client = server.client();
        let controller = tokio::spawn(async move {
            let stopped = async move { stopped.await.unwrap_or_default() };
            run(client, Options::default(), stopped).await.unwrap();
        });
        Self { server, stop, controller }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.controller.await.unwrap();
    }

    fn submit(&self, suspend: bool) {
        let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } });
        let replica = |count: u64| json!({ "replicas": count, "template": template });
        let specs: Value =
            ROLES.iter().map(|(role, count)| ((*role).to_owned(), replica(*count))).collect();
        self.server.put("mxjobs", &json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": {
                "name": "digits", "namespace": "default", "labels": { "kueue.x-k8s.io/queue-name": "team" },
            },
            "spec": { "jobMode": "MXTrain", "runPolicy": { "suspend": suspend }, "mxReplicaSpecs": specs },
        }));
    }

    /// Kueue admits the job to a flavor: one write resumes it and changes its templates for the
    /// flavor.
    fn admit(&self, flavor: &str) {
        self.server.change("mxjobs", "digits", |job| {
            job["spec"]["runPolicy"]["suspend"] = json!(false);
            for (role, _) in ROLES {
                let template = &mut job["spec"]["mxReplicaSpecs"][role]["template"];
                template["metadata"] = json!({
                    "labels": { "kueue.x-k8s.io/podset": role.to_lowercase() },
                    "annotations": { "kueue.x-k8s.io/workload": format!("mxjob-digits-{flavor}") },
                });
                template["spec"]["nodeSelector"] = json!({ "flavor": flavor });
                template["spec"]["tolerations"] = json!([{ "key": flavor, "operator": "Exists" }]);
            }
        });
    }

    /// Kueue evicts the job: one write suspends it and restores its templates.
    fn evict(&self) {
        self.server.change("mxjobs", "digits", |job| {
            job["spec"]["runPolicy"]["suspend"] = json!(true);
            for (role, _) in ROLES {
                let template = &mut job["spec"]["mxReplicaSpecs"][role]["template"];
                template.as_object_mut().unwrap().remove("metadata");
                for field in ["nodeSelector", "tolerations"] {
                    template["spec"].as_object_mut().unwrap().remove(field);
                }
            }
        });
    }

    /// Kueue finds pods by these two labels.
    fn pods(server: &Server) -> Vec<Value> {
        let is_one = |pod: &Value| {
            let labels = &pod["metadata"]["labels"];
            labels["training.kubeflow.org/job-name"] == "digits"
                && labels["training.kubeflow.org/operator-name"] == "mxjob-controller"
        };
        server.all("pods").into_iter().filter(is_one).collect()
    }

    async fn has_pods(&self, count: usize) {
        self.server.wait_for("pods", |server| Self::pods(server).len() == count).await;
    }

    fn each_pod(&self, status: &Value) {
        for pod in Self::pods(&self.server) {
            let name = pod["metadata"]["name"].as_str().unwrap();
            self.server.change("pods", name, |pod| pod["status"] = status.clone());
        }
    }

    /// The nodes end the terminating pods.
    fn reap(&self) {
        for pod in Self::pods(&self.server) {
            if pod["metadata"]["deletionTimestamp"].is_string() {
                self.server.remove("pods", pod["metadata"]["name"].as_str().unwrap());
            }
        }
    }

    async fn condition(&self, kind: &str, status: &str) {
        let is_so = |server: &Server| condition(server, kind) == status;
        self.server.wait_for(&format!("{kind} is {status}"), is_so).await;
    }
}

/// `status` of a condition; empty if it does not exist.
fn condition(server: &Server, kind: &str) -> String {
    let job = server.get("mxjobs", "digits").unwrap_or_default();
    let all = job.pointer("/status/conditions").and_then(Value::as_array).cloned();
    let one = all.unwrap_or_default().into_iter().find(|one| one["type"] == kind);
    one.map(|one| one["status"].as_str().unwrap().to_owned()).unwrap_or_default()
}

fn replica_statuses(server: &Server) -> Value {
    server.get("mxjobs", "digits").unwrap()["status"]["replicaStatuses"].clone()
}

/// Kueue's check whether the job is active.
fn is_active(server: &Server) -> bool {
    let counts = replica_statuses(server);
    counts.as_object().unwrap().values().any(|counts| counts["active"].as_u64().unwrap_or(0) != 0)
}

#[tokio::test]
async fn kueue_admits_evicts_and_admits_again() {
    let cluster = Cluster::new();
    let server = &cluster.server;
    cluster.submit(true);
    cluster.condition("Suspended", "True").await;
    assert!(server.all("pods").is_empty() && server.all("services").is_empty());
    assert!(!is_active(server));
    let mut places = Vec::new();
    for flavor in ["spot", "reserved"] {
        cluster.admit(flavor);
        cluster.has_pods(4).await;
        assert_eq!(condition(server, "Running"), if places.is_empty() { "" } else { "False" });
        for pod in Cluster::pods(server) {
            let role = pod["metadata"]["labels"]["training.kubeflow.org/replica-type"].clone();
            assert_eq!(pod["metadata"]["labels"]["kueue.x-k8s.io/podset"], role);
            let workload = pod["metadata"]["annotations"]["kueue.x-k8s.io/workload"].clone();
            assert_eq!(workload, format!("mxjob-digits-{flavor}"));
            assert_eq!(
                pod["spec"]["tolerations"],
                json!([{ "key": flavor, "operator": "Exists" }])
            );
            places.push(pod["spec"]["nodeSelector"]["flavor"].as_str().unwrap().to_owned());
        }
        cluster.condition("Suspended", "False").await;
        // Its pods are ready when the job is running.
        cluster.each_pod(&json!({ "phase": "Running" }));
        cluster.condition("Running", "True").await;
        assert!(is_active(server));
        cluster.evict();
        cluster.condition("Suspended", "True").await;
        let all_leave = |server: &Server| {
            let pods = Cluster::pods(server);
            pods.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string())
        };
        server.wait_for("all pods to leave", all_leave).await;
        assert_eq!(condition(server, "Running"), "False");
        assert!(!is_active(server), "{}", replica_statuses(server));
        cluster.reap();
        cluster.has_pods(0).await;
    }
    assert_eq!(places, [["spot"; 4], ["reserved"; 4]].concat());
    cluster.admit("spot");
    cluster.has_pods(4).await;
    cluster.each_pod(&json!({ "phase": "Running" }));
    cluster.condition("Running", "True").await;
    cluster.each_pod(&json!({ "phase": "Succeeded" }));
    cluster.condition("Succeeded", "True").await;
    assert_eq!(condition(server, "Running"), "False");
    cluster.stop().await;
}

#[tokio::test]
async fn pods_of_another_flavor_are_not_created_while_the_previous_ones_terminate() {
    let cluster = Cluster::new();
    cluster.submit(true);
    cluster.condition("Suspended", "True").await;
    cluster.admit("spot");
    cluster.has_pods(4).await;
    cluster.evict();
    cluster.condition("Suspended", "True").await;
    cluster.admit("reserved");
    cluster.condition("Suspended", "False").await;
    let server = &cluster.server;
    let flavors = |server: &Server| -> Vec<String> {
        let pods = Cluster::pods(server);
        pods.iter()
            .map(|pod| pod["spec"]["nodeSelector"]["flavor"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(flavors(server), ["spot"; 4]);
    cluster.reap();
    server.wait_for("the new ones", |server| flavors(server) == ["reserved"; 4]).await;
    cluster.stop().await;
}

#[tokio::test]
async fn katib_and_argo_read_the_end_of_a_job() {
    let terminated = |code: i32| {
        let end = json!({ "exitCode": code, "finishedAt": "2026-11-24T08:00:00Z" });
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        json!({ "phase": phase, "containerStatuses": [{ "name": "mxnet", "state": { "terminated": end } }] })
    };
    for (code, end, other) in [(0, "Succeeded", "Failed"), (1, "Failed", "Succeeded")] {
        let cluster = Cluster::new();
        let server = &cluster.server;
        cluster.submit(false);
        cluster.has_pods(4).await;
        // Katib finds the pod whose log it reads by these.
        let worker = server.get("pods", "digits-worker-0").unwrap();
        assert_eq!(worker["metadata"]["labels"]["training.kubeflow.org/replica-type"], "worker");
        assert_eq!(worker["spec"]["containers"][0]["name"], "mxnet");
        cluster.each_pod(&json!({ "phase": "Running" }));
        cluster.condition("Running", "True").await;
        assert_eq!(condition(server, "Created"), "True");
        cluster.each_pod(&terminated(code));
        cluster.condition(end, "True").await;
        assert_eq!(condition(server, other), "");
        // Argo's `successCondition: status.replicaStatuses.Worker.succeeded == 2`, and
        // `failureCondition` likewise.
        let key = end.to_lowercase();
        let counted = |server: &Server| replica_statuses(server)["Worker"][&key] == 2;
        server.wait_for("the count", counted).await;
        let job = server.get("mxjobs", "digits").unwrap();
        assert_eq!(job["status"]["replicaStatuses"], job["status"]["mxReplicaStatuses"]);
        let last = job["status"]["conditions"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["type"], &last["status"]), (&json!(end), &json!("True")));
        assert_eq!(last["reason"], format!("MXJob{end}"));
        cluster.stop().await;
    }
}
