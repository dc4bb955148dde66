//! Creates the claims of `ephemeral` volumes of pods. The garbage collector deletes them with their
//! pod.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::Method;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource as _};
use mxjob_client::Raw;
use mxjob_client::request::JSON;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::object;
use serde_json::{Value, json};

use crate::api;

/// The service account of this controller.
pub const ACCOUNT: &str = "ephemeral-volume-controller";

/// Delay before claims that could not be created are created again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Creates claims until `shutdown`. Keeps nothing but what could not be created yet: pods without
/// such volumes, nearly all, cost no memory.
pub async fn run(client: Client, shutdown: impl Future<Output = ()>) {
    let pods = Api::<Raw>::all_with(client.clone(), &api::built_in("", "Pod", "pods"));
    let mut events = pin!(watcher(pods, watcher::Config::default()).default_backoff());
    let mut shutdown = pin!(shutdown);
    // By the uid of the pod.
    let mut pending: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    loop {
        let retry = async {
            match pending.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(RETRY_DELAY).await,
            }
        };
        tokio::select! {
            () = &mut shutdown => return,
            event = events.next() => match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                    let uid = pod.meta().uid.clone().unwrap_or_default();
                    // Also a pod that has ended meanwhile.
                    pending.remove(&uid);
                    let claims = create(&client, claims(&pod.value)).await;
                    if !claims.is_empty() {
                        pending.insert(uid, claims);
                    }
                }
                Some(Ok(Event::Delete(pod))) => {
                    pending.remove(pod.meta().uid.as_deref().unwrap_or_default());
                }
                // The list has every pod.
                Some(Ok(Event::Init)) => pending.clear(),
                Some(Ok(Event::InitDone)) => {}
                Some(Err(error)) => tracing::warn!(%error, "watch of pods interrupted; will retry"),
                None => return,
            },
            () = retry => {
                for (uid, claims) in std::mem::take(&mut pending) {
                    let claims = create(&client, claims).await;
                    if !claims.is_empty() {
                        pending.insert(uid, claims);
                    }
                }
            }
        }
    }
}

/// Creates claims. Returns those that could not be created.
async fn create(client: &Client, claims: Vec<Value>) -> Vec<Value> {
    let mut failed = Vec::new();
    for claim in claims {
        let namespace = object::meta_str(&claim, "namespace");
        let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
        // The node does not mount an existing claim that is not the pod's.
        if !api::write(client, Method::POST, &path, JSON, Some(&claim)).await {
            failed.push(claim);
        }
    }
    failed
}

/// The claims that a pod needs before it can start.
fn claims(pod: &Value) -> Vec<Value> {
    let is_waiting = matches!(text(pod, "/status/phase"), "" | "Pending");
    if object::is_terminating(pod) || !is_waiting {
        return Vec::new();
    }
    let claim = |volume: &Value| {
        let template = volume.pointer("/ephemeral/volumeClaimTemplate")?;
        let given = |pointer: &str| template.pointer(pointer).cloned().unwrap_or_default();
        let (name, uid) = (object::meta_str(pod, "name"), object::meta_str(pod, "uid"));
        Some(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": format!("{name}-{}", text(volume, "/name")),
                "namespace": object::meta_str(pod, "namespace"),
                "labels": given("/metadata/labels"),
                "annotations": given("/metadata/annotations"),
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid,
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": given("/spec"),
        }))
    };
    list(pod, "/spec/volumes").iter().filter_map(claim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_pod_needs_a_claim_for_each_ephemeral_volume() {
        let spec = json!({ "accessModes": ["ReadWriteOnce"] });
        let template = json!({ "metadata": { "labels": { "a": "b" } }, "spec": spec });
        let pod = |phase: &str| {
            json!({
                "metadata": { "name": "p", "namespace": "ns", "uid": "u" },
                "spec": { "volumes": [
                    { "name": "v", "ephemeral": { "volumeClaimTemplate": template } },
                    { "name": "w", "emptyDir": {} },
                    { "name": "x", "ephemeral": null },
                ] },
                "status": { "phase": phase },
            })
        };
        for phase in ["", "Pending"] {
            let claims = claims(&pod(phase));
            assert_eq!(claims.len(), 1);
            let meta = &claims[0]["metadata"];
            assert_eq!((&meta["name"], &meta["namespace"]), (&json!("p-v"), &json!("ns")));
            assert_eq!(meta["ownerReferences"][0]["uid"], "u");
            assert_eq!(meta["labels"], json!({ "a": "b" }));
            assert_eq!(claims[0]["spec"], spec);
        }
        for phase in ["Running", "Succeeded", "Failed"] {
            assert_eq!(claims(&pod(phase)), Vec::<Value>::new(), "{phase}");
        }
        let mut leaving = pod("Pending");
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(claims(&leaving), Vec::<Value>::new());
    }
}
