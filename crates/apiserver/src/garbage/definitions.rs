//! The end of custom resource definitions: their objects go first. Upstream has a finalizing controller for this.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use mxjob_store::ListOptions;
use serde_json::{Value, json};

use super::{JSON, MERGE};
use crate::client::Connector;
use crate::definitions::FINALIZER;
use crate::document;
use crate::kinds::text;
use crate::server::ApiServer;

/// The kind of definitions.
pub(super) const KIND: &str = "CustomResourceDefinition";

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
    let prefix = format!("/registry/{group}/{plural}/");
    let Ok(page) = server.store().list(&prefix, &ListOptions::default()) else { return false };
    let served = server.registry().served();
    let row = served.resources().find(|kind| kind.group == group && kind.plural == plural);
    if let (false, Some(row)) = (page.entries.is_empty(), row) {
        let namespaces: BTreeSet<&str> = page
            .entries
            .iter()
            .filter_map(|entry| entry.key.strip_prefix(&prefix))
            .map(|rest| rest.split_once('/').map_or("", |(namespace, _)| namespace))
            .collect();
        for namespace in namespaces {
            let _ = api.send(Method::DELETE, &row.collection_path(namespace), JSON, None).await;
        }
        // What goes at once is gone now; finalizers may hold the rest.
        let left =
            server.store().list(&prefix, &ListOptions { limit: 1, ..ListOptions::default() });
        if !left.is_ok_and(|page| page.entries.is_empty()) {
            return false;
        }
    }
    let kept: Vec<String> = finalizers.into_iter().filter(|it| it != FINALIZER).collect();
    let version = document::meta_str(&definition, "resourceVersion");
    let patch = json!({ "metadata": { "finalizers": kept, "resourceVersion": version } });
    let (status, _) = api.send(Method::PATCH, &path(name), MERGE, Some(&patch)).await;
    status.is_success() || status == StatusCode::NOT_FOUND
}

/// Has the names of a definition looked at again: any write does that.
pub(super) async fn look_again(api: &Connector, name: &str) -> bool {
    let nothing = Value::Object(serde_json::Map::new());
    let (status, _) = api.send(Method::PATCH, &path(name), MERGE, Some(&nothing)).await;
    status.is_success() || status == StatusCode::NOT_FOUND
}
