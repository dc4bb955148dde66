//! The real API server in process, with its store in a temporary folder.
//!
//! Each request is carried out on the calling thread while that thread waits. So a request is one
//! step for a test with a paused clock: no timer fires while the server works, and the order of
//! events depends on the test alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::Client;
use mxjob_access::identity::Identity;
use serde_json::{Value, json};

use crate::core::{Core, NAMESPACE, block_on};
use crate::history::History;
use crate::link::{Link, Upstream};
use crate::random::Random;
use crate::resource::{RESOURCES, Resource, permissive_definition, pod_group_definitions};

/// How long a test waits for a condition. In simulated time this costs nothing.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// How a server serves MXJobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MxJobs {
    /// With the whole contract.
    #[default]
    BuiltIn,
    /// As a custom resource that accepts any object.
    Permissive,
    /// Not until [`Server::serve`] is called.
    Missing,
}

/// Options of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How it serves MXJobs.
    pub mxjobs: MxJobs,
    /// Whether it lacks the pod groups of gang schedulers until [`Server::serve`] is called.
    pub without_pod_groups: bool,
    /// Its clock; uids are then counted instead of random. The system's clock if there is none.
    pub clock: Option<fn() -> Timestamp>,
    /// The seed of the random faults.
    pub seed: u64,
}

/// A server, its history and a connection to it. Clones share them.
#[derive(Clone, Debug)]
pub struct Server {
    core: Arc<Core>,
    link: Link,
}

// === impl Server ===

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server with the whole contract of MXJobs, and pod groups.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    /// A server with options.
    #[must_use]
    pub fn with(options: Options) -> Self {
        let core = Arc::new(Core::new(options.mxjobs == MxJobs::BuiltIn, options.clock));
        let upstream = Upstream::InProcess(Arc::clone(&core), core.admin.clone());
        let server = Self { core, link: Link::new(upstream, Random::new(options.seed)) };
        if options.mxjobs == MxJobs::Permissive {
            server.serve(&permissive_definition(&Resource::named("mxjobs")));
        }
        if !options.without_pod_groups {
            pod_group_definitions().iter().for_each(|definition| server.serve(definition));
        }
        server.core.mirror_all();
        server
    }

    /// Installs the definition of a custom resource.
    pub fn serve(&self, definition: &Value) {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.expect(&Method::POST, path, definition);
        self.core.mirror_all();
    }

    /// Installs the definition of MXJobs that accepts any object.
    pub fn serve_mxjobs(&self) {
        self.serve(&permissive_definition(&Resource::named("mxjobs")));
    }

    /// The connection of [`Server::client`].
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// A client on the server's connection, with all rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.link.client()
    }

    /// Another connection with all rights.
    #[must_use]
    pub fn new_link(&self, random: Random) -> Link {
        Link::new(Upstream::InProcess(Arc::clone(&self.core), self.core.admin.clone()), random)
    }

    /// A client with the rights of this identity.
    #[must_use]
    pub fn client_as(&self, identity: Identity) -> Client {
        let upstream = Upstream::InProcess(Arc::clone(&self.core), identity);
        Link::new(upstream, Random::new(0)).client()
    }

    /// A client with the rights of the agent of a node.
    #[must_use]
    pub fn node_client(&self, node: &str) -> Client {
        self.client_as(Identity::node(node))
    }

    /// Deletes all objects in the namespace `default`, and forgets the history. Starting a server
    /// takes much longer.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// All versions of all objects.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.core.history
    }

    /// A current object in the namespace `default`, or of the cluster.
    #[must_use]
    pub fn get(&self, resource: &str, name: &str) -> Option<Value> {
        let namespace = if Resource::named(resource).is_namespaced { NAMESPACE } else { "" };
        self.get_in(resource, namespace, name)
    }

    /// A current object in a namespace.
    #[must_use]
    pub fn get_in(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let object = self.core.history.get_in(resource, namespace, name)?;
        Some(Value::clone(&object))
    }

    /// All current objects of a resource.
    #[must_use]
    pub fn all(&self, resource: &str) -> Vec<Value> {
        self.core.history.of_resource(resource).iter().map(|one| Value::clone(one)).collect()
    }

    /// Creates an object as another client would, with its status if it has one. `apiVersion`,
    /// `kind` and the namespace `default` may be omitted.
    pub fn create(&self, resource: &str, object: &Value) -> Value {
        let kind = Resource::named(resource);
        let mut object = object.clone();
        if !object["apiVersion"].is_string() {
            object["apiVersion"] = kind.api_version.into();
            object["kind"] = kind.kind.into();
        }
        let path = collection(resource, &object);
        let created = self.expect(&Method::POST, &path, &object);
        let status = object["status"].take();
        if status.is_null() {
            return created;
        }
        let name = created["metadata"]["name"].as_str().unwrap();
        let patch = json!({ "status": status });
        self.expect(&Method::PATCH, &format!("{path}/{name}/status"), &patch)
    }

    /// Changes an object as other clients would: its status by a request of its own, and the node
    /// of a pod by a binding.
    pub fn change(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let before = self.get(resource, name).unwrap_or_else(|| panic!("{name} does not exist"));
        let mut after = before.clone();
        change(&mut after);
        let path = format!("{}/{name}", collection(resource, &before));
        let node = after.pointer("/spec/nodeName").and_then(Value::as_str);
        if let Some(node) = node.filter(|_| before.pointer("/spec/nodeName").is_none()) {
            self.bind(name, node);
        }
        let status = after.get("status").cloned();
        let current = || self.get(resource, name).unwrap();
        for field in ["metadata", "spec"] {
            if after.get(field) == before.get(field) {
                after[field] = current().get_mut(field).map(Value::take).unwrap_or_default();
            }
        }
        if without_status(&after) != without_status(&current()) {
            after["metadata"]["resourceVersion"] = current()["metadata"]["resourceVersion"].take();
            self.expect(&Method::PUT, &path, &after);
        }
        if status.as_ref() != before.get("status") {
            let mut object = current();
            object["status"] = status.unwrap_or_default();
            self.expect(&Method::PUT, &format!("{path}/status"), &object);
        }
    }

    /// Binds a pod to a node, as a scheduler does.
    pub fn bind(&self, pod: &str, node: &str) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/binding");
        self.expect(&Method::POST, &path, &binding);
    }

    /// Deletes an object as a user does: a running pod is marked, and its node removes it.
    pub fn delete(&self, resource: &str, name: &str) {
        self.delete_with(resource, name, &json!({}));
    }

    /// Removes an object immediately, as a node or the garbage collector does.
    pub fn remove(&self, resource: &str, name: &str) {
        self.delete_within(resource, name, 0);
    }

    /// Deletes an object with a grace period in seconds.
    pub fn delete_within(&self, resource: &str, name: &str, seconds: i64) {
        self.delete_with(resource, name, &json!({ "gracePeriodSeconds": seconds }));
    }

    /// Stores an object around all checks of the API, as another server may have stored it. An
    /// object without a uid gets one.
    pub fn store(&self, resource: &str, object: &Value) {
        self.core.store(&Resource::named(resource), object.clone());
    }

    fn delete_with(&self, resource: &str, name: &str, options: &Value) {
        let object = self.get(resource, name).unwrap_or_else(|| panic!("{name} does not exist"));
        let path = format!("{}/{name}", collection(resource, &object));
        self.expect(&Method::DELETE, &path, options);
    }

    /// Sends a request around the connection's faults. The body of a `PATCH` is a merge patch.
    pub fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let is_patch = method == Method::PATCH;
        let content_type =
            if is_patch { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content_type)
            .body(body)
            .unwrap();
        let response = self.core.respond(&self.core.admin, request);
        let code = response.status().as_u16();
        let bytes = block_on(response.into_body().collect()).unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Sends a request that must succeed.
    fn expect(&self, method: &Method, path: &str, body: &Value) -> Value {
        let (code, answer) = self.send(method.clone(), path, body);
        assert!((200..300).contains(&code), "{method} {path} {body:#}\nfailed: {answer:#}");
        answer
    }

    /// Waits until a condition is true. It is checked again after every change of an object and
    /// every request of the client.
    pub async fn wait_for(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let (mut changes, mut requests) = (self.core.history.count(), self.link.ended());
        let waiting = async {
            while !holds(self) {
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = requests.changed() => {}
                }
            }
        };
        let in_time = tokio::time::timeout(WAIT_TIMEOUT, waiting).await.is_ok();
        assert!(
            in_time,
            "timed out waiting for {what}; writes: {:#?}\njobs: {:#?}",
            self.link.writes(),
            self.all("mxjobs")
        );
    }
}

/// The path of the collection of an object.
fn collection(resource: &str, object: &Value) -> String {
    let api_version = object["apiVersion"].as_str();
    let of_version = |found: &&Resource| {
        found.plural == resource && api_version.is_none_or(|version| found.api_version == version)
    };
    let found = RESOURCES.iter().find(of_version);
    let found = found.unwrap_or_else(|| panic!("no {resource} in {api_version:?}"));
    found.path(object["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE))
}

/// What an update of the object itself may change.
fn without_status(object: &Value) -> Value {
    let mut object = object.clone();
    object["status"] = Value::Null;
    object["metadata"]["resourceVersion"] = Value::Null;
    object
}
