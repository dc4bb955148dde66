//! Nodes that only play: they bind pods, say that they run, and let them end as they are told or as
//! their fate has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::history::{Change, History, kind};
use crate::support::wait_until;

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its process does, with this code.
    Code(i32),
    /// The node throws it out: nothing is known of its containers.
    Evicted,
    /// Its node is gone, and it is given up.
    NodeLost,
    /// Somebody deletes it.
    Deleted,
}

/// What is to become of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate {
    /// How long it takes to start.
    pub(crate) pending: Duration,
    /// Restarts of its container in place, each after so long.
    pub(crate) restarts: Vec<Duration>,
    /// How it ends, after how long; if not, it runs until it is told.
    pub(crate) end: Option<(Duration, End)>,
    /// How long its process takes to leave when it is asked to.
    pub(crate) grace: Duration,
}

/// All nodes.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    /// What each pod is told, by name.
    told: Arc<Mutex<HashMap<String, watch::Sender<Option<End>>>>>,
}

impl Nodes {
    /// Plays until the test ends.
    pub(crate) fn start(
        client: &Client,
        history: &History,
        fate: impl Fn(&Value) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let nodes = Self { told: Arc::default() };
        let mut changes = history.subscribe();
        let (client, all) = (client.clone(), nodes.clone());
        tokio::spawn(async move {
            let mut pods: HashMap<String, watch::Sender<Arc<Value>>> = HashMap::new();
            loop {
                let Change { object, is_gone, .. } = match changes.recv().await {
                    Ok(change) if change.resource == "pods" => change,
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                    Err(error) => panic!("the nodes are too slow: {error}"),
                };
                let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
                if is_gone {
                    pods.remove(&uid);
                } else if let Some(pod) = pods.get(&uid) {
                    pod.send_replace(object);
                } else {
                    let (sender, newest) = watch::channel(Arc::clone(&object));
                    pods.insert(uid, sender);
                    if object["spec"]["nodeName"].is_string() {
                        continue;
                    }
                    let (told, end) = watch::channel(None);
                    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                    all.told.lock().unwrap().insert(name, told);
                    tokio::spawn(Pod::new(&client, newest, end).live(fate(&object)));
                }
            }
        });
        nodes
    }

    /// Ends a pod that there is, or is about to be.
    pub(crate) fn end(&self, pod: &str, end: End) {
        let _ = wait_until(&format!("a node has the pod {pod}"), || {
            let told = self.told.lock().unwrap();
            told.get(pod).map(|pod| pod.send_replace(Some(end)))
        });
    }
}

/// One pod as its node has it.
struct Pod {
    api: Api<DynamicObject>,
    name: String,
    uid: String,
    newest: watch::Receiver<Arc<Value>>,
    told: watch::Receiver<Option<End>>,
}

/// The pod is gone.
struct Gone;

impl Pod {
    fn new(
        client: &Client,
        newest: watch::Receiver<Arc<Value>>,
        told: watch::Receiver<Option<End>>,
    ) -> Self {
        let pod = Arc::clone(&newest.borrow());
        let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
        let api = Api::namespaced_with(client.clone(), &text("namespace"), &kind("pods"));
        Self { api, name: text("name"), uid: text("uid"), newest, told }
    }

    async fn live(mut self, fate: Fate) {
        // Whatever comes after the pod's end is for nobody.
        let _ = self.run(fate).await;
    }

    async fn run(&mut self, fate: Fate) -> Result<(), Gone> {
        let Fate { pending, restarts, end, grace } = fate;
        // Who is told to end before it runs does so when it runs.
        if !matches!(self.is_told_or_leaves(Some(pending)).await?, Some(Ending::Leaves)) {
            self.bind().await?;
            self.status(&self.running(0)).await?;
            let mut count = 0;
            let mut ending = None;
            for after in restarts {
                ending = self.is_told_or_leaves(Some(after)).await?;
                if ending.is_some() {
                    break;
                }
                count += 1;
                self.status(&self.running(count)).await?;
            }
            if ending.is_none() {
                ending = self.is_told_or_leaves(end.map(|(after, _)| after)).await?;
            }
            let fated = || end.map_or(Ending::Leaves, |(_, end)| Ending::End(end));
            let ending = ending.unwrap_or_else(fated);
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

    /// Waits for a time or for ever; what came before that.
    async fn is_told_or_leaves(&mut self, after: Option<Duration>) -> Result<Option<Ending>, Gone> {
        let time = async move {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            leaves = self.newest.wait_for(|pod| pod["metadata"].get("deletionTimestamp").is_some()) => {
                leaves.map_err(|_| Gone)?;
                Ok(Some(Ending::Leaves))
            }
            told = self.told.wait_for(Option::is_some) => {
                // Without a teller the pod has a successor of its name, and is as good as gone.
                let end = told.map_err(|_| Gone)?.unwrap();
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
                // It was bound by a request whose answer was lost, or leaves.
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

    /// Asks until the server has answered: it may be away for a while.
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

/// Why a pod does not run on.
enum Ending {
    /// It is to go.
    Leaves,
    /// It ends.
    End(End),
}
