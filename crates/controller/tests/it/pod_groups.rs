//! Jobs whose scheduler reads a pod group.

use mxjob_controller::{Gang, Options, PodGroups};
use mxjob_testkit::{MxJobs, Server};
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, count, events, job, name};

fn with(server: Server, scheduler: PodGroups) -> Cluster {
    Cluster::on(server, Options { gang: Gang::PodGroups(scheduler), ..Options::default() })
}

fn volcano() -> Cluster {
    with(Server::new(), PodGroups::Volcano)
}

fn plugins() -> PodGroups {
    PodGroups::SchedulerPlugins { scheduler: "gangs".to_owned() }
}

/// A job of two workers with one CPU each.
fn digits() -> Value {
    let mut job = job("digits", &[("Worker", 2)]);
    let template = &mut job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"];
    template["containers"][0]["resources"] = json!({ "requests": { "cpu": "1" } });
    job["metadata"]["annotations"] = json!({ "owner": "mia" });
    job
}

async fn wait_for_group(cluster: &Cluster) -> Value {
    cluster.server.wait_for("its group", |server| group(server).is_some()).await;
    group(&cluster.server).unwrap()
}

async fn wait_for_another_group(cluster: &Cluster, first: &Value) -> Value {
    let is_another = |server: &Server| {
        group(server).is_some_and(|group| group["metadata"]["uid"] != first["metadata"]["uid"])
    };
    cluster.server.wait_for("another group", is_another).await;
    group(&cluster.server).unwrap()
}

async fn wait_for_no_group(cluster: &Cluster) {
    cluster.server.wait_for("no group", |server| group(server).is_none()).await;
}

/// The scheduler writes the status of the group.
fn set_phase(cluster: &Cluster, phase: &str, conditions: &Value) {
    cluster.server.change("podgroups", "digits", |group| {
        group["status"] = json!({ "phase": phase, "conditions": conditions });
    });
}

fn each_pod(cluster: &Cluster, phase: &str) {
    for pod in cluster.server.all("pods") {
        cluster.phase(name(&pod), phase);
    }
}

fn group(server: &Server) -> Option<Value> {
    server.get("podgroups", "digits")
}

/// The messages of events with that reason.
fn messages(server: &Server, reason: &str) -> Vec<String> {
    let of_reason = |event: &String| {
        let (words, message) = event.split_once(": ")?;
        words.ends_with(&format!(" {reason}")).then(|| message.to_owned())
    };
    events(server).iter().filter_map(of_reason).collect()
}

#[tokio::test]
async fn a_job_waits_for_volcano_and_its_group_is_deleted_at_its_end() {
    let mut cluster = volcano();
    cluster.submit(&digits());
    let group = wait_for_group(&cluster).await;
    assert_eq!(
        group["spec"],
        json!({ "minMember": 2, "minResources": { "cpu": "2" }, "queue": "default" })
    );
    assert_eq!(group["metadata"]["annotations"], json!({ "owner": "mia" }));
    cluster
        .created("digits", "MXJobWaiting", "waits for Volcano to admit it to queue default.")
        .await;
    let full =
        json!([{ "type": "Unschedulable", "status": "True", "message": "queue quota is used up" }]);
    set_phase(&cluster, "Pending", &full);
    cluster.created("digits", "MXJobWaiting", "to queue default: queue quota is used up.").await;
    let server = cluster.server.clone();
    assert!(server.all("pods").is_empty() && server.all("services").is_empty());
    set_phase(&cluster, "Inqueue", &json!([]));
    cluster.pods(2).await;
    cluster.created("digits", "MXJobCreated", "MXJob digits is created.").await;
    let pod = server.get("pods", "digits-worker-0").unwrap();
    assert_eq!(pod["spec"]["schedulerName"], "volcano");
    assert_eq!(
        pod["metadata"]["annotations"],
        json!({ "scheduling.k8s.io/group-name": "digits", "volcano.sh/task-spec": "worker" })
    );
    set_phase(&cluster, "Running", &json!([]));
    each_pod(&cluster, "Running");
    cluster.condition("digits", "Running", "True").await;
    each_pod(&cluster, "Succeeded");
    cluster.condition("digits", "Succeeded", "True").await;
    wait_for_no_group(&cluster).await;
    server
        .wait_for("the event", |server| !messages(server, "SuccessfulDeletePodGroup").is_empty())
        .await;
    assert_eq!(messages(&server, "SuccessfulDeletePodGroup"), ["Deleted PodGroup: digits"]);
    assert_eq!(messages(&server, "MXJobWaiting").len(), 1, "its reasons are one wait");
    // Nothing else happens to it, whatever happens to the job.
    server.change("mxjobs", "digits", |job| job["metadata"]["labels"] = json!({ "a": "b" }));
    server.change("mxjobs", "digits", |job| job["spec"]["ttlSecondsAfterFinished"] = json!(0));
    server.wait_for("its end", |server| server.get("mxjobs", "digits").is_none()).await;
    for (write, times) in [
        ("create podgroups digits", 1),
        ("patch podgroups digits", 0),
        ("delete podgroups digits", 1),
    ] {
        assert_eq!(count(&server, write), times, "{write}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_suspended_job_loses_its_group_and_gets_another_one() {
    let mut cluster = volcano();
    cluster.submit(&digits());
    let first = wait_for_group(&cluster).await;
    set_phase(&cluster, "Running", &json!([]));
    cluster.pods(2).await;
    cluster.run_pods("");
    let server = cluster.server.clone();
    cluster.set("digits", "suspend", json!(true));
    wait_for_no_group(&cluster).await;
    cluster.condition("digits", "Suspended", "True").await;
    cluster.reap("").await;
    cluster.set("digits", "suspend", json!(false));
    let second = wait_for_group(&cluster).await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    cluster.created("digits", "MXJobWaiting", "waits for Volcano").await;
    assert!(server.all("pods").is_empty());
    set_phase(&cluster, "Inqueue", &json!([]));
    cluster.pods(2).await;
    assert_eq!(count(&server, "delete podgroups digits"), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn pods_are_created_immediately_for_scheduler_plugins() {
    let mut cluster = with(Server::new(), plugins());
    let mut job = digits();
    job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["schedulerName"] = json!("mine");
    job["spec"]["schedulingPolicy"] = json!({ "scheduleTimeoutSeconds": 30 });
    cluster.submit(&job);
    cluster.pods(2).await;
    let server = cluster.server.clone();
    let group = group(&server).unwrap();
    assert_eq!(group["apiVersion"], "scheduling.x-k8s.io/v1alpha1");
    assert_eq!(
        group["spec"],
        json!({ "minMember": 2, "minResources": { "cpu": "2" }, "scheduleTimeoutSeconds": 30 })
    );
    let writes = server.link().writes();
    assert_eq!(
        writes.iter().find(|write| !write.contains("mxjobs")).unwrap(),
        "create podgroups digits"
    );
    let pod = server.get("pods", "digits-worker-1").unwrap();
    assert_eq!(pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"], "digits");
    assert_eq!(pod["spec"]["schedulerName"], "mine");
    let warned = |server: &Server| messages(server, "SetPodTemplateSchedulerName").len() == 1;
    server.wait_for("the warning", warned).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_group_of_another_owner_is_reported_and_not_changed() {
    for (scheduler, api_version) in [
        (PodGroups::Volcano, "scheduling.volcano.sh/v1beta1"),
        (plugins(), "scheduling.x-k8s.io/v1alpha1"),
    ] {
        let server = Server::new();
        let foreign = json!({
            "apiVersion": api_version, "kind": "PodGroup",
            "metadata": { "name": "digits", "namespace": "default" }, "spec": { "minMember": 7 },
        });
        server.create("podgroups", &foreign);
        let mut cluster = with(server.clone(), scheduler.clone());
        cluster.submit(&digits());
        let is_reported = |server: &Server| {
            let message = condition(server, "digits", "Created")["message"].to_string();
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
            set_phase(&cluster, "Inqueue", &json!([]));
        }
        cluster.pods(2).await;
        cluster.created("digits", "MXJobCreated", "MXJob digits is created.").await;
        assert_eq!(messages(&server, "FailedCreatePodGroup").len(), 1, "reported once");
        cluster.stop().await;
    }
}

#[tokio::test]
async fn a_group_created_by_an_older_operator_is_adopted() {
    let server = Server::new();
    let mut cluster = with(server.clone(), PodGroups::Volcano);
    server.wait_for("the first lists", |server| server.link().count("list") == 4).await;
    // The controller sees the job when its group exists.
    server.link().hold_watches(&["mxjobs"]);
    cluster.submit(&digits());
    let uid = server.get("mxjobs", "digits").unwrap()["metadata"]["uid"].clone();
    let owner = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "digits", "uid": uid, "controller": true,
    });
    server.create(
        "podgroups",
        &json!({
            "apiVersion": "scheduling.volcano.sh/v1beta1", "kind": "PodGroup",
            "metadata": { "name": "digits", "namespace": "default", "ownerReferences": [owner] },
            "spec": { "minMember": 1, "queue": "night" },
            "status": { "phase": "Inqueue" },
        }),
    );
    server.link().hold_watches(&[]);
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
    let mut cluster = volcano();
    cluster.submit(&digits());
    let first = wait_for_group(&cluster).await;
    set_phase(&cluster, "Running", &json!([]));
    cluster.pods(2).await;
    each_pod(&cluster, "Running");
    cluster.condition("digits", "Running", "True").await;
    let server = cluster.server.clone();
    server.remove("podgroups", "digits");
    wait_for_another_group(&cluster, &first).await;
    each_pod(&cluster, "Succeeded");
    cluster.condition("digits", "Succeeded", "True").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_group_whose_deletion_failed_is_deleted_before_the_resumed_job_queues() {
    let mut cluster = volcano();
    cluster.submit(&digits());
    let first = wait_for_group(&cluster).await;
    set_phase(&cluster, "Inqueue", &json!([]));
    cluster.pods(2).await;
    cluster.run_pods("");
    let server = cluster.server.clone();
    server.link().forbid(&["delete podgroups"]);
    cluster.set("digits", "suspend", json!(true));
    let failed = |server: &Server| messages(server, "FailedDeletePodGroup").len() == 1;
    server.wait_for("the failure", failed).await;
    cluster.set("digits", "suspend", json!(false));
    server.link().forbid(&[]);
    wait_for_another_group(&cluster, &first).await;
    cluster.reap("").await;
    cluster.created("digits", "MXJobWaiting", "waits for Volcano").await;
    set_phase(&cluster, "Inqueue", &json!([]));
    cluster.pods(2).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_started_without_a_gang_scheduler_continues_without_it() {
    let mut cluster = Cluster::new(Options::default());
    let server = cluster.server.clone();
    let mut job = digits();
    job["spec"]["mxReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    cluster.submit(&job);
    cluster.pods(2).await;
    each_pod(&cluster, "Running");
    cluster.condition("digits", "Running", "True").await;
    cluster.stop().await;
    let mut cluster = with(server.clone(), PodGroups::Volcano);
    let uid = server.get("pods", "digits-worker-0").unwrap()["metadata"]["uid"].clone();
    server.remove("pods", "digits-worker-0");
    let is_anew = |server: &Server| {
        server.get("pods", "digits-worker-0").is_some_and(|pod| pod["metadata"]["uid"] != uid)
    };
    server.wait_for("its replacement", is_anew).await;
    let pod = server.get("pods", "digits-worker-0").unwrap();
    assert_eq!(pod["metadata"].get("annotations"), None);
    assert_eq!(pod["spec"]["schedulerName"], "default-scheduler");
    assert_eq!(group(&server), None);
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_that_is_too_large_gets_no_group() {
    for scheduler in [PodGroups::Volcano, plugins()] {
        let options = mxjob_testkit::Options { mxjobs: MxJobs::Permissive, ..Default::default() };
        let mut cluster = with(Server::with(options), scheduler);
        let mut job = digits();
        job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = i32::MAX.into();
        job["status"] = json!({ "conditions": [{ "type": "Created", "status": "True" }] });
        cluster.submit(&job);
        cluster.condition("digits", "Failed", "True").await;
        assert_eq!(group(&cluster.server), None);
        assert!(cluster.server.all("pods").is_empty());
        cluster.stop().await;
    }
}
