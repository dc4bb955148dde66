//! Missing permissions and kinds: reported once, also on the jobs, and resolved without a restart.

use std::time::Duration;

use mxjob_controller::{Gang, Health, Options, PodGroups};
use mxjob_testkit::{MxJobs, Server, pod_group_definitions};
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, counts, events, job};

fn start(server: &Server, gang: Gang) -> Cluster {
    Cluster::on(server.clone(), Options { gang, ..Options::default() })
}

fn submit(server: &Server) {
    server.create("mxjobs", &job("digits", &[("Worker", 2)]));
}

fn created(server: &Server) -> Value {
    condition(server, "digits", "Created")
}

/// Waits until a condition of the job has a message with this text.
async fn message(server: &Server, text: &str) {
    let holds = |server: &Server| created(server)["message"].to_string().contains(text);
    server.wait_for(text, holds).await;
}

/// Waits until a condition on the health is true; the server need not change for that.
async fn wait_for_health(cluster: &Cluster, what: &str, holds: impl Fn(&Health) -> bool) {
    for _ in 0..1000 {
        if holds(&cluster.health) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("timed out waiting for {what}: {:?}", cluster.health);
}

#[tokio::test(start_paused = true)]
async fn pods_that_may_not_be_listed_are_reported_on_the_job() {
    for verb in ["list", "watch"] {
        let server = Server::new();
        server.link().forbid(&[&format!("{verb} pods")]);
        submit(&server);
        let mut cluster = start(&server, Gang::Off);
        let why = format!(
            "the controller may not {verb} pods in all namespaces: grant it with `mxjob manifests --only rbac | kubectl apply -f -` and the flags of its installation"
        );
        message(&server, &format!("MXJob digits is created. MXJob digits cannot proceed: {why}."))
            .await;
        assert_eq!(created(&server)["reason"], "MXJobObstructed");
        cluster
            .event(&format!("Warning MXJobObstructed: MXJob digits cannot proceed: {why}."))
            .await;
        assert_eq!(cluster.health.obstacles(), [why]);
        tokio::time::sleep(Duration::from_secs(300)).await;
        let matching = events(&server).iter().filter(|event| event.contains("Obstructed")).count();
        assert_eq!(matching, 1, "reported once, however often it was tried");
        if verb == "list" {
            assert!(!cluster.health.is_synced());
            assert_eq!(server.all("pods").len(), 0);
        }
        server.link().forbid(&[]);
        cluster.pods(2).await;
        message(&server, "MXJob digits is created.\"").await;
        assert_eq!(created(&server)["reason"], "MXJobCreated");
        assert!(cluster.health.is_synced() && cluster.health.obstacles().is_empty());
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_job_keeps_its_counts_while_its_pods_cannot_be_seen() {
    let server = Server::new();
    submit(&server);
    let mut cluster = start(&server, Gang::Off);
    cluster.pods(2).await;
    cluster.run_pods("");
    let active = |server: &Server| counts(server, "Worker")["active"].clone();
    server.wait_for("both run", |server| active(server) == 2).await;
    cluster.stop().await;
    server.link().forbid(&["list pods"]);
    let mut cluster = start(&server, Gang::Off);
    message(&server, "may not list pods").await;
    assert_eq!(active(&server), 2);
    server.link().forbid(&[]);
    message(&server, "MXJob digits is created.\"").await;
    assert_eq!(active(&server), 2);
    assert_eq!(server.link().count("create pods"), 2);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_controller_waits_for_the_mxjob_resource() {
    let options = mxjob_testkit::Options { mxjobs: MxJobs::Missing, ..Default::default() };
    let server = Server::with(options);
    let mut cluster = start(&server, Gang::Off);
    wait_for_health(&cluster, "the obstacle", |health| !health.obstacles().is_empty()).await;
    assert_eq!(
        cluster.health.obstacles(),
        [
            "the server does not serve mxjobs.kubeflow.org/v1: install it with `mxjob manifests --only crd | kubectl apply --server-side -f -`"
        ]
    );
    server.serve_mxjobs();
    submit(&server);
    wait_for_health(&cluster, "its end", |health| health.obstacles().is_empty()).await;
    cluster.pods(2).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_scheduler_is_reported_on_the_jobs() {
    let options = mxjob_testkit::Options { without_pod_groups: true, ..Default::default() };
    let server = Server::with(options);
    submit(&server);
    let mut cluster = start(&server, Gang::PodGroups(PodGroups::Volcano));
    cluster.event("MXJob digits cannot proceed: the server does not serve podgroups.scheduling.volcano.sh/v1beta1: install Volcano or start with --gang-scheduler none.")
        .await;
    pod_group_definitions().iter().for_each(|definition| server.serve(definition));
    server.wait_for("its group", |server| server.get("podgroups", "digits").is_some()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_may_not_be_written_is_reported_by_an_event() {
    let server = Server::new();
    server.link().forbid(&["patch mxjobs/status"]);
    submit(&server);
    let mut cluster = start(&server, Gang::Off);
    cluster.event("Warning MXJobObstructed: MXJob digits cannot proceed: the controller may not patch mxjobs/status.kubeflow.org in namespace default: ")
        .await;
    assert_eq!(cluster.health.obstacles().len(), 1);
    server.link().forbid(&[]);
    server.wait_for("the status", |server| created(server)["reason"] == "MXJobCreated").await;
    wait_for_health(&cluster, "its end", |health| health.obstacles().is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn events_that_may_not_be_created_stop_nothing_and_are_an_obstacle() {
    let server = Server::new();
    server.link().forbid(&["create events"]);
    submit(&server);
    let mut cluster = start(&server, Gang::Off);
    cluster.pods(2).await;
    let named = |health: &Health| {
        health.obstacles().iter().any(|why| {
            why.starts_with("the controller may not create events in namespace default: ")
        })
    };
    wait_for_health(&cluster, "the obstacle", named).await;
    server.link().forbid(&[]);
    cluster.set("digits", "suspend", json!(true));
    wait_for_health(&cluster, "its end", |health| health.obstacles().is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_may_not_be_created_are_reported_once() {
    let server = Server::new();
    server.link().forbid(&["create pods"]);
    submit(&server);
    let mut cluster = start(&server, Gang::Off);
    message(
        &server,
        "cannot be created: pods is forbidden: User \\\"operator\\\" cannot create resource",
    )
    .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let matching = events(&server).iter().filter(|event| event.contains("FailedCreatePod")).count();
    assert_eq!(matching, 1, "{:?}", events(&server));
    server.link().forbid(&[]);
    cluster.pods(2).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_invalid_job_fails_and_is_not_retried() {
    let options = mxjob_testkit::Options { mxjobs: MxJobs::Permissive, ..Default::default() };
    let server = Server::with(options);
    for (name, spec) in [
        (
            "invalid",
            json!({ "mxReplicaSpecs": { "Worker": { "template": { "spec": { "containers": [{ "name": "other", "image": "i" }] } } } } }),
        ),
        ("unreadable", json!({ "jobMode": 5, "mxReplicaSpecs": 3 })),
    ] {
        server.create(
            "mxjobs",
            &json!({
                "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
                "metadata": { "name": name, "namespace": "default" }, "spec": spec,
            }),
        );
    }
    let mut cluster = start(&server, Gang::Off);
    for (name, field) in [("invalid", "spec.mxReplicaSpecs.Worker"), ("unreadable", "spec.jobMode")]
    {
        let failed = |server: &Server| {
            let job = server.get("mxjobs", name).unwrap();
            job.pointer("/status/conditions/0").cloned().unwrap_or_default()
        };
        server.wait_for(name, |server| failed(server)["type"] == "Failed").await;
        let failed = failed(&server);
        assert_eq!(failed["reason"], "MXJobFailedValidation");
        let message = failed["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("MXJob {name} is failed because it is not valid: ")),
            "{message}"
        );
        assert!(message.contains(field), "{message}");
        cluster.event(&format!("Warning MXJobFailedValidation: {message}")).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(server.link().count("patch mxjobs"), 2);
    assert_eq!(server.all("pods").len(), 0);
    cluster.stop().await;
}
