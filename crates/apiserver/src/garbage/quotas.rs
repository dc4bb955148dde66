//! The status of quotas: what a namespace uses, counted again whenever something went, ended, or a quota changed.
//!
//! Creates need no help, since they write the quota themselves (see `admission::quota`).

use http::{Method, StatusCode};
use mxjob_store::{Event, EventKind, ListOptions};

use crate::admission::quota::fresh_status;
use crate::client::Connector;
use crate::document;
use crate::kind::Kind;
use crate::registry;
use crate::server::ApiServer;

fn row() -> Option<&'static Kind> {
    registry::find("", "v1", "resourcequotas")
}

/// The namespaces that have quotas.
pub(super) fn namespaces(server: &ApiServer) -> Vec<String> {
    let entries =
        row().and_then(|row| server.store().list(&row.prefix(), &ListOptions::default()).ok());
    let entries = entries.map(|page| page.entries).unwrap_or_default();
    let mut names: Vec<String> = entries
        .iter()
        .map(|entry| document::meta_str(&document::decode(&entry.value), "namespace").to_owned())
        .collect();
    names.dedup();
    names
}

/// The namespace whose quotas an event may have made wrong.
pub(super) fn touched(server: &ApiServer, event: &Event) -> Option<String> {
    let quotas = row()?;
    let in_namespace = |kind: &Kind| {
        Some(event.key.strip_prefix(kind.prefix().as_str())?.split_once('/')?.0.to_owned())
    };
    // A put counts where more than the number of objects does: pods end, services and quotas change.
    let changing = ["pods", "services", "resourcequotas"]
        .into_iter()
        .filter_map(|plural| registry::find("", "v1", plural));
    let namespace = match event.kind {
        EventKind::Put => changing.into_iter().find_map(in_namespace)?,
        EventKind::Delete => server
            .registry()
            .served()
            .kinds()
            .filter(|kind| kind.namespaced)
            .find_map(in_namespace)?,
    };
    let prefix = format!("{}{namespace}/", quotas.prefix());
    let limited = server.store().list(&prefix, &ListOptions { limit: 1, ..ListOptions::default() });
    limited.is_ok_and(|page| !page.entries.is_empty()).then_some(namespace)
}

/// Writes what is used into the quotas of a namespace; false where a write has to be tried again.
pub(super) async fn refresh(server: &ApiServer, api: &Connector, namespace: &str) -> bool {
    let Some(row) = row() else { return true };
    let prefix = format!("{}{namespace}/", row.prefix());
    let Ok(page) = server.store().list(&prefix, &ListOptions::default()) else { return false };
    let mut settled = true;
    for entry in page.entries {
        let mut quota = document::decode(&entry.value);
        let Some(status) = fresh_status(&server.0, &quota, server.0.environment.now()) else {
            continue;
        };
        if let Some(quota) = quota.as_object_mut() {
            quota.insert("status".to_owned(), status);
        }
        let path = format!(
            "/api/v1/namespaces/{namespace}/resourcequotas/{}/status",
            document::meta_str(&quota, "name")
        );
        let (status, _) = api.send(Method::PUT, &path, "application/json", Some(&quota)).await;
        settled &= status.is_success() || status == StatusCode::NOT_FOUND;
    }
    settled
}
