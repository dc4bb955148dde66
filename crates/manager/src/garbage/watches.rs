//! One watch for each resource.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{AbortHandle, BoxStream, SelectAll, abortable};
use futures_util::{FutureExt as _, StreamExt as _};
use kube::Client;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use mxjob_client::Raw;

use super::resource::Resource;

/// An event of a resource.
pub(super) type Item = (Arc<Resource>, Result<Event<Raw>, watcher::Error>);

/// The watches of all resources.
#[derive(Default)]
pub(super) struct Watches {
    events: SelectAll<BoxStream<'static, Item>>,
    by_id: BTreeMap<String, Watch>,
}

struct Watch {
    resource: Arc<Resource>,
    handle: AbortHandle,
    /// Whether all objects have been listed.
    is_filled: bool,
    /// The uids of the objects in a list that has begun.
    listed: BTreeSet<String>,
}

// === impl Watches ===

impl Watches {
    /// Watches a resource, unless that is done already. Returns whether the watch is new.
    pub(super) fn start(&mut self, client: &Client, resource: &Arc<Resource>) -> bool {
        let id = &resource.id;
        if self.by_id.get(id).is_some_and(|watch| watch.resource == *resource) {
            return false;
        }
        self.stop(id);
        let api = kube::Api::<Raw>::all_with(client.clone(), &resource.api_resource());
        let of = Arc::clone(resource);
        let events = watcher(api, watcher::Config::default())
            .default_backoff()
            .map(move |event| (Arc::clone(&of), event));
        let (events, handle) = abortable(events);
        self.events.push(events.boxed());
        let watch = Watch {
            resource: Arc::clone(resource),
            handle,
            is_filled: false,
            listed: BTreeSet::new(),
        };
        self.by_id.insert(id.clone(), watch);
        true
    }

    /// Ends the watch of a resource.
    pub(super) fn stop(&mut self, id: &str) {
        if let Some(watch) = self.by_id.remove(id) {
            watch.handle.abort();
        }
    }

    /// The resources that are watched.
    pub(super) fn ids(&self) -> Vec<String> {
        self.by_id.keys().cloned().collect()
    }

    /// Whether every resource has been listed in full.
    pub(super) fn are_filled(&self) -> bool {
        self.by_id.values().all(|watch| watch.is_filled)
    }

    /// Records that a list of a resource begins.
    pub(super) fn list_begins(&mut self, id: &str) {
        if let Some(watch) = self.by_id.get_mut(id) {
            watch.listed.clear();
        }
    }

    /// Records an object of a list.
    pub(super) fn list_has(&mut self, id: &str, uid: &str) {
        if let Some(watch) = self.by_id.get_mut(id) {
            watch.listed.insert(uid.to_owned());
        }
    }

    /// Records that a list is complete, and returns the uids in it.
    pub(super) fn list_ends(&mut self, id: &str) -> BTreeSet<String> {
        let Some(watch) = self.by_id.get_mut(id) else { return BTreeSet::new() };
        watch.is_filled = true;
        std::mem::take(&mut watch.listed)
    }

    /// The next event of any resource; waits for ever while nothing is watched. Cancellation safe.
    pub(super) async fn next(&mut self) -> Item {
        match self.events.next().await {
            Some(item) => item,
            None => std::future::pending().await,
        }
    }

    /// The next event that has already arrived.
    pub(super) fn try_next(&mut self) -> Option<Item> {
        Pin::new(&mut self.events).next().now_or_never().flatten()
    }
}
