//! The garbage collector, the end of namespaces and the upkeep of quotas.
//!
//! It follows the store's log, keeps a graph of owners, and acts through the API like any client: dependents of what is
//! gone are deleted (background), go first (foreground) or are let go (orphan), and a terminating namespace is emptied
//! before it is finalized, as the objects of a definition are. Besides it keeps the status of quotas right. Upstream runs these in its controller manager.

mod definitions;
mod graph;
mod quotas;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use mxjob_machinery::backoff::Backoff;
use mxjob_store::{Event, EventKind, ListOptions};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Connector;
use crate::registry::Served;
use crate::server::ApiServer;
use crate::verbs::delete::{FOREGROUND, ORPHAN};
use graph::{Graph, Node, Verdict};
use mxjob_access::identity::Identity;

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
/// Where every object is stored.
const EVERYTHING: &str = "/registry/";
/// The first wait before something that failed is tried again; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Collects garbage until `shutdown`.
pub async fn run(server: ApiServer, shutdown: impl Future<Output = ()>) {
    let identity = Identity::service_account("kube-system", "generic-garbage-collector", "");
    let api = server.connector(identity, "mxjob-garbage-collector");
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = follow(&server, &api) => {} // the history was cut off: start from a new list
        }
    }
}

/// Follows the log from a list on, until the log is cut off under it.
async fn follow(server: &ApiServer, api: &Connector) {
    let store = server.store();
    let mut collector = Collector {
        server: server.clone(),
        api: api.clone(),
        graph: Graph::default(),
        todo: Todo::default(),
    };
    let Ok(page) = store.list(EVERYTHING, &ListOptions::default()) else { return };
    for entry in &page.entries {
        collector.take(&entry.value);
    }
    for namespace in quotas::namespaces(server) {
        collector.todo.soon(Task::Quotas(namespace));
    }
    for uid in collector.graph.all() {
        collector.todo.soon(Task::Object(uid));
    }
    let Ok(mut events) = store.watch(EVERYTHING, page.revision) else { return };
    loop {
        collector.work().await;
        let wake = collector.todo.next_retry();
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => collector.learn(&event),
                _ => return,
            },
            () = timer => {}
        }
        // Whatever else has happened is taken in before anything is done about it.
        while let Some(event) = Pin::new(&mut events).get_mut().try_next() {
            match event {
                Ok(event) => collector.learn(&event),
                Err(_) => return,
            }
        }
    }
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// An object, by uid.
    Object(String),
    /// A terminating namespace, by name.
    Namespace(String),
    /// The quotas of a namespace, by its name.
    Quotas(String),
    /// A custom resource definition that goes, by name.
    Definition(String),
    /// A custom resource definition that waits for names that others have, or had.
    Names(String),
}

/// What is to be looked at, and when to try again what failed.
#[derive(Debug, Default)]
struct Todo {
    now: BTreeSet<Task>,
    later: BTreeMap<Task, (Instant, Backoff)>,
}

impl Todo {
    fn soon(&mut self, task: Task) {
        self.now.insert(task);
    }

    fn again(&mut self, task: Task) {
        let now = Instant::now();
        let new = || (now, Backoff::new(RETRY_FIRST, RETRY_LAST));
        let (at, backoff) = self.later.entry(task).or_insert_with(new);
        *at = now + backoff.next_delay();
    }

    fn next_retry(&self) -> Option<Instant> {
        self.later.values().map(|(at, _)| *at).min()
    }

    fn take(&mut self) -> Option<Task> {
        if let Some(task) = self.now.pop_first() {
            return Some(task);
        }
        let now = Instant::now();
        let due =
            self.later.iter().find(|(_, (at, _))| *at <= now).map(|(task, _)| task.clone())?;
        // Kept out of reach rather than removed, so that a further failure waits longer.
        if let Some((at, _)) = self.later.get_mut(&due) {
            *at = now + RETRY_LAST;
        }
        Some(due)
    }

    fn done(&mut self, task: &Task) {
        self.later.remove(task);
    }
}

struct Collector {
    server: ApiServer,
    api: Connector,
    graph: Graph,
    todo: Todo,
}

/// Whether a step got as far as it can get by itself.
type Settled = bool;

impl Collector {
    fn take(&mut self, bytes: &[u8]) -> Option<String> {
        let (uid, node) = graph::read(bytes)?;
        if node.kind == "Namespace" && node.terminating {
            self.todo.soon(Task::Namespace(node.name.clone()));
        }
        if node.kind == definitions::KIND && node.terminating {
            self.todo.soon(Task::Definition(node.name.clone()));
        }
        self.graph.put(&uid, node);
        Some(uid)
    }

    fn learn(&mut self, event: &Event) {
        if let Some(namespace) = quotas::touched(&self.server, event) {
            self.todo.soon(Task::Quotas(namespace));
        }
        match event.kind {
            EventKind::Put => {
                let Some(uid) = self.take(&event.value) else { return };
                // Nothing follows from an object without owners, finalizers and dependents.
                let relevant = self
                    .graph
                    .get(&uid)
                    .is_some_and(|node| !node.owners.is_empty() || node.terminating);
                if relevant {
                    if self.graph.get(&uid).is_some_and(|node| node.terminating) {
                        self.look_at_dependents(&uid);
                    }
                    self.todo.soon(Task::Object(uid));
                }
            }
            EventKind::Delete => {
                let Some((uid, _)) = graph::read(&event.value) else { return };
                let Some(node) = self.graph.remove(&uid) else { return };
                self.look_at_dependents(&uid);
                for owner in node.owners {
                    self.todo.soon(Task::Object(owner.uid));
                }
                if node.kind == definitions::KIND {
                    let group = node.name.split_once('.').map_or("", |(_, group)| group);
                    for name in crate::definitions::unaccepted(self.server.store(), group) {
                        self.todo.soon(Task::Names(name));
                    }
                }
                self.wake_definitions();
                if !node.namespace.is_empty() && self.is_terminating(&node.namespace) {
                    self.todo.soon(Task::Namespace(node.namespace));
                }
            }
        }
    }

    /// Whatever went may have been the last object of a definition that waits for that.
    fn wake_definitions(&mut self) {
        let waiting = self.todo.later.keys().filter(|task| matches!(task, Task::Definition(_)));
        let waiting: Vec<Task> = waiting.cloned().collect();
        waiting.into_iter().for_each(|task| self.todo.soon(task));
    }

    fn is_terminating(&self, namespace: &str) -> bool {
        self.todo.later.contains_key(&Task::Namespace(namespace.to_owned()))
    }

    fn look_at_dependents(&mut self, uid: &str) {
        for dependent in self.graph.dependents(uid) {
            self.todo.soon(Task::Object(dependent));
        }
    }

    async fn work(&mut self) {
        while let Some(task) = self.todo.take() {
            let settled = match &task {
                Task::Object(uid) => self.object(uid).await,
                Task::Namespace(name) => self.namespace(name).await,
                Task::Definition(name) => definitions::empty(&self.server, &self.api, name).await,
                Task::Names(name) => definitions::look_again(&self.api, name).await,
                Task::Quotas(namespace) => {
                    quotas::refresh(&self.server, &self.api, namespace).await
                }
            };
            if settled {
                self.todo.done(&task);
            } else {
                self.todo.again(task);
            }
        }
    }

    async fn object(&mut self, uid: &str) -> Settled {
        let Some(node) = self.graph.get(uid).cloned() else { return true };
        let served = self.server.registry().served();
        let Some(path) = path(&served, &node) else { return true };
        if node.terminating && node.holds(ORPHAN) {
            return self.orphan_dependents(uid).await
                && self.drop_finalizer(&path, uid, ORPHAN).await;
        }
        if node.terminating && node.holds(FOREGROUND) {
            // The dependents are looked at on their own; the last one to go brings this one back.
            return self.graph.is_blocked(uid) || self.drop_finalizer(&path, uid, FOREGROUND).await;
        }
        match self.graph.judge(&served, uid) {
            Verdict::Keep => true,
            Verdict::Delete { foreground } => {
                let policy = if foreground { "Foreground" } else { "Background" };
                let body = json!({
                    "apiVersion": "v1", "kind": "DeleteOptions",
                    "propagationPolicy": policy, "preconditions": {"uid": uid},
                });
                self.call(Method::DELETE, &path, JSON, &body).await
            }
            Verdict::DropOwners(gone) => self.drop_owners(&path, uid, &gone).await,
        }
    }

    async fn orphan_dependents(&self, owner: &str) -> Settled {
        let mut settled = true;
        let served = self.server.registry().served();
        for uid in self.graph.dependents(owner) {
            let Some(path) = self.graph.get(&uid).and_then(|node| path(&served, node)) else {
                continue;
            };
            settled &= self.drop_owners(&path, &uid, &[owner.to_owned()]).await;
        }
        settled
    }

    async fn drop_owners(&self, path: &str, uid: &str, gone: &[String]) -> Settled {
        self.edit(path, uid, |meta| {
            let owners =
                meta.get("ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
            let stay = |owner: &Value| {
                !owner["uid"].as_str().is_some_and(|uid| gone.iter().any(|gone| gone == uid))
            };
            let kept: Vec<Value> = owners.into_iter().filter(stay).collect();
            json!({"ownerReferences": kept})
        })
        .await
    }

    async fn drop_finalizer(&self, path: &str, uid: &str, finalizer: &str) -> Settled {
        self.edit(path, uid, |meta| {
            let own = meta["finalizers"].as_array().into_iter().flatten();
            let kept: Vec<&Value> = own.filter(|own| own.as_str() != Some(finalizer)).collect();
            json!({"finalizers": kept})
        })
        .await
    }

    /// Changes metadata of the object as it is now, unless somebody else changes it meanwhile.
    async fn edit(&self, path: &str, uid: &str, change: impl Fn(&Value) -> Value) -> Settled {
        let (status, object) = self.api.send(Method::GET, path, JSON, None).await;
        let meta = &object["metadata"];
        if status == StatusCode::NOT_FOUND || meta["uid"].as_str() != Some(uid) {
            return true;
        }
        let mut patch = change(meta);
        patch["resourceVersion"] = meta["resourceVersion"].clone();
        self.call(Method::PATCH, path, MERGE, &json!({"metadata": patch})).await
    }

    /// Empties a terminating namespace; finalizes it when nothing is left.
    async fn namespace(&mut self, name: &str) -> Settled {
        let path = format!("/api/v1/namespaces/{name}");
        let (status, mut object) = self.api.send(Method::GET, &path, JSON, None).await;
        if status == StatusCode::NOT_FOUND {
            return true;
        }
        if !status.is_success() {
            return false;
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            return true;
        }
        let mut left = false;
        let served = self.server.registry().served();
        for kind in
            served.resources().filter(|kind| kind.namespaced && kind.verbs.contains(&"delete"))
        {
            let collection = kind.collection_path(name);
            let (status, list) =
                self.api.send(Method::GET, &format!("{collection}?limit=1"), JSON, None).await;
            // What cannot be looked at is not known to be empty.
            let Some(items) = list["items"].as_array().filter(|_| status.is_success()) else {
                return false;
            };
            if !items.is_empty() {
                left = true;
                self.call(Method::DELETE, &collection, JSON, &Value::Null).await;
            }
        }
        if left {
            return false;
        }
        object["spec"]["finalizers"] = json!([]);
        self.call(Method::PUT, &format!("{path}/finalize"), JSON, &object).await
    }

    /// True where the call did its work or the object is gone; anything else is tried again.
    async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: &Value,
    ) -> Settled {
        let body = (!body.is_null()).then_some(body);
        let (status, answer) = self.api.send(method.clone(), path, content_type, body).await;
        let settled = status.is_success() || status == StatusCode::NOT_FOUND;
        if !settled && status != StatusCode::CONFLICT {
            tracing::warn!(%method, path, %status, message = answer["message"].as_str(), "garbage collection will try again");
        }
        settled
    }
}

fn path(served: &Served, node: &Node) -> Option<String> {
    Some(format!("{}/{}", node.row(served)?.collection_path(&node.namespace), node.name))
}
