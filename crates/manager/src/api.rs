//! The resources that all controllers here read, in local caches.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{FutureExt as _, StreamExt as _};
use http::Method;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt as _, reflector};
use mxjob_client::{Raw, request};
use serde_json::Value;

/// Delay before a failed pass of a controller is repeated, if nothing changes earlier.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Whether there is nothing left to do; false asks for a retry.
pub(crate) type Settled = bool;

/// A resource of the API that is always served.
pub(crate) fn built_in(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

/// Local caches of whole resources, and their changes.
pub(crate) struct Caches {
    client: Client,
    changes: SelectAll<BoxStream<'static, ()>>,
}

impl Caches {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, changes: SelectAll::new() }
    }

    /// Follows a resource.
    pub(crate) fn add(&mut self, resource: &ApiResource) -> Store<Raw> {
        self.add_with(resource, watcher::Config::default())
    }

    /// Follows the objects of a resource that a field selector selects.
    pub(crate) fn add_selected(&mut self, resource: &ApiResource, fields: &str) -> Store<Raw> {
        self.add_with(resource, watcher::Config::default().fields(fields))
    }

    fn add_with(&mut self, resource: &ApiResource, config: watcher::Config) -> Store<Raw> {
        let writer = Writer::<Raw>::new(resource.clone());
        let cache = writer.as_reader();
        let api = kube::Api::all_with(self.client.clone(), resource);
        let plural = resource.plural.clone();
        let events = watcher(api, config).default_backoff();
        let events = reflector::reflector(writer, events);
        let changes = events.map(move |event| {
            if let Err(error) = event {
                tracing::warn!(resource = plural, %error, "watch interrupted; will retry");
            }
        });
        self.changes.push(changes.boxed());
        cache
    }

    /// Runs `pass` when all caches have been filled, and then after changes, until `shutdown`.
    pub(crate) async fn run<F>(
        mut self,
        caches: &[&Store<Raw>],
        mut pass: impl FnMut() -> F,
        shutdown: impl Future<Output = ()>,
    ) where
        F: Future<Output = Settled>,
    {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let is_filled =
                caches.iter().all(|cache| cache.wait_until_ready().now_or_never().is_some());
            let settled = !is_filled || pass().await;
            let retry = async {
                if settled {
                    std::future::pending().await
                } else {
                    tokio::time::sleep(RETRY_DELAY).await
                }
            };
            tokio::select! {
                () = &mut shutdown => return,
                change = self.changes.next() => if change.is_none() { return },
                () = retry => {}
            }
            // One pass for all changes that have arrived.
            while let Some(Some(())) = Pin::new(&mut self.changes).next().now_or_never() {}
        }
    }
}

/// Writes a derived object, and returns whether that settled; a conflict is followed by a change.
pub(crate) async fn write(
    client: &Client,
    method: Method,
    path: &str,
    media_type: &str,
    body: Option<&Value>,
) -> Settled {
    let Err(error) = request::send(client, method, path, media_type, body).await else {
        return true;
    };
    let settled = match &error {
        kube::Error::Api(status) => {
            matches!(status.code, 404 | 409)
                // The namespace has been deleted meanwhile.
                || status.code == 403 && status.message.contains("being terminated")
        }
        _ => false,
    };
    if !settled {
        tracing::warn!(path, %error, "write failed; will retry");
    }
    settled
}
