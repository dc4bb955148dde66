//! What really happened, from watches that go around every fault: all versions of jobs, pods,
//! services, events and leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use crate::support::wait_until;

/// The resources that are followed.
const FOLLOWED: [(&str, &str, &str, &str); 5] = [
    ("kubeflow.org", "v1", "MXJob", "mxjobs"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Service", "services"),
    ("", "v1", "Event", "events"),
    ("coordination.k8s.io", "v1", "Lease", "leases"),
];

/// One thing that happened to an object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) resource: &'static str,
    /// Whether the object went; it is then as it last was.
    pub(crate) is_gone: bool,
    pub(crate) object: Arc<Value>,
}

/// Everything so far; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct History {
    inner: Arc<Mutex<Inner>>,
    /// For whoever acts on what happens. Who is too slow for it sees that in the end: the queue is
    /// long.
    changes: broadcast::Sender<Change>,
    _tasks: Arc<tokio::task::JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By resource, namespace and name.
    live: BTreeMap<(&'static str, String, String), Arc<Value>>,
    log: Vec<Change>,
}

pub(crate) fn kind(plural: &str) -> ApiResource {
    let (group, version, kind, plural) =
        FOLLOWED.into_iter().find(|(.., found)| *found == plural).unwrap();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

impl History {
    /// Follows everything; all that there is has been seen when this returns.
    pub(crate) async fn follow(client: &Client) -> Self {
        let mut tasks = tokio::task::JoinSet::new();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let changes = broadcast::channel(1 << 16).0;
        let mut all_ready = Vec::new();
        for (.., plural) in FOLLOWED {
            let (ready, is_ready) = watch::channel(false);
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind(plural));
            tasks.spawn(follow(api, plural, Arc::clone(&inner), changes.clone(), ready));
            all_ready.push(is_ready);
        }
        for mut is_ready in all_ready {
            is_ready.wait_for(|is_ready| *is_ready).await.unwrap();
        }
        Self { inner, changes, _tasks: Arc::new(tasks) }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(crate) fn get(&self, resource: &'static str, name: &str) -> Option<Arc<Value>> {
        let key = (resource, "default".to_owned(), name.to_owned());
        self.inner.lock().unwrap().live.get(&key).cloned()
    }

    /// All objects of a resource that there are.
    pub(crate) fn all(&self, resource: &str) -> Vec<Arc<Value>> {
        let inner = self.inner.lock().unwrap();
        let of_resource = inner.live.iter().filter(|((of, ..), _)| *of == resource);
        of_resource.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The objects of a resource that belong to a job.
    pub(crate) fn of(&self, job: &str, resource: &str) -> Vec<Arc<Value>> {
        let mut all = self.all(resource);
        all.retain(|object| belongs(object, job));
        all
    }

    /// All that happened so far.
    pub(crate) fn log(&self) -> Vec<Change> {
        self.inner.lock().unwrap().log.clone()
    }

    /// The uids that objects of a resource have had, by name.
    pub(crate) fn uids(&self, resource: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut uids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for change in self.log().iter().filter(|change| change.resource == resource) {
            let metadata = &change.object["metadata"];
            let text = |field: &str| metadata[field].as_str().unwrap().to_owned();
            uids.entry(text("name")).or_default().insert(text("uid"));
        }
        uids
    }

    /// Waits for something to be true of the jobs, pods and so on.
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        wait_until(what, || holds(self).then_some(()));
    }

    /// The condition of a job that changed last, if it has any.
    pub(crate) fn state(&self, job: &str) -> Option<Value> {
        self.get("mxjobs", job)?["status"]["conditions"].as_array()?.last().cloned()
    }

    /// Waits until a job's newest condition is of that type.
    pub(crate) fn wait_for_state(&self, job: &str, state: &str) {
        self.wait_until(&format!("{job} is {state}"), |history| {
            history.state(job).is_some_and(|last| last["type"] == state)
        });
    }

    /// The events about a job: `Reason: message`.
    pub(crate) fn told(&self, job: &str) -> Vec<String> {
        let about = |event: &&Arc<Value>| event["involvedObject"]["name"] == job;
        let text = |event: &Arc<Value>| {
            format!("{}: {}", event["reason"].as_str().unwrap(), event["message"].as_str().unwrap())
        };
        self.all("events").iter().filter(about).map(text).collect()
    }
}

async fn follow(
    api: Api<DynamicObject>,
    resource: &'static str,
    inner: Arc<Mutex<Inner>>,
    changes: broadcast::Sender<Change>,
    ready: watch::Sender<bool>,
) {
    let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut listed = BTreeSet::new();
    let note = |object: DynamicObject, is_gone: bool| {
        let object = serde_json::to_value(object).unwrap();
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (resource, text("namespace"), text("name"));
        inner.lock().unwrap().note(key.clone(), &Arc::new(object), is_gone, &changes);
        key
    };
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => drop(listed.insert(note(object, false))),
            Ok(Event::InitDone) => {
                let mut inner = inner.lock().unwrap();
                let of_resource = inner.live.iter().filter(|((of, ..), _)| *of == resource);
                let gone = of_resource.filter(|(key, _)| !listed.contains(*key));
                let gone: Vec<_> =
                    gone.map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
                for (key, object) in gone {
                    inner.note(key, &object, true, &changes);
                }
                ready.send_replace(true);
            }
            Ok(Event::Apply(object)) => drop(note(object, false)),
            Ok(Event::Delete(object)) => drop(note(object, true)),
            // The server is away for a while, or has started anew.
            Err(_) => {}
        }
    }
}

impl Inner {
    fn note(
        &mut self,
        key: (&'static str, String, String),
        object: &Arc<Value>,
        is_gone: bool,
        changes: &broadcast::Sender<Change>,
    ) {
        let is_known = self.live.get(&key).is_some_and(|known| {
            known["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"]
        });
        if is_known && !is_gone {
            return;
        }
        let change = Change { resource: key.0, is_gone, object: Arc::clone(object) };
        if is_gone {
            self.live.remove(&key);
        } else {
            self.live.insert(key, Arc::clone(object));
        }
        self.log.push(change.clone());
        // Nobody may be listening.
        let _ = changes.send(change);
    }
}

/// Whether a job made an object.
pub(crate) fn belongs(object: &Value, job: &str) -> bool {
    object["metadata"]["labels"]["training.kubeflow.org/job-name"] == job
}

/// The attempt that a pod was made for.
pub(crate) fn attempt(pod: &Value) -> u64 {
    let text = pod["metadata"]["annotations"]["kubeflow.org/attempt"].as_str();
    text.map_or(0, |text| text.parse().unwrap())
}

/// The role of a pod, in lower case.
pub(crate) fn role(pod: &Value) -> &str {
    pod["metadata"]["labels"]["training.kubeflow.org/replica-type"].as_str().unwrap_or_default()
}

/// The terminal condition of a job.
pub(crate) fn terminal(job: &Value) -> Option<&'static str> {
    let holds = |kind: &str| {
        let all = job["status"]["conditions"].as_array().into_iter().flatten();
        all.clone().any(|one| one["type"] == kind && one["status"] == "True")
    };
    ["Succeeded", "Failed"].into_iter().find(|kind| holds(kind))
}
