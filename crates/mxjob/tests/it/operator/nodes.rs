//! Simulated nodes: they bind pods, report that they run, and end them on command or as planned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use mxjob_testkit::{Change, History};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::history::kind;
use crate::support::wait_until;

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its process exits with this code.
    Code(i32),
    /// Its process exits with this code, and its node is about to start it again.
    Crashed(i32),
    /// The node evicts it: the state of its containers is unknown.
    Evicted,
    /// Its node is lost.
    NodeLost,
    /// A user deletes it.
    Deleted,
}

/// How one pod behaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behavior {
    /// Time until it starts.
    pub(crate) pending: Duration,
    /// Restarts of its container in place, each after this time.
    pub(crate) restarts: Vec<Duration>,
    /// How it ends, and after how long; without it, the pod runs until a command.
    pub(crate) end: Option<(Duration, End)>,
    /// Time from its deletion to its removal.
    pub(crate) grace: Duration,
}

/// All nodes.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    /// The command for each pod, by name.
    commands: Arc<Mutex<HashMap<String, watch::Sender<Option<End>>>>>,
}

impl Nodes {
    /// Runs until the test ends.
    pub(crate) fn start(
        client: &Client,
        history: &History,
        behavior: impl Fn(&Value) -> Behavior + Send + Sync + 'static,
    ) -> Self {
        let nodes = Self { commands: Arc::default() };
        let mut changes = history.subscribe();
        let (client, all) = (client.clone(), nodes.clone());
        tokio::spawn(async move {
            let mut pods: HashMap<String, watch::Sender<Arc<Value>>> = HashMap::new();
            loop {
                let Change { object, is_removed, .. } = match changes.recv().await {
                    Ok(change) if change.resource == "pods" => change,
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                    Err(error) => panic!("the simulated nodes are too slow: {error}"),
                };
                let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
                if is_removed {
                    pods.remove(&uid);
                } else if let Some(pod) = pods.get(&uid) {
                    pod.send_replace(object);
                } else {
                    let (sender, newest) = watch::channel(Arc::clone(&object));
                    pods.insert(uid, sender);
                    if object["spec"]["nodeName"].is_string() {
                        continue;
                    }
                    let (command, end) = watch::channel(None);
                    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                    all.commands.lock().unwrap().insert(name, command);
                    tokio::spawn(Pod::new(&client, newest, end).run_to_its_end(behavior(&object)));
                }
            }
        });
        nodes
    }

    /// Ends a pod that exists or is about to be created.
    pub(crate) fn end(&self, pod: &str, end: End) {
        let _ = wait_until(&format!("a node has the pod {pod}"), || {
            let commands = self.commands.lock().unwrap();
            commands.get(pod).map(|pod| pod.send_replace(Some(end)))
        });
    }
}

/// A pod on its node.
struct Pod {
    api: Api<DynamicObject>,
    name: String,
    uid: String,
    newest: watch::Receiver<Arc<Value>>,
    command: watch::Receiver<Option<End>>,
}

/// The pod is gone.
struct Gone;

impl Pod {
    fn new(
        client: &Client,
        newest: watch::Receiver<Arc<Value>>,
        command: watch::Receiver<Option<End>>,
    ) -> Self {
        let pod = Arc::clone(&newest.borrow());
        let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
        let api = Api::namespaced_with(client.clone(), &text("namespace"), &kind("pods"));
        Self { api, name: text("name"), uid: text("uid"), newest, command }
    }

    async fn run_to_its_end(mut self, behavior: Behavior) {
        // Nobody needs to know that the pod is gone.
        let _ = self.run(behavior).await;
    }

    async fn run(&mut self, behavior: Behavior) -> Result<(), Gone> {
        let Behavior { pending, restarts, end, grace } = behavior;
        // A command to end before the pod runs takes effect when it runs.
        if !matches!(self.ending_within(Some(pending)).await?, Some(Ending::Deleted)) {
            self.bind().await?;
            self.status(&self.running(0)).await?;
            let mut count = 0;
            let mut ending = None;
            for after in restarts {
                ending = self.ending_within(Some(after)).await?;
                if ending.is_some() {
                    break;
                }
                count += 1;
                self.status(&self.running(count)).await?;
            }
            if ending.is_none() {
                ending = self.ending_within(end.map(|(after, _)| after)).await?;
            }
            let planned = || end.map_or(Ending::Deleted, |(_, end)| Ending::End(end));
            let ending = ending.unwrap_or_else(planned);
            if let Ending::End(end) = ending {
                self.end(end, count).await?;
            }
        }
        while self.newest.borrow()["metadata"].get("deletionTimestamp").is_none() {
            self.newest.changed().await.map_err(|_| Gone)?;
        }
        tokio::time::sleep(grace).await;
        self.remove().await
    }

    /// Waits for a time or forever. Returns the reason to end, if one came first.
    async fn ending_within(&mut self, after: Option<Duration>) -> Result<Option<Ending>, Gone> {
        let time = async move {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            deleted = self.newest.wait_for(|pod| pod["metadata"].get("deletionTimestamp").is_some()) => {
                deleted.map_err(|_| Gone)?;
                Ok(Some(Ending::Deleted))
            }
            command = self.command.wait_for(Option::is_some) => {
                // Without a sender the pod has a successor of its name, so it is gone.
                let end = command.map_err(|_| Gone)?.unwrap();
                Ok(Some(Ending::End(end)))
            }
            () = time => Ok(None),
        }
    }

    fn running(&self, restarts: u32) -> Value {
        json!({
            "phase": "Running", "startTime": "2026-11-24T08:00:00Z",
            "containerStatuses": [{
                "name": "mxnet", "image": "mxnet", "imageID": "", "ready": true, "restartCount": restarts,
                "state": { "running": { "startedAt": "2026-11-24T08:00:00Z" } },
            }],
        })
    }

    async fn end(&self, end: End, restarts: u32) -> Result<(), Gone> {
        let status = match end {
            End::Code(code) => {
                let mut status = self.running(restarts);
                let reason = if code == 0 { "Completed" } else { "Error" };
                status["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
                status["containerStatuses"][0]["state"] = json!({ "running": null, "terminated": { "exitCode": code, "reason": reason } });
                status
            }
            End::Crashed(code) => {
                let mut status = self.running(restarts);
                let container = &mut status["containerStatuses"][0];
                container["state"] =
                    json!({ "running": null, "waiting": { "reason": "CrashLoopBackOff" } });
                container["lastState"] = json!({ "terminated": { "exitCode": code } });
                status
            }
            End::Evicted => {
                json!({ "phase": "Failed", "reason": "Evicted", "containerStatuses": null })
            }
            End::NodeLost => {
                json!({ "phase": "Failed", "reason": "NodeLost", "containerStatuses": null })
            }
            End::Deleted => return self.delete(None).await,
        };
        self.status(&status).await
    }

    async fn bind(&self) -> Result<(), Gone> {
        let binding = &json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": self.name, "uid": self.uid },
            "target": { "apiVersion": "v1", "kind": "Node", "name": "fake" },
        });
        let parameters = &PostParams::default();
        self.persist(move || async move {
            let bound = self
                .api
                .create_subresource::<Value, Value>("binding", &self.name, parameters, binding);
            match bound.await {
                // It was bound by a request whose response was lost, or is terminating.
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                other => other.map(drop),
            }
        })
        .await
    }

    async fn status(&self, status: &Value) -> Result<(), Gone> {
        let patch = json!({ "metadata": { "uid": self.uid }, "status": status });
        let (parameters, patch) = (&PatchParams::default(), &Patch::Merge(&patch));
        self.persist(move || async move {
            self.api.patch_status(&self.name, parameters, patch).await.map(drop)
        })
        .await
    }

    async fn remove(&self) -> Result<(), Gone> {
        self.delete(Some(0)).await
    }

    async fn delete(&self, grace: Option<u32>) -> Result<(), Gone> {
        let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
        let mut parameters = DeleteParams::default().preconditions(preconditions);
        parameters.grace_period_seconds = grace;
        let parameters = &parameters;
        self.persist(move || async move { self.api.delete(&self.name, parameters).await.map(drop) })
            .await
    }

    /// Repeats a request until the server has answered: it may be down for a while.
    async fn persist<F>(&self, request: impl Fn() -> F + Send + Sync) -> Result<(), Gone>
    where
        F: Future<Output = kube::Result<()>> + Send,
    {
        loop {
            match request().await {
                Ok(()) => return Ok(()),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    return Err(Gone);
                }
                Err(kube::Error::Api(status)) if status.code < 500 => panic!("{status:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Why a pod stops running.
enum Ending {
    /// It was deleted.
    Deleted,
    /// It ends.
    End(End),
}
