//! The end of custom resource definitions: their objects go first. Upstream has a finalizing controller for this.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{Method, StatusCode};
use mxjob_store::{Entry, Expect, ListOptions, Op, Transaction};
use serde_json::{Value, json};

use super::{JSON, MERGE};
use crate::client::Connector;
use crate::document;
use crate::kinds::definition::FINALIZER;
use crate::server::ApiServer;
use mxjob_machinery::json::text;

/// The kind of definitions.
pub(super) const KIND: &str = "CustomResourceDefinition";
/// How many objects are removed at once.
const MOST_REMOVED: usize = 500;

fn path(name: &str) -> String {
    format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
}

/// Deletes the objects of a definition that is being deleted, and lets go of it when none is left; false where it is
/// not yet gone.
pub(super) async fn empty(server: &ApiServer, api: &Connector, name: &str) -> bool {
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
    // The objects of a built-in kind are not its definition's, whoever wrote one.
    if !server.registry().is_built_in(group, plural) {
        let prefix = format!("/registry/{group}/{plural}/");
        let Ok(page) = server.store().list(&prefix, &ListOptions::default()) else { return false };
        if !page.entries.is_empty() {
            remove(server, api, &prefix, &page.entries).await;
            // It is not let go of before the collector has seen all of them go: their dependents are looked at while
            // the kind of their owners is known. Whatever goes wakes this task.
            return false;
        }
    }
    let kept: Vec<String> = finalizers.into_iter().filter(|it| it != FINALIZER).collect();
    let version = document::meta_str(&definition, "resourceVersion");
    let patch = json!({ "metadata": { "finalizers": kept, "resourceVersion": version } });
    let (status, _) = api.send(Method::PATCH, &path(name), MERGE, Some(&patch)).await;
    status.is_success() || status == StatusCode::NOT_FOUND
}

/// Removes the objects of a definition, as far as nothing holds them.
async fn remove(server: &ApiServer, api: &Connector, prefix: &str, entries: &[Entry]) {
    let served = server.registry().served();
    if let Some(row) = served.resources().find(|kind| kind.prefix() == prefix) {
        let namespaces: BTreeSet<&str> = entries
            .iter()
            .filter_map(|entry| entry.key.strip_prefix(prefix))
            .map(|rest| rest.split_once('/').map_or("", |(namespace, _)| namespace))
            .collect();
        for namespace in namespaces {
            let _ = api.send(Method::DELETE, &row.collection_path(namespace), JSON, None).await;
        }
        return;
    }
    // No version of the kind is served, so nobody can reach what is left of it, be it to watch it or to drop a
    // finalizer. It must not come back with the next definition of that name.
    for entries in entries.chunks(MOST_REMOVED) {
        let remove = |entry: &Entry| Op::Delete {
            key: Arc::clone(&entry.key),
            expect: Expect::At(entry.revision),
        };
        let transaction = Transaction(entries.iter().map(remove).collect());
        if let Err(error) = server.0.commit(transaction).await {
            let message = error.status().message.as_deref();
            tracing::warn!(prefix, message, "objects of a definition could not be removed yet");
        }
    }
}

/// Has the names of a definition looked at again: any write does that.
pub(super) async fn look_again(api: &Connector, name: &str) -> bool {
    let nothing = Value::Object(serde_json::Map::new());
    let (status, _) = api.send(Method::PATCH, &path(name), MERGE, Some(&nothing)).await;
    status.is_success() || status == StatusCode::NOT_FOUND
}
