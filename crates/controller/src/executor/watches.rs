//! Follows the resources and feeds the cache and the queue.
//!
//! A watch that breaks off resumes by itself. One that is refused, because a permission or a kind
//! is missing, is an obstacle: it is reported (`obstacles`), and the server is asked with growing
//! delays whether the obstacle is gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use kube::api::{ListParams, WatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, api::ApiResource};
use mxjob_api::{labels, mxjob};
use mxjob_client::Raw;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::cache::Resource;
use super::context::Context;
use super::local_cache::Change;
use super::obstacles::{self, Verb};
use super::requests::Child;
use super::work_queue::WorkQueue;

/// Wait before the server is asked again after a refusal. It doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait: a granted permission is noticed within half a minute.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Returns a task that follows a resource until it is aborted, and a signal that the resource has
/// been listed.
pub(super) fn follow(
    client: &Client,
    namespace: Option<&str>,
    resource: Resource,
    all_pods: bool,
    context: &Arc<Context>,
    queue: &Arc<WorkQueue>,
) -> (impl Future<Output = ()> + Send + use<>, oneshot::Receiver<()>) {
    let kind = api_resource(resource);
    let api: Api<Raw> = match namespace {
        Some(namespace) if !resource.is_of_cluster() => {
            Api::namespaced_with(client.clone(), namespace, &kind)
        }
        _ => Api::all_with(client.clone(), &kind),
    };
    // Pods and services of others are not even sent, unless their capacity counts.
    let config = match resource {
        Resource::Jobs | Resource::Nodes | Resource::PriorityClasses => watcher::Config::default(),
        Resource::Children(Child::Pod) if all_pods => watcher::Config::default(),
        Resource::Children(_) => watcher::Config::default().labels(&format!(
            "{}={}",
            labels::OPERATOR_NAME,
            labels::OPERATOR
        )),
    };
    let (listed, is_listed) = oneshot::channel();
    let (context, queue) = (Arc::clone(context), Arc::clone(queue));
    let namespace = namespace.map(str::to_owned);
    let task = async move {
        let follower = Follower { api: api.clone(), resource, kind, namespace, context, queue };
        let events = watcher::watcher(api, config).default_backoff();
        pin_mut!(events);
        let mut listed = Some(listed);
        while let Some(event) = events.next().await {
            let concerned = match &event {
                Ok(event) => follower.context.cache.apply(resource, change(event)),
                Err(error) => {
                    follower.handle_error(error).await;
                    continue;
                }
            };
            for key in concerned {
                follower.queue.add(key);
            }
            if matches!(event, Ok(Event::InitDone)) {
                follower.unblock();
                if let Some(listed) = listed.take() {
                    let _ = listed.send(());
                }
            }
        }
    };
    (task, is_listed)
}

/// Follows one resource, and handles refusals.
struct Follower {
    api: Api<Raw>,
    resource: Resource,
    kind: ApiResource,
    namespace: Option<String>,
    context: Arc<Context>,
    queue: Arc<WorkQueue>,
}

impl Follower {
    /// Logs an error. If it is an obstacle, waits until that is gone.
    async fn handle_error(&self, error: &watcher::Error) {
        let of_watch =
            obstacles::of_watch(error, self.resource, &self.kind, self.namespace.as_deref());
        let Some((verb, _)) = of_watch else {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            warn!(%error, cause, resource = %self.kind.plural, "watch interrupted");
            return;
        };
        debug!(%error, resource = %self.kind.plural, "request refused; will retry");
        let mut wait = FIRST_RETRY;
        loop {
            tokio::time::sleep(wait).await;
            let Err(error) = self.probe(verb).await else { break };
            // Only a second refusal is reported: a server may need a moment after a permission was
            // granted or a kind was added.
            match obstacles::of_watch(&error, self.resource, &self.kind, self.namespace.as_deref())
            {
                Some((_, why)) => {
                    if self.context.sync_gate.block(&self.kind.plural, &why) {
                        self.requeue_all();
                    }
                }
                None => debug!(%error, "could not check whether the obstacle is gone"),
            }
            wait = wait.saturating_mul(2).min(LONGEST_RETRY);
        }
        if verb == Verb::Watch {
            self.unblock();
        }
        // A list counts when it has arrived in full.
    }

    fn unblock(&self) {
        if self.context.sync_gate.unblock(&self.kind.plural) {
            self.requeue_all();
        }
    }

    /// Tries the verb with a minimal request.
    async fn probe(&self, verb: Verb) -> Result<(), watcher::Error> {
        match verb {
            Verb::List => {
                let answer = self.api.list(&ListParams::default().limit(1)).await;
                answer.map(drop).map_err(watcher::Error::InitialListFailed)
            }
            Verb::Watch => {
                let answer = self.api.watch(&WatchParams::default().timeout(1), "0").await;
                answer.map(drop).map_err(watcher::Error::WatchStartFailed)
            }
        }
    }

    fn requeue_all(&self) {
        for key in self.context.cache.keys() {
            self.queue.add(key);
        }
    }
}

fn change(event: &Event<Raw>) -> Change<'_> {
    match event {
        Event::Init => Change::ListBegins,
        Event::InitApply(object) => Change::Listed(&object.value),
        Event::InitDone => Change::ListEnds,
        Event::Apply(object) => Change::Applied(&object.value),
        Event::Delete(object) => Change::Deleted(&object.value),
    }
}

pub(super) fn api_resource(resource: Resource) -> ApiResource {
    let (group, version, kind, plural) = match resource {
        Resource::Jobs => (mxjob::GROUP, mxjob::VERSION, mxjob::KIND, mxjob::PLURAL),
        Resource::Children(Child::Pod) => ("", "v1", "Pod", "pods"),
        Resource::Children(Child::Service) => ("", "v1", "Service", "services"),
        Resource::Children(Child::PodGroup(kind)) => {
            (kind.group(), kind.version(), "PodGroup", "podgroups")
        }
        Resource::Nodes => ("", "v1", "Node", "nodes"),
        Resource::PriorityClasses => {
            ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
        }
    };
    let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}
