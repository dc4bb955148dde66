//! The controllers of definitions: the objects of a deleted definition are deleted before it, and
//! names that it used are free for other definitions. Upstream's API server runs these itself, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use mxjob_access::identity::{Identity, SYSTEM_MASTERS};
use mxjob_machinery::backoff::Backoff;
use mxjob_machinery::json::text;
use mxjob_machinery::names::Namespace;
use mxjob_store::{Entry, Event, EventKind, Expect, ListOptions, Op, Transaction};
use serde_json::{Value, json};

use crate::client::Connector;
use crate::definitions::{PREFIX, unaccepted};
use crate::document;
use crate::kinds::definition::FINALIZER;
use crate::server::ApiServer;

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
/// Prefix of the keys of all objects.
const EVERYTHING: &str = "/registry/";
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Number of objects in one transaction.
const MAX_BATCH: usize = 500;

impl ApiServer {
    /// Finalizes deleted definitions of custom resources until `shutdown`.
    pub async fn finalize_definitions(self, shutdown: impl Future<Output = ()>) {
        let identity = Identity::new("system:apiserver", "", [SYSTEM_MASTERS.to_owned()]);
        let api = self.connector(identity, "mxjob-apiserver");
        let finalize = async {
            // The watch ends when the log is cut off under it.
            loop {
                follow(&self, &api).await;
                tokio::time::sleep(FIRST_RETRY).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = finalize => {}
        }
    }
}

async fn follow(server: &ApiServer, api: &Connector) {
    let store = server.store();
    let Ok(mut events) = store.watch(EVERYTHING, store.revision()) else { return };
    let mut names = BTreeSet::new();
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    loop {
        let settled = pass(server, api, &mut names).await;
        let retry = async {
            if settled {
                std::future::pending().await
            } else {
                tokio::time::sleep(backoff.next_delay()).await
            }
        };
        tokio::select! {
            () = retry => continue,
            is_open = next_change(&mut events, server, !settled, &mut names) => {
                if !is_open {
                    return;
                }
            }
        }
        backoff.reset();
    }
}

/// Waits for a change that matters: of a definition, or the deletion of an object that a deleted
/// definition waits for. False when the watch has ended.
async fn next_change(
    events: &mut mxjob_store::Watch,
    server: &ApiServer,
    is_waiting: bool,
    names: &mut BTreeSet<String>,
) -> bool {
    while let Some(Ok(event)) = events.next().await {
        let mut matters = note(&event, server, is_waiting, names);
        while let Some(more) = events.try_next() {
            let Ok(event) = more else { return false };
            matters |= note(&event, server, is_waiting, names);
        }
        if matters {
            return true;
        }
    }
    false
}

/// Whether an event matters. Collects the definitions whose names may be free now.
fn note(event: &Event, server: &ApiServer, is_waiting: bool, names: &mut BTreeSet<String>) -> bool {
    let is_delete = matches!(event.kind, EventKind::Delete);
    let Some(name) = event.key.strip_prefix(PREFIX) else { return is_waiting && is_delete };
    if is_delete {
        let group = name.split_once('.').map_or("", |(_, group)| group);
        names.extend(unaccepted(server.store(), group));
    }
    true
}

/// Does what can be done now; false if something is left.
async fn pass(server: &ApiServer, api: &Connector, names: &mut BTreeSet<String>) -> bool {
    let mut settled = true;
    for name in std::mem::take(names) {
        if !recheck_names(api, &name).await {
            names.insert(name);
            settled = false;
        }
    }
    let page = server.store().list(PREFIX, &ListOptions::default());
    for entry in page.map(|page| page.entries).unwrap_or_default() {
        let definition = document::decode(&entry.value);
        if document::is_terminating(&definition) {
            settled &= empty(server, api, document::meta_str(&definition, "name")).await;
        }
    }
    settled
}

fn path(name: &str) -> String {
    format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
}

/// Deletes the objects of a definition that is being deleted, and its finalizer when none is left;
/// false if objects are left.
async fn empty(server: &ApiServer, api: &Connector, name: &str) -> bool {
    let (status, definition) = api.send(Method::GET, &path(name), JSON, None).await;
    if status == StatusCode::NOT_FOUND {
        return true;
    }
    if !status.is_success() {
        return false;
    }
    let finalizers = document::finalizers(&definition);
    let held = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    if !document::is_terminating(&definition) || !held {
        return true;
    }
    let (group, plural) =
        (text(&definition, "/spec/group"), text(&definition, "/spec/names/plural"));
    // A definition of a built-in kind does not own the objects of that kind.
    if !server.registry().is_built_in(group, plural) {
        let prefix = format!("/registry/{group}/{plural}/");
        let Ok(page) = server.store().list(&prefix, &ListOptions::default()) else { return false };
        if !page.entries.is_empty() {
            remove(server, api, &prefix, &page.entries).await;
            // The next pass sees whether finalizers hold some of them.
            return false;
        }
    }
    let kept: Vec<String> = finalizers.into_iter().filter(|it| it != FINALIZER).collect();
    let version = document::meta_str(&definition, "resourceVersion");
    let patch = json!({ "metadata": { "finalizers": kept, "resourceVersion": version } });
    let (status, _) = api.send(Method::PATCH, &path(name), MERGE, Some(&patch)).await;
    status.is_success() || status == StatusCode::NOT_FOUND
}

/// Deletes the objects of a definition that finalizers do not hold.
async fn remove(server: &ApiServer, api: &Connector, prefix: &str, entries: &[Entry]) {
    let served = server.registry().served();
    if let Some(row) = served.resources().find(|kind| kind.prefix() == prefix) {
        let namespaces: BTreeSet<Option<Namespace<'_>>> = entries
            .iter()
            .filter_map(|entry| entry.key.strip_prefix(prefix))
            .map(|rest| rest.split_once('/').and_then(|(namespace, _)| Namespace::new(namespace)))
            .collect();
        for namespace in namespaces {
            let _ = api.send(Method::DELETE, &row.collection_path(namespace), JSON, None).await;
        }
        return;
    }
    // No version is served, so no client can delete the objects or drop their finalizers. They must
    // not come back with the next definition of that name.
    for entries in entries.chunks(MAX_BATCH) {
        let remove = |entry: &Entry| Op::Delete {
            key: Arc::clone(&entry.key),
            expect: Expect::At(entry.revision),
        };
        let transaction = Transaction(entries.iter().map(remove).collect());
        if let Err(error) = server.0.services.commit(transaction).await {
            let message = error.status().message.as_deref();
            tracing::warn!(prefix, message, "cannot delete objects of a definition; will retry");
        }
    }
}

/// Checks the names of a definition again: any write does that.
async fn recheck_names(api: &Connector, name: &str) -> bool {
    let nothing = Value::Object(serde_json::Map::new());
    let (status, _) = api.send(Method::PATCH, &path(name), MERGE, Some(&nothing)).await;
    status.is_success() || status == StatusCode::NOT_FOUND
}
