//! Follows the resources and feeds the cache and the queue.
//!
//! A watch that breaks off is taken up again by itself. One that is refused, for a right or a kind that is missing, is an obstacle: it is
//! told (`obstacles`), and the server is asked in growing distances whether it is gone.

use super::cache::{Change, Resource};
use super::effects::Context;
use super::obstacles::{self, Verb};
use super::queue::Queue;
use super::requests::Child;
use futures_util::{StreamExt as _, pin_mut};
use kube::api::{ListParams, WatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, api::ApiResource};
use mxjob_api::{labels, mxjob};
use mxjob_client::Raw;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{debug, warn};

/// How soon the server is asked again after it has refused something; the wait doubles.
const FIRST_TRY: Duration = Duration::from_secs(1);
/// The longest wait: a right that is granted is noticed within half a minute.
const LAST_TRY: Duration = Duration::from_secs(30);

/// A task that follows a resource for ever, and the word that it has seen all there is.
pub(super) fn follow(
    client: &Client,
    namespace: Option<&str>,
    resource: Resource,
    every_pod: bool,
    context: &Arc<Context>,
    queue: &Arc<Queue>,
) -> (impl Future<Output = ()> + Send + use<>, oneshot::Receiver<()>) {
    let kind = api_resource(resource);
    let api: Api<Raw> = match namespace {
        Some(namespace) if !resource.is_of_cluster() => {
            Api::namespaced_with(client.clone(), namespace, &kind)
        }
        _ => Api::all_with(client.clone(), &kind),
    };
    // Pods and services of others are never even sent, unless their room counts.
    let config = match resource {
        Resource::Jobs | Resource::Nodes | Resource::PriorityClasses => watcher::Config::default(),
        Resource::Children(Child::Pod) if every_pod => watcher::Config::default(),
        Resource::Children(_) => watcher::Config::default().labels(&format!(
            "{}={}",
            labels::OPERATOR_NAME,
            labels::OPERATOR
        )),
    };
    let (ready, is_ready) = oneshot::channel();
    let (context, queue) = (Arc::clone(context), Arc::clone(queue));
    let namespace = namespace.map(str::to_owned);
    let follower = async move {
        let way = Way { api: api.clone(), resource, kind, namespace, context, queue };
        let events = watcher::watcher(api, config).default_backoff();
        pin_mut!(events);
        let mut ready = Some(ready);
        while let Some(event) = events.next().await {
            let concerned = match &event {
                Ok(event) => way.context.cache.take_in(resource, change(event)),
                Err(error) => {
                    way.troubled(error).await;
                    continue;
                }
            };
            for key in concerned {
                way.queue.add(key);
            }
            if matches!(event, Ok(Event::InitDone)) {
                way.sees();
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
            }
        }
    };
    (follower, is_ready)
}

/// The way to a resource, and what may be in it.
struct Way {
    api: Api<Raw>,
    resource: Resource,
    kind: ApiResource,
    namespace: Option<String>,
    context: Arc<Context>,
    queue: Arc<Queue>,
}

impl Way {
    /// Tells of an error; if it is for an obstacle, waits until that is gone.
    async fn troubled(&self, error: &watcher::Error) {
        let of_watch =
            obstacles::of_watch(error, self.resource, &self.kind, self.namespace.as_deref());
        let Some((verb, _)) = of_watch else {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            warn!(%error, cause, resource = %self.kind.plural, "watch interrupted");
            return;
        };
        debug!(%error, resource = %self.kind.plural, "refused; asking again");
        let mut wait = FIRST_TRY;
        loop {
            tokio::time::sleep(wait).await;
            let Err(error) = self.ask(verb).await else { break };
            // Only what is refused twice is told: a server that has just learnt of a right, or of a kind, may need a moment.
            match obstacles::of_watch(&error, self.resource, &self.kind, self.namespace.as_deref())
            {
                Some((_, why)) => {
                    if self.context.gate.blinded(&self.kind.plural, &why) {
                        self.look_at_all();
                    }
                }
                None => debug!(%error, "cannot ask whether it is mended"),
            }
            wait = wait.saturating_mul(2).min(LAST_TRY);
        }
        if verb == Verb::Watch {
            self.sees();
        }
        // A list is seen when it has come in full.
    }

    fn sees(&self) {
        if self.context.gate.sees(&self.kind.plural) {
            self.look_at_all();
        }
    }

    /// Asks for as little as there is.
    async fn ask(&self, verb: Verb) -> Result<(), watcher::Error> {
        match verb {
            Verb::List => {
                let asked = self.api.list(&ListParams::default().limit(1)).await;
                asked.map(drop).map_err(watcher::Error::InitialListFailed)
            }
            Verb::Watch => {
                let asked = self.api.watch(&WatchParams::default().timeout(1), "0").await;
                asked.map(drop).map_err(watcher::Error::WatchStartFailed)
            }
        }
    }

    fn look_at_all(&self) {
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
