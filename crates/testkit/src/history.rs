//! All versions of all objects, in the order of their revisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::resource::Resource;

/// Changes that a subscriber may be behind; it panics when it loses some.
const SUBSCRIBER_QUEUE: usize = 1 << 16;

/// A new version of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The plural of its resource.
    pub resource: &'static str,
    /// Whether the object was removed; `object` is then its last version.
    pub is_removed: bool,
    /// The object.
    pub object: Arc<Value>,
    /// When it was recorded.
    pub at: Instant,
}

/// The objects of a server and their changes. Clones share them.
#[derive(Clone, Debug)]
pub struct History {
    inner: Arc<Mutex<Inner>>,
    changes: broadcast::Sender<Change>,
    /// The number of changes.
    count: watch::Sender<usize>,
    _tasks: Arc<JoinSet<()>>,
}

type Key = (&'static str, String, String);

#[derive(Debug, Default)]
struct Inner {
    /// By resource, namespace and name.
    live: BTreeMap<Key, Arc<Value>>,
    log: Vec<Change>,
}

// === impl Change ===

impl Change {
    /// The revision of the version.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            changes: broadcast::channel(SUBSCRIBER_QUEUE).0,
            count: watch::channel(0).0,
            _tasks: Arc::default(),
        }
    }
}

impl History {
    /// Follows these resources on a server by watches. The objects of the first lists are recorded
    /// when this returns.
    pub async fn follow(client: &Client, resources: &[&str]) -> Self {
        let mut history = Self::default();
        let mut tasks = JoinSet::new();
        let mut all_ready = Vec::new();
        for plural in resources {
            let (ready, is_ready) = watch::channel(false);
            let resource = Resource::named(plural);
            let api = Api::all_with(client.clone(), &resource.api_resource());
            tasks.spawn(history.clone().follow_resource(api, resource.plural, ready));
            all_ready.push(is_ready);
        }
        for mut is_ready in all_ready {
            is_ready.wait_for(|is_ready| *is_ready).await.unwrap();
        }
        history._tasks = Arc::new(tasks);
        history
    }

    async fn follow_resource(
        self,
        api: Api<DynamicObject>,
        resource: &'static str,
        ready: watch::Sender<bool>,
    ) {
        let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut listed = BTreeSet::new();
        let record = |object: DynamicObject, is_removed: bool| {
            self.record(resource, is_removed, serde_json::to_value(object).unwrap())
        };
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => drop(listed.insert(record(object, false))),
                Ok(Event::InitDone) => {
                    let objects = self.of_resource(resource);
                    for object in objects.iter().filter(|one| !listed.contains(&key(resource, one)))
                    {
                        self.record(resource, true, Value::clone(object));
                    }
                    ready.send_replace(true);
                }
                Ok(Event::Apply(object)) => drop(record(object, false)),
                Ok(Event::Delete(object)) => drop(record(object, true)),
                // The server is away for a while, or has restarted.
                Err(_) => {}
            }
        }
    }

    /// Records a version of an object, unless it is known.
    pub(crate) fn record(&self, resource: &'static str, is_removed: bool, object: Value) -> Key {
        let key = key(resource, &object);
        let mut inner = self.inner.lock();
        let is_known = inner.live.get(&key).is_some_and(|known| {
            known["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"]
        });
        if is_known && !is_removed {
            return key;
        }
        let change = Change { resource, is_removed, object: Arc::new(object), at: Instant::now() };
        if is_removed {
            inner.live.remove(&key);
        } else {
            inner.live.insert(key.clone(), Arc::clone(&change.object));
        }
        inner.log.push(change.clone());
        drop(inner);
        // There may be no subscriber.
        let _ = self.changes.send(change);
        self.count.send_modify(|count| *count += 1);
        key
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }

    /// The changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The number of changes, to be notified of each.
    #[must_use]
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// The current version of an object in a namespace, or of the cluster if that is empty.
    #[must_use]
    pub fn get_in(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = (Resource::named(resource).plural, namespace.to_owned(), name.to_owned());
        self.inner.lock().live.get(&key).cloned()
    }

    /// The current version of an object in the namespace `default`.
    #[must_use]
    pub fn get(&self, resource: &str, name: &str) -> Option<Arc<Value>> {
        self.get_in(resource, "default", name)
    }

    /// All current objects of a resource.
    #[must_use]
    pub fn of_resource(&self, resource: &str) -> Vec<Arc<Value>> {
        let inner = self.inner.lock();
        let found = inner.live.iter().filter(|((of, ..), _)| *of == resource);
        found.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The current objects of a resource that belong to a job.
    #[must_use]
    pub fn of_job(&self, job: &str, resource: &str) -> Vec<Arc<Value>> {
        let mut found = self.of_resource(resource);
        found.retain(|object| belongs(object, job));
        found
    }

    /// All changes so far.
    #[must_use]
    pub fn log(&self) -> Vec<Change> {
        self.inner.lock().log.clone()
    }

    /// The uids that objects of a resource have had, by name.
    #[must_use]
    pub fn uids(&self, resource: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut uids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for change in self.log().iter().filter(|change| change.resource == resource) {
            let text = |field: &str| metadata(&change.object, field).to_owned();
            uids.entry(text("name")).or_default().insert(text("uid"));
        }
        uids
    }

    /// The condition of a job that changed last, if it has any.
    #[must_use]
    pub fn last_condition(&self, job: &str) -> Option<Value> {
        self.get("mxjobs", job)?["status"]["conditions"].as_array()?.last().cloned()
    }

    /// The events about an object: `Reason: message`.
    #[must_use]
    pub fn events_of(&self, name: &str) -> Vec<String> {
        let about = |event: &&Arc<Value>| event["involvedObject"]["name"] == name;
        let text = |event: &Arc<Value>| {
            format!("{}: {}", event["reason"].as_str().unwrap(), event["message"].as_str().unwrap())
        };
        self.of_resource("events").iter().filter(about).map(text).collect()
    }
}

fn key(resource: &'static str, object: &Value) -> Key {
    (resource, metadata(object, "namespace").to_owned(), metadata(object, "name").to_owned())
}

fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether the controller created an object for a job.
fn belongs(object: &Value, job: &str) -> bool {
    object["metadata"]["labels"]["training.kubeflow.org/job-name"] == job
}
