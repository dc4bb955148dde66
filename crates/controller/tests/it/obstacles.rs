//! Missing permissions and kinds: reported once, also on the jobs, and resolved without a restart.

use mxjob_controller::{Gang, Health, Options, PodGroups, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::server::Server;

struct Running {
    server: Server,
    health: Health,
    stop: oneshot::Sender<()>,
    controller: JoinHandle<()>,
}

impl Running {
    fn start(server: Server, gang: Gang) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (client, health) = (server.client(), Health::default());
        let options = Options { gang, health: health.clone(), ..Options::default() };
        let controller = tokio::spawn(async move {
            run(client, options, async move { stopped.await.unwrap_or_default() }).await.unwrap();
        });
        Self { server, health, stop, controller }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.controller.await.unwrap();
    }

    async fn pods(&self, count: usize) {
        self.server.wait_for("pods", |server| server.all("pods").len() == count).await;
    }

    async fn message(&self, text: &str) {
        let matching = |server: &Server| created(server)["message"].to_string().contains(text);
        self.server.wait_for(text, matching).await;
    }

    async fn event(&self, text: &str) {
        let matching = |server: &Server| events(server).iter().any(|event| event.contains(text));
        self.server.wait_for(text, matching).await;
    }

    /// Waits until a condition on the health is true; the server need not change for that.
    async fn wait_for_health(&self, what: &str, holds: impl Fn(&Health) -> bool) {
        for _ in 0..1000 {
            if holds(&self.health) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{what} never came true: {:?}", self.health);
    }
}

fn submit(server: &Server) {
    let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } });
    server.put(
        "mxjobs",
        &json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": { "name": "digits", "namespace": "default" },
            "spec": { "mxReplicaSpecs": { "Worker": { "replicas": 2, "template": template } } },
        }),
    );
}

fn created(server: &Server) -> Value {
    let job = server.get("mxjobs", "digits").unwrap_or_default();
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array).cloned();
    let created = |all: Vec<Value>| all.into_iter().find(|one| one["type"] == "Created");
    conditions.and_then(created).unwrap_or_default()
}

fn events(server: &Server) -> Vec<String> {
    let matching = |event: &Value| {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        format!("{} {}: {}", text("type"), text("reason"), text("message"))
    };
    server.all("events").iter().map(matching).collect()
}

#[tokio::test(start_paused = true)]
async fn pods_that_may_not_be_listed_are_reported_on_the_job() {
    for verb in ["list", "watch"] {
        let server = Server::new();
        server.forbid(&[&format!("{verb} pods")]);
        submit(&server);
        let controller = Running::start(server.clone(), Gang::Off);
        let why = format!(
            "the controller may not {verb} pods in all namespaces: grant it with `mxjob manifests --only rbac | kubectl apply -f -` and the flags of its installation"
        );
        controller
            .message(&format!("MXJob digits is created. MXJob digits cannot proceed: {why}."))
            .await;
        assert_eq!(created(&server)["reason"], "MXJobObstructed");
        controller
            .event(&format!("Warning MXJobObstructed: MXJob digits cannot proceed: {why}."))
            .await;
        assert_eq!(controller.health.obstacles(), [why]);
        tokio::time::sleep(std::time::Duration::from_secs(300)).await;
        let matching = events(&server).iter().filter(|event| event.contains("Obstructed")).count();
        assert_eq!(matching, 1, "reported once, however often it was tried");
        if verb == "list" {
            assert!(!controller.health.is_synced());
            assert_eq!(server.all("pods").len(), 0);
        }
        server.forbid(&[]);
        controller.pods(2).await;
        controller.message("MXJob digits is created.\"").await;
        assert_eq!(created(&server)["reason"], "MXJobCreated");
        assert!(controller.health.is_synced() && controller.health.obstacles().is_empty());
        controller.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_job_keeps_its_counts_while_its_pods_cannot_be_seen() {
    let server = Server::new();
    submit(&server);
    let controller = Running::start(server.clone(), Gang::Off);
    controller.pods(2).await;
    for index in 0..2 {
        server.change("pods", &format!("digits-worker-{index}"), |pod| {
            pod["status"] = json!({ "phase": "Running" });
        });
    }
    let active = |server: &Server| {
        let job = server.get("mxjobs", "digits").unwrap();
        job["status"]["replicaStatuses"]["Worker"]["active"].clone()
    };
    server.wait_for("both run", |server| active(server) == 2).await;
    controller.stop().await;
    server.forbid(&["list pods"]);
    let controller = Running::start(server.clone(), Gang::Off);
    controller.message("may not list pods").await;
    assert_eq!(active(&server), 2);
    server.forbid(&[]);
    controller.message("MXJob digits is created.\"").await;
    assert_eq!(active(&server), 2);
    let posted = server.writes().into_iter().filter(|write| write.starts_with("POST pods"));
    assert_eq!(posted.count(), 2);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_controller_waits_for_the_mxjob_resource() {
    let server = Server::new();
    server.stop_serving(&["mxjobs"]);
    let controller = Running::start(server.clone(), Gang::Off);
    controller.wait_for_health("the obstacle", |health| !health.obstacles().is_empty()).await;
    assert_eq!(
        controller.health.obstacles(),
        [
            "the server does not serve mxjobs.kubeflow.org/v1: install it with `mxjob manifests --only crd | kubectl apply --server-side -f -`"
        ]
    );
    server.stop_serving(&[]);
    submit(&server);
    controller.wait_for_health("its end", |health| health.obstacles().is_empty()).await;
    controller.pods(2).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_scheduler_is_reported_on_the_jobs() {
    let server = Server::new();
    server.stop_serving(&["podgroups"]);
    submit(&server);
    let controller = Running::start(server.clone(), Gang::PodGroups(PodGroups::Volcano));
    controller
        .event("MXJob digits cannot proceed: the server does not serve podgroups.scheduling.volcano.sh/v1beta1: install Volcano or start with --gang-scheduler none.")
        .await;
    server.stop_serving(&[]);
    server.wait_for("its group", |server| server.get("podgroups", "digits").is_some()).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_may_not_be_written_is_reported_by_an_event() {
    let server = Server::new();
    server.forbid(&["patch mxjobs/status"]);
    submit(&server);
    let controller = Running::start(server.clone(), Gang::Off);
    controller
        .event("Warning MXJobObstructed: MXJob digits cannot proceed: the controller may not patch mxjobs/status.kubeflow.org in namespace default: ")
        .await;
    assert_eq!(controller.health.obstacles().len(), 1);
    server.forbid(&[]);
    server.wait_for("the status", |server| created(server)["reason"] == "MXJobCreated").await;
    controller.wait_for_health("its end", |health| health.obstacles().is_empty()).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn events_that_may_not_be_created_stop_nothing_and_are_an_obstacle() {
    let server = Server::new();
    server.forbid(&["create events"]);
    submit(&server);
    let controller = Running::start(server.clone(), Gang::Off);
    controller.pods(2).await;
    let named = |health: &Health| {
        health.obstacles().iter().any(|why| {
            why.starts_with("the controller may not create events in namespace default: ")
        })
    };
    controller.wait_for_health("the obstacle", named).await;
    server.forbid(&[]);
    server.change("mxjobs", "digits", |job| job["spec"]["suspend"] = json!(true));
    controller.wait_for_health("its end", |health| health.obstacles().is_empty()).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_may_not_be_created_are_reported_once() {
    let server = Server::new();
    server.forbid(&["create pods"]);
    submit(&server);
    let controller = Running::start(server.clone(), Gang::Off);
    controller
        .message(
            "cannot be created: pods is forbidden: User \\\"operator\\\" cannot create resource",
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    let matching = events(&server).iter().filter(|event| event.contains("FailedCreatePod")).count();
    assert_eq!(matching, 1, "{:?}", events(&server));
    server.forbid(&[]);
    controller.pods(2).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_invalid_job_fails_and_is_not_retried() {
    let server = Server::new();
    for (name, spec) in [
        (
            "invalid",
            json!({ "mxReplicaSpecs": { "Worker": { "template": { "spec": { "containers": [{ "name": "other", "image": "i" }] } } } } }),
        ),
        ("unreadable", json!({ "jobMode": 5, "mxReplicaSpecs": 3 })),
    ] {
        server.put(
            "mxjobs",
            &json!({
                "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
                "metadata": { "name": name, "namespace": "default" }, "spec": spec,
            }),
        );
    }
    let controller = Running::start(server.clone(), Gang::Off);
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
        controller.event(&format!("Warning MXJobFailedValidation: {message}")).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    let writes = server.writes();
    let patches = writes.iter().filter(|write| write.starts_with("PATCH")).count();
    assert_eq!((patches, server.all("pods").len()), (2, 0), "{writes:?}");
    controller.stop().await;
}
