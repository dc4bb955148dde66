//! An agent with a small API server and its own folder, cleaned up after the test.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mxjob_node::{
    Agent, Config, Handle,
    log::read::Request,
    runtime::{Error, IsolationMode},
    stop_all,
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::fake::Fake;

pub(crate) const PODS: &str = "/api/v1/namespaces/ns/pods";

/// An agent that runs in a task.
pub(crate) struct Site {
    pub(crate) server: Fake,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) mode: IsolationMode,
    pub(crate) running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    pub(crate) handle: Option<Handle>,
}

impl Site {
    pub(crate) fn new(mode: IsolationMode) -> Self {
        let server = Fake::new();
        let mut site =
            Self { server, dir: tempfile::tempdir().unwrap(), mode, running: None, handle: None };
        site.start();
        site
    }

    pub(crate) fn start(&mut self) {
        let mut config = Config::new(self.dir.path().to_owned()).unwrap();
        config.node_name = "node-1".to_owned();
        config.isolation = self.mode;
        config.extended_resources = [("example.com/chip".to_owned(), 2)].into();
        let agent =
            crate::node::eventually(
                "the release of the earlier agent's lock",
                || match Agent::new(config.clone(), self.server.client()) {
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
        let owners = owner.map(|uid| {
            json!([{ "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "j", "uid": uid, "controller": true }])
        });
        self.server.create(PODS, json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "ns", "labels": labels, "ownerReferences": owners },
            "spec": spec,
        }));
        format!("{PODS}/{name}")
    }

    /// Whether pods have their own addresses and mounts here; prints the reason if not.
    pub(crate) fn is_isolated(&self) -> bool {
        let isolation = self.handle.as_ref().unwrap().isolation();
        if let Some(why) = isolation.why_not() {
            println!("skipped: {why}");
        }
        isolation.owns_addresses()
    }

    pub(crate) async fn phase(&self, path: &str, phase: &str) -> Value {
        self.server.until(path, |pod| pod.is_some_and(|pod| pod["status"]["phase"] == phase)).await
    }

    pub(crate) async fn log(&self, pod: &str) -> String {
        let request = Request {
            namespace: "ns".to_owned(),
            pod: pod.to_owned(),
            follow: true,
            ..Request::default()
        };
        let stream = self.handle.as_ref().unwrap().logs(&request).unwrap();
        let parts: Vec<_> = stream.try_collect().await.unwrap();
        String::from_utf8(parts.concat()).unwrap()
    }

    pub(crate) async fn event(&self, reason: &str) -> Value {
        let changed = self.server.clone();
        let find = move || {
            changed.list("/api/v1/namespaces/").into_iter().find(|one| one["reason"] == reason)
        };
        // `until` checks again after every change of any object.
        self.server.until("", |_| find().is_some()).await;
        find().unwrap()
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
    let path = format!("{PODS}/{name}");
    site.phase(&path, "Running").await;
    let uid = site.server.get(&path).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
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

pub(crate) fn terminated(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]["terminated"]
}
