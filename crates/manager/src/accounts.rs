//! The service account `default` of each namespace.

use std::collections::BTreeSet;
use std::future::Future;

use http::Method;
use kube::runtime::reflector::Store;
use kube::{Client, Resource as _};
use mxjob_client::Raw;
use mxjob_client::request::JSON;
use serde_json::json;

use crate::api::{self, Caches, Settled};

/// The service account of this controller.
pub const ACCOUNT: &str = "service-account-controller";
const DEFAULT: &str = "default";

/// Creates missing `default` service accounts until `shutdown`.
pub async fn run(client: Client, shutdown: impl Future<Output = ()>) {
    let mut caches = Caches::new(client.clone());
    let namespaces = caches.add(&api::built_in("", "Namespace", "namespaces"));
    let accounts = caches.add(&api::built_in("", "ServiceAccount", "serviceaccounts"));
    let pass = || create_missing(&client, &namespaces, &accounts);
    caches.run(&[&namespaces, &accounts], pass, shutdown).await;
}

async fn create_missing(
    client: &Client,
    namespaces: &Store<Raw>,
    accounts: &Store<Raw>,
) -> Settled {
    let accounts = accounts.state();
    let have: BTreeSet<&str> = accounts
        .iter()
        .filter(|account| account.meta().name.as_deref() == Some(DEFAULT))
        .filter_map(|account| account.meta().namespace.as_deref())
        .collect();
    let mut settled = true;
    for namespace in namespaces.state().iter().filter(|namespace| !namespace.is_leaving()) {
        let Some(name) = namespace.meta().name.as_deref().filter(|name| !have.contains(name))
        else {
            continue;
        };
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT}});
        settled &= api::write(client, Method::POST, &path, JSON, Some(&account)).await;
    }
    settled
}
