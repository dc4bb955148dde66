//! The garbage collector, the end of namespaces, the pods of deleted nodes, and the status of
//! quotas.
//!
//! ```text
//! discovery ─▶ one watch a resource ─▶ graph of owners ─▶ todo ─▶ requests
//! ```
//!
//! Dependents of a deleted owner are deleted (background), delay its end (foreground) or lose their
//! reference to it (orphan). A terminating namespace is emptied before it is finalized.
//!
//! The watches of different resources are not ordered, so an owner that is not in the graph need
//! not be deleted: the API server is asked before an object loses its owner or its life. A kind
//! that is not served is not known to have no such object, unless its definition has been deleted.

mod graph;
mod namespaces;
mod orphans;
mod quotas;
mod requests;
mod resource;
mod todo;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kube::Client;
use kube::runtime::watcher::Event;
use mxjob_client::Raw;
use mxjob_client::request::{self, JSON};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::{names, object};
use serde_json::{Value, json};

use crate::api::Settled;
use graph::{FOREGROUND, Graph, Node, ORPHAN, Owner, Verdict};
use requests::Requests;
use resource::{DEFINITIONS, Resource};
use todo::{Task, Todo};
use watches::{Item, Watches};

pub use orphans::ORPHAN_QUARANTINE;

/// The service account of the collector.
pub const ACCOUNT: &str = "generic-garbage-collector";
const NODES: &str = "nodes";
/// How long the first work waits for the lists of all resources. Later work only waits for them
/// where the graph must be complete.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
const DISCOVERY_RETRY: Duration = Duration::from_secs(1);

/// Collects garbage until `shutdown`. Pods of a node that does not exist are collected after the
/// quarantine ([`ORPHAN_QUARANTINE`]); never if it is `None`, for servers whose nodes are
/// simulated.
pub async fn run(client: Client, quarantine: Option<Duration>, shutdown: impl Future<Output = ()>) {
    let collector = Collector {
        requests: Requests(client),
        watches: Watches::default(),
        graph: Graph::default(),
        todo: Todo::default(),
        resources: BTreeMap::new(),
        withdrawn: BTreeSet::new(),
        definitions: BTreeMap::new(),
        deleted_kinds: BTreeSet::new(),
        quotas: BTreeSet::new(),
        nodes: BTreeSet::new(),
        quarantine,
    };
    tokio::select! {
        () = shutdown => {}
        () = collector.collect() => {}
    }
}

/// Group and kind.
type GroupKind = (String, String);

struct Collector {
    requests: Requests,
    watches: Watches,
    graph: Graph,
    todo: Todo,
    /// What the API served last, by id.
    resources: BTreeMap<String, Arc<Resource>>,
    /// Resources that are not served any more, whose definitions exist.
    withdrawn: BTreeSet<String>,
    /// The definitions of custom resources, by name.
    definitions: BTreeMap<String, GroupKind>,
    /// Kinds whose definitions have been deleted.
    deleted_kinds: BTreeSet<GroupKind>,
    /// The quotas, by namespace and name.
    quotas: BTreeSet<(String, String)>,
    /// The nodes, by name.
    nodes: BTreeSet<String>,
    quarantine: Option<Duration>,
}

/// Whether an owner exists.
enum Lookup {
    Exists,
    Absent,
    Failed,
}

// === impl Collector ===

impl Collector {
    async fn collect(mut self) {
        while !self.discover().await {
            tokio::time::sleep(DISCOVERY_RETRY).await;
        }
        let filled = async {
            while !self.watches.are_filled() {
                let item = self.watches.next().await;
                self.observe(item);
            }
        };
        if tokio::time::timeout(SYNC_TIMEOUT, filled).await.is_err() {
            tracing::warn!("some resources could not be listed in time; will retry");
        }
        loop {
            self.work().await;
            let wake = self.todo.next_retry();
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                item = self.watches.next() => self.observe(item),
                () = timer => {}
            }
            // The graph takes in everything that has arrived before it is acted on.
            while let Some(item) = self.watches.try_next() {
                self.observe(item);
            }
        }
    }

    async fn work(&mut self) {
        while let Some(task) = self.todo.take() {
            let settled = match &task {
                Task::Discovery => self.discover().await,
                Task::Object(uid) => self.object(uid).await,
                Task::Namespace(name) => namespaces::end(&self.requests, name).await,
                Task::Quotas(namespace) => {
                    quotas::refresh(&self.requests.0, &self.resources, namespace).await
                }
                Task::Orphans(node) => orphans::collect(&self.requests.0, node).await,
            };
            if settled {
                self.todo.done(&task);
            } else {
                self.todo.again(task);
            }
        }
    }

    fn observe(&mut self, (resource, event): Item) {
        let id = resource.id.as_str();
        match event {
            Ok(Event::Init) => self.watches.list_begins(id),
            Ok(Event::InitApply(object)) => {
                if let Some(uid) = self.put(&resource, id, &object.value) {
                    self.watches.list_has(id, &uid);
                }
            }
            Ok(Event::InitDone) => {
                let listed = self.watches.list_ends(id);
                for uid in self.graph.of_resource(id) {
                    if !listed.contains(&uid) {
                        self.remove(&uid);
                    }
                }
            }
            Ok(Event::Apply(object)) => {
                self.put(&resource, id, &object.value);
            }
            Ok(Event::Delete(object)) => self.delete(id, &object),
            Err(error) => {
                // The resource may be served no longer.
                tracing::debug!(resource = id, %error, "watch interrupted; will retry");
                self.todo.soon(Task::Discovery);
            }
        }
    }

    /// Takes in the state of an object.
    fn put(&mut self, resource: &Arc<Resource>, id: &str, object: &Value) -> Option<String> {
        let (uid, node) = graph::read(resource, object)?;
        if id == DEFINITIONS {
            self.put_definition(&node.name, object);
        }
        if id == "namespaces" && node.terminating {
            self.todo.soon(Task::Namespace(node.name.clone()));
        }
        if id == quotas::QUOTAS {
            self.quotas.insert((node.namespace.clone(), node.name.clone()));
        }
        if quotas::changes_use(id) {
            self.recount(&node.namespace);
        }
        if id == NODES {
            self.nodes.insert(node.name.clone());
        }
        if id == "pods" {
            self.check_node(text(object, "/spec/nodeName"));
        }
        if node.terminating {
            self.look_at_dependents(&uid);
        }
        // Nothing follows from an object without owners that is not being deleted.
        if !node.owners.is_empty() || node.terminating {
            self.todo.soon(Task::Object(uid.clone()));
        }
        for owner in self.graph.put(&uid, node) {
            self.todo.soon(Task::Object(owner));
        }
        Some(uid)
    }

    fn delete(&mut self, id: &str, object: &Raw) {
        if id == DEFINITIONS {
            self.delete_definition(object.text("/metadata/name"));
        }
        self.remove(object.text("/metadata/uid"));
    }

    /// Forgets an object that does not exist any more.
    fn remove(&mut self, uid: &str) {
        let Some(node) = self.graph.remove(uid) else { return };
        self.look_at_dependents(uid);
        for owner in node.owners {
            self.todo.soon(Task::Object(owner.uid));
        }
        if node.resource.id == quotas::QUOTAS {
            self.quotas.remove(&(node.namespace.clone(), node.name.clone()));
        }
        if node.resource.id == NODES && self.nodes.remove(&node.name) {
            self.check_node(&node.name);
        }
        self.recount(&node.namespace);
        let namespace = Task::Namespace(node.namespace);
        if self.todo.is_waiting(&namespace) {
            self.todo.soon(namespace);
        }
    }

    /// Has the pods of a node collected after the quarantine, if it does not exist then.
    fn check_node(&mut self, name: &str) {
        let Some(quarantine) = self.quarantine else { return };
        // A node cannot have an invalid name, which must not become part of a path.
        if !self.nodes.contains(name) && names::dns1123_subdomain(name).is_empty() {
            self.todo.after(quarantine, Task::Orphans(name.to_owned()));
        }
    }

    fn put_definition(&mut self, name: &str, definition: &Value) {
        let kind = group_kind(definition);
        self.deleted_kinds.remove(&kind);
        self.definitions.insert(name.to_owned(), kind);
        self.todo.soon(Task::Discovery);
    }

    fn delete_definition(&mut self, name: &str) {
        if let Some(kind) = self.definitions.remove(name) {
            self.deleted_kinds.insert(kind);
        }
        for uid in self.graph.with_unknown_owners() {
            self.todo.soon(Task::Object(uid));
        }
        self.todo.soon(Task::Discovery);
    }

    fn look_at_dependents(&mut self, uid: &str) {
        for dependent in self.graph.dependents(uid) {
            self.todo.soon(Task::Object(dependent));
        }
    }

    /// Has the quotas of a namespace counted, if there are any.
    fn recount(&mut self, namespace: &str) {
        let from = (namespace.to_owned(), String::new());
        if self.quotas.range(from..).next().is_some_and(|(first, _)| first == namespace) {
            self.todo.soon(Task::Quotas(namespace.to_owned()));
        }
    }

    /// Watches what is served now, and nothing else.
    async fn discover(&mut self) -> Settled {
        let found = match resource::discover(&self.requests.0).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "discovery failed; will retry");
                return false;
            }
        };
        self.resources =
            found.into_iter().map(|resource| (resource.id.clone(), Arc::new(resource))).collect();
        for id in self.watches.ids() {
            if !self.resources.contains_key(&id) {
                self.watches.stop(&id);
                self.withdrawn.insert(id);
            }
        }
        let mut is_new = false;
        for (id, resource) in &self.resources {
            self.withdrawn.remove(id);
            if !resource.is_ignored() {
                is_new |= self.watches.start(&self.requests.0, resource);
            }
        }
        if is_new {
            for uid in self.graph.with_unknown_owners() {
                self.todo.soon(Task::Object(uid));
            }
            // Quotas may limit what was not known until now.
            for (namespace, _) in &self.quotas {
                self.todo.soon(Task::Quotas(namespace.clone()));
            }
        }
        self.check_definitions().await
    }

    /// Compares what is served with the definitions; false if discovery is behind them.
    async fn check_definitions(&mut self) -> Settled {
        let mut settled = true;
        // The objects went with the definition; their deletion may not have been seen.
        for id in self.withdrawn.clone() {
            match self.requests.definition(&id).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.withdrawn.remove(&id);
                    for uid in self.graph.of_resource(&id) {
                        self.remove(&uid);
                    }
                }
                Err(_) => settled = false,
            }
        }
        let missing = self.definitions.keys().filter(|name| !self.resources.contains_key(*name));
        for name in missing.cloned().collect::<Vec<_>>() {
            settled &= match self.requests.definition(&name).await {
                Ok(definition) => !definition.is_some_and(|definition| is_served(&definition)),
                Err(_) => false,
            };
        }
        settled
    }

    async fn object(&mut self, uid: &str) -> Settled {
        let Some(node) = self.graph.get(uid).cloned() else { return true };
        let path = node.path();
        if node.terminating && (node.holds(ORPHAN) || node.holds(FOREGROUND)) {
            // All dependents must be known.
            if !self.watches.are_filled() {
                return false;
            }
            if node.holds(ORPHAN) {
                return self.orphan_dependents(uid).await
                    && self.requests.drop_finalizer(&path, uid, ORPHAN).await;
            }
            if self.graph.is_circle(uid) {
                return self.requests.unblock_owners(&path, uid).await;
            }
            // The last dependent that is deleted brings this object back.
            return self.graph.is_blocked(uid)
                || self.requests.drop_finalizer(&path, uid, FOREGROUND).await;
        }
        if !node.terminating && !self.look_up_owners(uid, &node).await {
            return false;
        }
        match self.graph.verdict(uid) {
            Verdict::Keep => true,
            Verdict::Delete { foreground } => {
                let policy = if foreground { "Foreground" } else { "Background" };
                let body = json!({
                    "apiVersion": "v1", "kind": "DeleteOptions",
                    "propagationPolicy": policy, "preconditions": {"uid": uid},
                });
                self.requests.call(Method::DELETE, &path, JSON, Some(&body)).await
            }
            Verdict::DropOwners(gone) => self.requests.drop_owners(&path, uid, &gone).await,
        }
    }

    /// Asks for the owners that are not in the graph.
    async fn look_up_owners(&mut self, uid: &str, node: &Node) -> Settled {
        let mut settled = true;
        for owner in self.graph.unknown_owners(uid) {
            match self.look_up(&owner, &node.namespace).await {
                Lookup::Exists => {}
                Lookup::Absent => self.graph.mark_absent(&owner, &node.namespace),
                Lookup::Failed => settled = false,
            }
        }
        settled
    }

    async fn look_up(&mut self, owner: &Owner, namespace: &str) -> Lookup {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        // All versions of a kind are of the same objects.
        let is_kind = |it: &&Arc<Resource>| it.group == group && it.kind == owner.kind;
        let Some(resource) = self.resources.values().find(is_kind) else {
            let kind = (group.to_owned(), owner.kind.clone());
            let is_deleted = self.deleted_kinds.contains(&kind);
            return if is_deleted { Lookup::Absent } else { Lookup::Exists };
        };
        if owner.name.is_empty() {
            return Lookup::Absent;
        }
        if resource.namespaced && namespace.is_empty() {
            // As upstream: a namespaced owner of a cluster-scoped object cannot be looked up.
            return Lookup::Exists;
        }
        match request::get_opt(&self.requests.0, &resource.object_path(namespace, &owner.name))
            .await
        {
            Ok(Some(object)) if object::meta_str(&object, "uid") == owner.uid => Lookup::Exists,
            Ok(_) => Lookup::Absent,
            Err(error) => {
                tracing::warn!(owner = owner.name, %error, "cannot look up owner; will retry");
                Lookup::Failed
            }
        }
    }

    async fn orphan_dependents(&mut self, owner: &str) -> Settled {
        let mut settled = true;
        for uid in self.graph.dependents(owner) {
            let Some(node) = self.graph.get(&uid) else { continue };
            settled &= self.requests.drop_owners(&node.path(), &uid, &[owner.to_owned()]).await;
        }
        settled
    }
}

fn group_kind(definition: &Value) -> GroupKind {
    let field = |pointer: &str| text(definition, pointer).to_owned();
    (field("/spec/group"), field("/spec/names/kind"))
}

/// Whether the API serves a version of a definition, or is about to.
fn is_served(definition: &Value) -> bool {
    let is_established = list(definition, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "Established" && text(condition, "/status") == "True"
    });
    let is_served = |version: &Value| version["served"] == true;
    is_established && list(definition, "/spec/versions").iter().any(is_served)
}
