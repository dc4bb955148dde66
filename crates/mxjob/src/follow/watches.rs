//! Watches of the followed jobs and of their pods.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::stream::{SelectAll, select_all};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, GroupVersionKind, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use mxjob_api::{labels, mxjob};
use mxjob_client::{Lenient, Raw};

use super::progress::Named;

/// An event and its namespace.
#[derive(Debug)]
pub(crate) enum Seen {
    Job(String, Box<watcher::Result<watcher::Event<Raw>>>),
    Pod(String, Box<watcher::Result<watcher::Event<Lenient<Pod>>>>),
}

/// Names of jobs, by namespace.
pub(crate) type ByNamespace = BTreeMap<String, Vec<String>>;

/// Watches of jobs and pods.
pub(crate) type Watches = SelectAll<Pin<Box<dyn Stream<Item = Seen> + Send>>>;

/// The uids of lists in progress.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    by_namespace: BTreeMap<String, BTreeSet<String>>,
}

/// Watches jobs and their pods.
pub(crate) fn all<'a>(client: &Client, jobs: impl Iterator<Item = Named<'a>>) -> Watches {
    let mut streams: Vec<Pin<Box<dyn Stream<Item = Seen> + Send>>> = Vec::new();
    for (namespace, names) in by_namespace(jobs) {
        // A single job is watched by its name. For several jobs, one watch of the namespace is
        // cheaper than one watch per job.
        let config = match names.as_slice() {
            [name] => watcher::Config::default().fields(&format!("metadata.name={name}")),
            _ => watcher::Config::default(),
        };
        let jobs = watcher(self::jobs(client, &namespace), config).default_backoff();
        let place = namespace.clone();
        streams.push(Box::pin(jobs.map(move |event| Seen::Job(place.clone(), Box::new(event)))));
        streams.push(pods_of(client, &namespace, &names));
    }
    select_all(streams)
}

/// Watches the pods of jobs.
pub(crate) fn pods<'a>(client: &Client, jobs: impl Iterator<Item = Named<'a>>) -> Watches {
    let streams = by_namespace(jobs).into_iter();
    select_all(streams.map(|(namespace, names)| pods_of(client, &namespace, &names)))
}

/// The pods of jobs as they are now, with their namespaces. Namespaces that cannot be listed are
/// skipped.
pub(crate) async fn list_pods(
    client: &Client,
    by_namespace: ByNamespace,
) -> Vec<(String, Lenient<Pod>)> {
    let mut found = Vec::new();
    for (namespace, names) in by_namespace {
        let pods: Api<Lenient<Pod>> = Api::namespaced(client.clone(), &namespace);
        let config = ListParams::default().labels(&selector(&names));
        let list = pods.list(&config).await.map(|list| list.items).unwrap_or_default();
        found.extend(list.into_iter().map(|pod| (namespace.clone(), pod)));
    }
    found
}

fn selector(jobs: &[String]) -> String {
    format!("{} in ({})", labels::JOB_NAME, jobs.join(","))
}

fn pods_of(
    client: &Client,
    namespace: &str,
    jobs: &[String],
) -> Pin<Box<dyn Stream<Item = Seen> + Send>> {
    let config = watcher::Config::default().labels(&selector(jobs));
    let pods = watcher(Api::namespaced(client.clone(), namespace), config).default_backoff();
    let place = namespace.to_owned();
    Box::pin(pods.map(move |event| Seen::Pod(place.clone(), Box::new(event))))
}

/// The names of jobs, by namespace.
pub(crate) fn by_namespace<'a>(jobs: impl Iterator<Item = Named<'a>>) -> ByNamespace {
    let mut all = ByNamespace::new();
    for job in jobs {
        all.entry(job.namespace.to_owned()).or_default().push(job.name.to_owned());
    }
    all
}

/// The MXJobs of a namespace.
pub(crate) fn jobs(client: &Client, namespace: &str) -> Api<Raw> {
    let gvk = GroupVersionKind::gvk(mxjob::GROUP, mxjob::VERSION, mxjob::KIND);
    let resource = ApiResource::from_gvk_with_plural(&gvk, mxjob::PLURAL);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

// === impl Listing ===

impl Listing {
    /// Adds an event. Returns the uids of all objects of the namespace when a list is complete.
    pub(crate) fn note<K: kube::Resource>(
        &mut self,
        namespace: &str,
        event: &watcher::Event<K>,
    ) -> Option<BTreeSet<String>> {
        match event {
            watcher::Event::Init => {
                self.by_namespace.insert(namespace.to_owned(), BTreeSet::new());
            }
            watcher::Event::InitApply(object) => {
                if let Some(list) = self.by_namespace.get_mut(namespace) {
                    list.extend(object.uid());
                }
            }
            watcher::Event::InitDone => return self.by_namespace.remove(namespace),
            watcher::Event::Apply(_) | watcher::Event::Delete(_) => {}
        }
        None
    }
}
