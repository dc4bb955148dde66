//! The ConfigMap `kube-root-ca.crt` of each namespace: the certificates by which programs in pods
//! know the API server.

use std::collections::BTreeMap;
use std::future::Future;

use http::Method;
use kube::runtime::reflector::Store;
use kube::{Client, Resource as _};
use mxjob_client::Raw;
use mxjob_client::request::{JSON, MERGE_PATCH};
use mxjob_machinery::json::text;
use serde_json::json;

use crate::api::{self, Caches, Settled};

/// The service account of this controller.
pub const ACCOUNT: &str = "root-ca-cert-publisher";
const NAME: &str = "kube-root-ca.crt";

/// Keeps the ConfigMap of each namespace as it should be until `shutdown`. `authority`: the
/// certificates as PEM.
pub async fn run(client: Client, authority: String, shutdown: impl Future<Output = ()>) {
    let mut caches = Caches::new(client.clone());
    let namespaces = caches.add(&api::built_in("", "Namespace", "namespaces"));
    // Only these: users may have many large ones.
    let own = format!("metadata.name={NAME}");
    let maps = caches.add_selected(&api::built_in("", "ConfigMap", "configmaps"), &own);
    let pass = || publish(&client, &authority, &namespaces, &maps);
    caches.run(&[&namespaces, &maps], pass, shutdown).await;
}

async fn publish(
    client: &Client,
    authority: &str,
    namespaces: &Store<Raw>,
    maps: &Store<Raw>,
) -> Settled {
    let maps = maps.state();
    let have: BTreeMap<&str, &str> = maps
        .iter()
        .filter_map(|map| {
            Some((map.meta().namespace.as_deref()?, text(&map.value, "/data/ca.crt")))
        })
        .collect();
    let mut settled = true;
    for namespace in namespaces.state().iter().filter(|namespace| !namespace.is_leaving()) {
        let Some(name) = namespace.meta().name.as_deref() else { continue };
        let path = format!("/api/v1/namespaces/{name}/configmaps");
        let data = json!({ "ca.crt": authority });
        settled &= match have.get(name) {
            Some(known) if *known == authority => continue,
            Some(_) => {
                let (path, patch) = (format!("{path}/{NAME}"), json!({ "data": data }));
                api::write(client, Method::PATCH, &path, MERGE_PATCH, Some(&patch)).await
            }
            None => {
                let map = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": NAME }, "data": data,
                });
                api::write(client, Method::POST, &path, JSON, Some(&map)).await
            }
        };
    }
    settled
}
