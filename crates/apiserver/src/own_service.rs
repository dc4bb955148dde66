//! The service `default/kubernetes`: where this server is, as an object that clients and pods find
//! on every cluster. Upstream's API server keeps it, too.
//!
//! It has no address of its own, since a machine has no network of services: its endpoints are the
//! server's address and port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use http::{Method, StatusCode};
use mxjob_access::identity::{Identity, SYSTEM_MASTERS};
use mxjob_machinery::backoff::Backoff;
use mxjob_machinery::patch::merge_patch;
use serde_json::{Value, json};

use crate::client::Connector;
use crate::server::ApiServer;

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
const PORT_NAME: &str = "https";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The resources of the service's objects: the root of their paths, and the plural.
const RESOURCES: [(&str, &str, &str); 3] = [
    ("/api/v1", "/registry", "services"),
    ("/api/v1", "/registry", "endpoints"),
    ("/apis/discovery.k8s.io/v1", "/registry/discovery.k8s.io", "endpointslices"),
];

impl ApiServer {
    /// Keeps the objects of the service as they should be until `shutdown`. A server that listens
    /// on all addresses is reached through the loopback one.
    pub async fn publish(self, address: SocketAddr, shutdown: impl Future<Output = ()>) {
        let identity = Identity::new("system:apiserver", "", [SYSTEM_MASTERS.to_owned()]);
        let api = self.connector(identity, "mxjob-apiserver");
        let objects = objects(address);
        let keep = async {
            // A watch ends when the log is cut off under it.
            loop {
                follow(&self, &api, &objects).await;
                tokio::time::sleep(FIRST_RETRY).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = keep => {}
        }
    }
}

async fn follow(server: &ApiServer, api: &Connector, objects: &[Value; 3]) {
    let store = server.store();
    let mut changes = SelectAll::new();
    for (_, prefix, plural) in RESOURCES {
        let key = format!("{prefix}/{plural}/{NAMESPACE}/{NAME}");
        let Ok(watch) = store.watch(&key, store.revision()) else { return };
        changes.push(watch);
    }
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    loop {
        if write(api, objects).await {
            backoff.reset();
            match changes.next().await {
                Some(Ok(_)) => {}
                _ => return,
            }
        } else {
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }
}

/// Creates what is missing and repairs what differs; false if a write failed.
async fn write(api: &Connector, objects: &[Value; 3]) -> bool {
    let mut settled = true;
    for ((root, _, plural), wanted) in RESOURCES.iter().zip(objects) {
        let collection = format!("{root}/namespaces/{NAMESPACE}/{plural}");
        let path = format!("{collection}/{NAME}");
        let (status, stored) = api.send(Method::GET, &path, JSON, None).await;
        let (status, answer) = if status == StatusCode::NOT_FOUND {
            api.send(Method::POST, &collection, JSON, Some(wanted)).await
        } else if status.is_success() && merge_patch(&stored, wanted) == stored {
            continue;
        } else {
            api.send(Method::PATCH, &path, MERGE, Some(wanted)).await
        };
        // Another writer was faster: the next pass compares again.
        if !status.is_success() {
            let message = answer["message"].as_str().unwrap_or_default();
            tracing::warn!(path, message, "could not write the server's own service; will retry");
            settled = false;
        }
    }
    settled
}

fn objects(address: SocketAddr) -> [Value; 3] {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let port = json!({ "name": PORT_NAME, "port": address.port(), "protocol": "TCP" });
    let mut service_port = port.clone();
    service_port["targetPort"] = address.port().into();
    let meta = |labels: Value| json!({ "name": NAME, "namespace": NAMESPACE, "labels": labels });
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": meta(json!({ "component": "apiserver", "provider": "kubernetes" })),
            "spec": {
                "type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"],
                "ipFamilies": [family], "ports": [service_port],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": meta(json!({ "endpointslice.kubernetes.io/skip-mirror": "true" })),
            "subsets": [{ "addresses": [{ "ip": ip.to_string() }], "ports": [port] }],
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": meta(json!({ "kubernetes.io/service-name": NAME })),
            "addressType": family,
            "endpoints": [{ "addresses": [ip.to_string()], "conditions": { "ready": true } }],
            "ports": [port],
        }),
    ]
}
