//! Jobs whose scheduler reads a pod group.

use mxjob_controller::{Gang, Options, PodGroups, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::server::Server;

struct Cluster {
    server: Server,
    stop: oneshot::Sender<()>,
    controller: JoinHandle<()>,
}

impl Cluster {
    fn with(server: Server, scheduler: PodGroups) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let client = server.client();
        let controller = tokio::spawn(async move {
            let options = Options { gang: Gang::PodGroups(scheduler), ..Options::default() };
            run(client, options, async move { stopped.await.unwrap_or_default() }).await.unwrap();
        });
        Self { server, stop, controller }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.controller.await.unwrap();
    }

    fn submit(&self, change: impl FnOnce(&mut Value)) {
        let container = json!({ "name": "mxnet", "image": "mxnet", "resources": { "requests": { "cpu": "1" } } });
        let template = json!({ "spec": { "containers": [container] } });
        let mut job = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": { "name": "digits", "namespace": "default", "annotations": { "owner": "mia" } },
            "spec": { "mxReplicaSpecs": { "Worker": { "replicas": 2, "template": template } } },
        });
        change(&mut job);
        self.server.put("mxjobs", &job);
    }

    async fn group(&self) -> Value {
        self.server.wait_for("its group", |server| group(server).is_some()).await;
        group(&self.server).unwrap()
    }

    async fn no_group(&self) {
        self.server.wait_for("no group", |server| group(server).is_none()).await;
    }

    /// The scheduler writes the status of the group.
    fn phase(&self, phase: &str, conditions: &Value) {
        self.server.change("podgroups", "digits", |group| {
            group["status"] = json!({ "phase": phase, "conditions": conditions });
        });
    }

    async fn pods(&self, count: usize) {
        self.server.wait_for("pods", |server| server.all("pods").len() == count).await;
    }

    fn each_pod(&self, phase: &str) {
        for index in 0..2 {
            self.server.change("pods", &format!("digits-worker-{index}"), |pod| {
                pod["status"] = json!({ "phase": phase });
            });
        }
    }

    async fn created(&self, reason: &str, text: &str) {
        let is_so = |server: &Server| {
            let created = condition(server, "Created");
            created["reason"] == reason && created["message"].as_str().unwrap().contains(text)
        };
        self.server.wait_for(&format!("{reason}: {text}"), is_so).await;
    }

    async fn state(&self, kind: &str) {
        self.server.wait_for(kind, |server| condition(server, kind)["status"] == "True").await;
    }
}

fn group(server: &Server) -> Option<Value> {
    server.get("podgroups", "digits")
}

fn condition(server: &Server, kind: &str) -> Value {
    let job = server.get("mxjobs", "digits").unwrap_or_default();
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .and_then(|all| all.iter().find(|one| one["type"] == kind).cloned())
        .unwrap_or_default()
}

fn events(server: &Server, reason: &str) -> Vec<String> {
    let all = server.all("events").into_iter().filter(|event| event["reason"] == reason);
    all.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn count(server: &Server, write: &str) -> usize {
    server.writes().iter().filter(|done| *done == write).count()
}

#[tokio::test]
async fn a_job_waits_for_volcano_and_its_group_is_deleted_at_its_end() {
    let cluster = Cluster::with(Server::new(), PodGroups::Volcano);
    cluster.submit(|_| ());
    let group = cluster.group().await;
    assert_eq!(
        group["spec"],
        json!({ "minMember": 2, "minResources": { "cpu": "2" }, "queue": "default" })
    );
    assert_eq!(group["metadata"]["annotations"], json!({ "owner": "mia" }));
    cluster.created("MXJobWaiting", "waits for Volcano to admit it to queue default.").await;
    let full =
        json!([{ "type": "Unschedulable", "status": "True", "message": "queue quota is used up" }]);
    cluster.phase("Pending", &full);
    cluster.created("MXJobWaiting", "to queue default: queue quota is used up.").await;
    let server = &cluster.server;
    assert!(server.all("pods").is_empty() && server.all("services").is_empty());
    cluster.phase("Inqueue", &json!([]));
    cluster.pods(2).await;
    cluster.created("MXJobCreated", "MXJob digits is created.").await;
    let pod = server.get("pods", "digits-worker-0").unwrap();
    assert_eq!(pod["spec"]["schedulerName"], "volcano");
    assert_eq!(
        pod["metadata"]["annotations"],
        json!({ "scheduling.k8s.io/group-name": "digits", "volcano.sh/task-spec": "worker" })
    );
    cluster.phase("Running", &json!([]));
    cluster.each_pod("Running");
    cluster.state("Running").await;
    cluster.each_pod("Succeeded");
    cluster.state("Succeeded").await;
    cluster.no_group().await;
    server
        .wait_for("the event", |server| !events(server, "SuccessfulDeletePodGroup").is_empty())
        .await;
    assert_eq!(events(server, "SuccessfulDeletePodGroup"), ["Deleted PodGroup: digits"]);
    assert_eq!(events(server, "MXJobWaiting").len(), 1, "its reasons are one wait");
    // Nothing else happens to it, whatever happens to the job.
    server.change("mxjobs", "digits", |job| job["metadata"]["labels"] = json!({ "a": "b" }));
    server.change("mxjobs", "digits", |job| job["spec"]["ttlSecondsAfterFinished"] = json!(0));
    server.wait_for("its end", |server| server.get("mxjobs", "digits").is_none()).await;
    for (write, times) in [
        ("POST podgroups digits", 1),
        ("PATCH podgroups digits", 0),
        ("DELETE podgroups digits", 1),
    ] {
        assert_eq!(count(server, write), times, "{write}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_suspended_job_loses_its_group_and_gets_another_one() {
    let cluster = Cluster::with(Server::new(), PodGroups::Volcano);
    cluster.submit(|_| ());
    let first = cluster.group().await;
    cluster.phase("Running", &json!([]));
    cluster.pods(2).await;
    let server = &cluster.server;
    server.change("mxjobs", "digits", |job| job["spec"]["suspend"] = json!(true));
    cluster.no_group().await;
    cluster.state("Suspended").await;
    server.remove("pods", "digits-worker-0");
    server.remove("pods", "digits-worker-1");
    server.change("mxjobs", "digits", |job| job["spec"]["suspend"] = json!(false));
    let second = cluster.group().await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    cluster.created("MXJobWaiting", "waits for Volcano").await;
    assert!(server.all("pods").is_empty());
    cluster.phase("Inqueue", &json!([]));
    cluster.pods(2).await;
    assert_eq!(count(server, "DELETE podgroups digits"), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn pods_are_created_immediately_for_scheduler_plugins() {
    let scheduler = PodGroups::SchedulerPlugins { scheduler: "gangs".to_owned() };
    let cluster = Cluster::with(Server::new(), scheduler);
    cluster.submit(|job| {
        job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["schedulerName"] =
            json!("mine");
        job["spec"]["schedulingPolicy"] = json!({ "scheduleTimeoutSeconds": 30 });
    });
    cluster.pods(2).await;
    let server = &cluster.server;
    let group = group(server).unwrap();
    assert_eq!(group["apiVersion"], "scheduling.x-k8s.io/v1alpha1");
    assert_eq!(
        group["spec"],
        json!({ "minMember": 2, "minResources": { "cpu": "2" }, "scheduleTimeoutSeconds": 30 })
    );
    let writes = server.writes();
    assert_eq!(
        writes.iter().find(|write| !write.contains("mxjobs")).unwrap(),
        "POST podgroups digits"
    );
    let pod = server.get("pods", "digits-worker-1").unwrap();
    assert_eq!(pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"], "digits");
    assert_eq!(pod["spec"]["schedulerName"], "mine");
    let warned = |server: &Server| events(server, "SetPodTemplateSchedulerName").len() == 1;
    server.wait_for("the warning", warned).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_group_of_another_owner_is_reported_and_not_changed() {
    for scheduler in
        [PodGroups::Volcano, PodGroups::SchedulerPlugins { scheduler: "gangs".to_owned() }]
    {
        let server = Server::new();
        let foreign = json!({ "metadata": { "name": "digits", "namespace": "default" }, "spec": { "minMember": 7 } });
        server.put("podgroups", &foreign);
        let cluster = Cluster::with(server.clone(), scheduler.clone());
        cluster.submit(|_| ());
        let is_reported = |server: &Server| {
            let message = condition(server, "Created")["message"].to_string();
            message.contains("The PodGroup digits cannot be created: ")
        };
        server.wait_for("the reason", is_reported).await;
        assert_eq!(group(&server).unwrap()["spec"], json!({ "minMember": 7 }));
        assert!(server.all("pods").is_empty());
        server.remove("podgroups", "digits");
        server
            .wait_for("its own", |server| {
                group(server).is_some_and(|group| group["spec"]["minMember"] == 2)
            })
            .await;
        if scheduler == PodGroups::Volcano {
            cluster.phase("Inqueue", &json!([]));
        }
        cluster.pods(2).await;
        cluster.created("MXJobCreated", "MXJob digits is created.").await;
        assert_eq!(events(&server, "FailedCreatePodGroup").len(), 1, "reported once");
        cluster.stop().await;
    }
}

#[tokio::test]
async fn a_group_created_by_an_older_operator_is_adopted() {
    let server = Server::new();
    let cluster = Cluster::with(server.clone(), PodGroups::Volcano);
    server.wait_for("the first lists", |server| server.lists().len() == 4).await;
    let owner = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "digits", "uid": "u1", "controller": true,
    });
    server.put(
        "podgroups",
        &json!({
            "apiVersion": "scheduling.volcano.sh/v1beta1", "kind": "PodGroup",
            "metadata": { "name": "digits", "namespace": "default", "ownerReferences": [owner] },
            "spec": { "minMember": 1, "queue": "night" },
            "status": { "phase": "Inqueue" },
        }),
    );
    cluster.submit(|job| job["metadata"]["uid"] = json!("u1"));
    cluster.pods(2).await;
    let is_whole = |server: &Server| {
        let spec = group(server).unwrap()["spec"].clone();
        spec == json!({ "minMember": 2, "minResources": { "cpu": "2" }, "queue": "night" })
    };
    server.wait_for("its own spec, in the queue it has", is_whole).await;
    let labels = group(&server).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["training.kubeflow.org/operator-name"], "mxjob-controller");
    cluster.stop().await;
}

#[tokio::test]
async fn a_started_job_that_loses_its_group_gets_another_one_and_continues() {
    let cluster = Cluster::with(Server::new(), PodGroups::Volcano);
    cluster.submit(|_| ());
    let first = cluster.group().await;
    cluster.phase("Running", &json!([]));
    cluster.pods(2).await;
    cluster.each_pod("Running");
    cluster.state("Running").await;
    let server = &cluster.server;
    server.remove("podgroups", "digits");
    let is_another = |server: &Server| {
        group(server).is_some_and(|group| group["metadata"]["uid"] != first["metadata"]["uid"])
    };
    server.wait_for("another group", is_another).await;
    cluster.each_pod("Succeeded");
    cluster.state("Succeeded").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_group_whose_deletion_failed_is_deleted_before_the_resumed_job_queues() {
    let cluster = Cluster::with(Server::new(), PodGroups::Volcano);
    cluster.submit(|_| ());
    let first = cluster.group().await;
    cluster.phase("Inqueue", &json!([]));
    cluster.pods(2).await;
    let server = &cluster.server;
    server.forbid(&["delete podgroups"]);
    server.change("mxjobs", "digits", |job| job["spec"]["suspend"] = json!(true));
    let failed = |server: &Server| events(server, "FailedDeletePodGroup").len() == 1;
    server.wait_for("the failure", failed).await;
    server.change("mxjobs", "digits", |job| job["spec"]["suspend"] = json!(false));
    server.forbid(&[]);
    let is_another = |server: &Server| {
        group(server).is_some_and(|group| group["metadata"]["uid"] != first["metadata"]["uid"])
    };
    server.wait_for("another group", is_another).await;
    for index in 0..2 {
        server.remove("pods", &format!("digits-worker-{index}"));
    }
    cluster.created("MXJobWaiting", "waits for Volcano").await;
    cluster.phase("Inqueue", &json!([]));
    cluster.pods(2).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_started_without_a_gang_scheduler_continues_without_it() {
    let server = Server::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let client = server.client();
    let before = tokio::spawn(async move {
        let stopped = async move { stopped.await.unwrap_or_default() };
        run(client, Options { gang: Gang::Off, ..Options::default() }, stopped).await.unwrap();
    });
    let cluster = Cluster { server: server.clone(), stop, controller: before };
    cluster.submit(|job| {
        job["spec"]["mxReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    cluster.pods(2).await;
    cluster.each_pod("Running");
    cluster.state("Running").await;
    cluster.stop().await;
    let cluster = Cluster::with(server.clone(), PodGroups::Volcano);
    let uid = server.get("pods", "digits-worker-0").unwrap()["metadata"]["uid"].clone();
    server.remove("pods", "digits-worker-0");
    let is_anew = |server: &Server| {
        server.get("pods", "digits-worker-0").is_some_and(|pod| pod["metadata"]["uid"] != uid)
    };
    server.wait_for("its replacement", is_anew).await;
    let pod = server.get("pods", "digits-worker-0").unwrap();
    assert_eq!(pod["metadata"].get("annotations"), None);
    assert_eq!(pod["spec"].get("schedulerName"), None);
    assert_eq!(group(&server), None);
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_that_is_too_large_gets_no_group() {
    for scheduler in
        [PodGroups::Volcano, PodGroups::SchedulerPlugins { scheduler: "gang".to_owned() }]
    {
        let cluster = Cluster::with(Server::new(), scheduler);
        cluster.submit(|job| {
            job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = i32::MAX.into();
            job["status"] = json!({ "conditions": [{ "type": "Created", "status": "True" }] });
        });
        cluster.state("Failed").await;
        assert_eq!(group(&cluster.server), None);
        assert!(cluster.server.all("pods").is_empty());
        cluster.stop().await;
    }
}
