//! Follows the resources and feeds the cache and the queue.

use super::cache::{Change, Resource};
use super::effects::Context;
use super::object::Object;
use super::queue::Queue;
use super::requests::Child;
use futures_util::{StreamExt as _, pin_mut};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, api::ApiResource};
use mxjob_api::{labels, mxjob};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::warn;

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
    let api: Api<Object> = match namespace {
        Some(namespace) if !matches!(resource, Resource::Nodes | Resource::PriorityClasses) => {
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
    let follower = async move {
        let events = watcher::watcher(api, config).default_backoff();
        pin_mut!(events);
        let mut ready = Some(ready);
        while let Some(event) = events.next().await {
            let concerned = match &event {
                Ok(event) => context.cache.take_in(resource, change(event)),
                Err(error) => {
                    let cause = std::error::Error::source(error).map(ToString::to_string);
                    warn!(%error, cause, resource = %kind.plural, "watch interrupted");
                    continue;
                }
            };
            for key in concerned {
                queue.add(key);
            }
            if matches!(event, Ok(Event::InitDone))
                && let Some(ready) = ready.take()
            {
                let _ = ready.send(());
            }
        }
    };
    (follower, is_ready)
}

fn change(event: &Event<Object>) -> Change<'_> {
    match event {
        Event::Init => Change::ListBegins,
        Event::InitApply(object) => Change::Listed(&object.value),
        Event::InitDone => Change::ListEnds,
        Event::Apply(object) => Change::Applied(&object.value),
        Event::Delete(object) => Change::Deleted(&object.value),
    }
}

fn api_resource(resource: Resource) -> ApiResource {
    let (group, version, kind, plural) = match resource {
        Resource::Jobs => (mxjob::GROUP, mxjob::VERSION, mxjob::KIND, mxjob::PLURAL),
        Resource::Children(Child::Pod) => ("", "v1", "Pod", "pods"),
        Resource::Children(Child::Service) => ("", "v1", "Service", "services"),
        Resource::Nodes => ("", "v1", "Node", "nodes"),
        Resource::PriorityClasses => {
            ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
        }
    };
    let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}
