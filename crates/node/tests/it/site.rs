//! An agent with an API server in process and its own folder, cleaned up after the test.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use mxjob_node::{
    Agent, Config, Handle,
    log::read::Request,
    runtime::{Error, IsolationMode},
    stop_all,
};
use mxjob_testkit::Server;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

/// The name of the agent's node.
pub(crate) const NODE: &str = "node-1";

/// An agent that runs in a task.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) mode: IsolationMode,
    gpus: usize,
    pub(crate) running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    pub(crate) handle: Option<Handle>,
}

impl Site {
    pub(crate) fn new(mode: IsolationMode) -> Self {
        Self::with_gpus(mode, 0)
    }

    /// An agent that believes that the machine has this many GPUs.
    pub(crate) fn with_gpus(mode: IsolationMode, gpus: usize) -> Self {
        let server = Server::new();
        let dir = tempfile::tempdir().unwrap();
        let mut site = Self { server, dir, mode, gpus, running: None, handle: None };
        site.start();
        site
    }

    pub(crate) fn start(&mut self) {
        let mut config = Config::new(self.dir.path().to_owned()).unwrap();
        config.node_name = NODE.to_owned();
        config.isolation = self.mode;
        config.volume_interval = Duration::from_millis(50);
        config.devices = Arc::new(crate::devices::Gpus(self.gpus));
        config.extended_resources = [("example.com/chip".to_owned(), 2)].into();
        let agent =
            crate::node::eventually(
                "the release of the earlier agent's lock",
                || match Agent::new(config.clone(), self.server.node_client(NODE)) {
                    Err(Error::InUse { .. }) => None,
                    result => Some(result.unwrap()),
                },
            );
        self.handle = Some(agent.handle());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(agent.run(async {
            let _ = stopped.await;
        }));
        self.running = Some((stop, task));
    }

    pub(crate) async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
    }

    /// Creates a pod. Returns its name.
    pub(crate) fn create(&self, name: &str, spec: Value) -> String {
        self.create_owned(name, None, json!({}), spec)
    }

    pub(crate) fn create_owned(
        &self,
        name: &str,
        owner: Option<&str>,
        labels: Value,
        spec: Value,
    ) -> String {
        self.server.create("pods", &pod(name, owner, labels, spec));
        name.to_owned()
    }

    /// Stores a pod that the API server would reject. Returns its name.
    pub(crate) fn store(&self, name: &str, labels: Value, spec: Value) -> String {
        self.server.store("pods", &pod(name, None, labels, spec));
        name.to_owned()
    }

    /// Changes a pod to one that the API server would reject, or back.
    pub(crate) fn spoil(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.server.get(resource, name).unwrap();
        change(&mut object);
        self.server.store(resource, &object);
    }

    pub(crate) fn create_config_map(&self, name: &str, data: Value) {
        let map = json!({ "metadata": { "name": name }, "data": data });
        self.server.create("configmaps", &map);
    }

    /// The current version of a pod.
    pub(crate) fn pod(&self, name: &str) -> Value {
        self.server.get("pods", name).unwrap()
    }

    /// Deletes a pod with a grace period in seconds.
    pub(crate) fn delete(&self, name: &str, grace: i64) {
        self.server.delete_within("pods", name, grace);
    }

    /// Whether pods have their own addresses and mounts here; prints the reason if not.
    pub(crate) fn is_isolated(&self) -> bool {
        let isolation = self.handle.as_ref().unwrap().isolation();
        if let Some(why) = isolation.why_not() {
            println!("skipped: {why}");
        }
        isolation.owns_addresses()
    }

    /// Whether limits are enforced here; prints the reason if not.
    pub(crate) fn enforces_limits(&self) -> bool {
        let why_not = self.handle.as_ref().unwrap().isolation().why_not_limited();
        if let Some(why) = why_not {
            println!("skipped: {why}");
        }
        why_not.is_none()
    }

    /// Waits until a pod matches. Returns it.
    pub(crate) async fn until(&self, name: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let holds = |server: &Server| server.get("pods", name).is_some_and(|pod| matches(&pod));
        self.server.wait_for(&format!("the pod {name}"), holds).await;
        self.pod(name)
    }

    pub(crate) async fn phase(&self, name: &str, phase: &str) -> Value {
        self.until(name, |pod| pod["status"]["phase"] == phase).await
    }

    /// Waits until a pod is gone.
    pub(crate) async fn gone(&self, name: &str) {
        let is_gone = |server: &Server| server.get("pods", name).is_none();
        self.server.wait_for(&format!("the removal of {name}"), is_gone).await;
    }

    pub(crate) async fn log(&self, pod: &str) -> String {
        let request = Request {
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            follow: true,
            ..Request::default()
        };
        let stream = self.handle.as_ref().unwrap().logs(&request).unwrap();
        let parts: Vec<_> = stream.try_collect().await.unwrap();
        String::from_utf8(parts.concat()).unwrap()
    }

    pub(crate) async fn event(&self, reason: &str) -> Value {
        let find = |server: &Server| {
            server.all("events").into_iter().find(|event| event["reason"] == reason)
        };
        self.server.wait_for(reason, |server| find(server).is_some()).await;
        find(&self.server).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
        stop_all(self.dir.path(), Duration::ZERO).unwrap();
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Waits until the program has printed its process id.
pub(crate) async fn pid_of(site: &Site, name: &str) -> i32 {
    let pod = site.phase(name, "Running").await;
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let file = site.dir.path().join("pods").join(uid).join("mxnet/0/log");
    tokio::task::spawn_blocking(move || {
        crate::node::eventually("the output of the process id", || {
            let log = std::fs::read_to_string(&file).ok()?;
            log.lines().next()?.rsplit(' ').next()?.parse().ok()
        })
    })
    .await
    .unwrap()
}

pub(crate) async fn folders_removed(site: &Site) {
    let pods = site.dir.path().join("pods");
    tokio::task::spawn_blocking(move || {
        crate::node::eventually("the removal of the pods' folders", || {
            std::fs::read_dir(&pods).unwrap().next().is_none().then_some(())
        });
    })
    .await
    .unwrap();
}

pub(crate) fn shell(script: &str) -> Value {
    // In the command of a pod `$$` is an escaped `$`.
    let script = script.replace("$$", "$$$$");
    json!({ "restartPolicy": "Never", "containers": [{ "name": "mxnet", "image": "any", "command": ["sh", "-c", script] }] })
}

fn pod(name: &str, owner: Option<&str>, labels: Value, spec: Value) -> Value {
    let mut pod = json!({ "metadata": { "name": name, "labels": labels }, "spec": spec });
    if let Some(uid) = owner {
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "j", "uid": uid, "controller": true,
        }]);
    }
    pod
}

pub(crate) fn terminated(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]["terminated"]
}
