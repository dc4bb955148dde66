//! Carries out what the vigil over the nodes decides: readiness of nodes that are silent, failure of pods that were lost with them.
//!
//! All objects are read as JSON: what one of them has in a wrong place counts as absent, and keeps nothing from the others.

use crate::nodes::{Limits, Report, Step, Vigil};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, pin_mut, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ApiResource, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use mxjob_api::labels;
use mxjob_client::Raw;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Namespace of the leases of nodes, as in Kubernetes.
const LEASES: &str = "kube-node-lease";
/// Why a node is not ready, in Kubernetes' word; it also says that a vigil wrote it.
const UNKNOWN: &str = "NodeStatusUnknown";
/// How soon a step that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How soon a step is tried again that the server refuses for what is in the object.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Requests about the pods of one node in flight at once.
const PARALLEL: usize = 16;

/// Watches over the nodes for ever.
pub(super) async fn keep(client: Client, limits: Limits, now: fn() -> Timestamp) {
    let mut vigil = Vigil::new(limits);
    let nodes = all_of::<Node>(&client);
    let leases =
        Api::<Raw>::namespaced_with(client.clone(), LEASES, &ApiResource::erase::<Lease>(&()));
    let node_events = watcher(nodes, watcher::Config::default()).default_backoff();
    let lease_events = watcher(leases, watcher::Config::default()).default_backoff();
    pin_mut!(node_events, lease_events);
    let mut listed: Option<BTreeSet<String>> = None;
    let mut known = BTreeSet::new();
    let mut awake = Instant::now();
    // Nodes whose objects cannot be written as they are, and until when they are left alone.
    let mut refused: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        // It wakes at least with every tick: what it is late by, it has slept.
        let slept = awake.elapsed().saturating_sub(vigil.tick());
        if slept > Duration::ZERO {
            vigil.has_slept(slept, Instant::now());
        }
        awake = Instant::now();
        let (steps, mut next) = vigil.steps(awake);
        refused.retain(|_, until| *until > awake);
        for step in &steps {
            if refused.contains_key(step.node()) {
                continue;
            }
            match take(&client, &mut vigil, step, now()).await {
                Ok(()) => {}
                Err(kube::Error::Api(status)) if status.code == 422 => {
                    let why = status.message.as_str();
                    warn!(
                        why,
                        node = step.node(),
                        "the server refuses to change the node; leaving it for a while"
                    );
                    refused.insert(step.node().to_owned(), awake + REFUSED_FOR);
                }
                Err(error) => {
                    warn!(%error, ?step, "cannot act on the state of a node; trying again");
                    next = Some(Instant::now() + RETRY);
                }
            }
        }
        let tick = awake + vigil.tick();
        let timer = tokio::time::sleep_until(next.map_or(tick, |next| next.min(tick)).into());
        tokio::select! {
            Some(event) = node_events.next() => match event {
                Ok(watcher::Event::Init) => listed = Some(BTreeSet::new()),
                Ok(watcher::Event::InitApply(node)) => {
                    if let Some(listed) = &mut listed {
                        listed.insert(node.name_any());
                    }
                    vigil.reported(&node.name_any(), &report(&node), Instant::now());
                }
                Ok(watcher::Event::Apply(node)) => {
                    known.insert(node.name_any());
                    vigil.reported(&node.name_any(), &report(&node), Instant::now());
                }
                Ok(watcher::Event::Delete(node)) => vigil.removed(&node.name_any(), Instant::now()),
                Ok(watcher::Event::InitDone) => {
                    let listed = listed.take().unwrap_or_default();
                    for gone in known.difference(&listed) {
                        vigil.removed(gone, Instant::now());
                    }
                    known = listed;
                    if let Err(error) = find_orphans(&client, &mut vigil, &known).await {
                        warn!(%error, "cannot look for pods of nodes that are no more");
                    }
                }
                Err(error) => warn!(%error, "watch of the nodes interrupted"),
            },
            Some(event) = lease_events.next() => match event {
                Ok(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease)) => {
                    vigil.renewed(&lease.name_any(), lease.text("/spec/renewTime"), Instant::now());
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "watch of the leases interrupted"),
            },
            () = timer => {}
        }
    }
}

/// All objects of a kind, unread.
fn all_of<K: kube::Resource<DynamicType = ()>>(client: &Client) -> Api<Raw> {
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}

fn pods_of(client: &Client, namespace: &str) -> Api<Raw> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Pod>(&()))
}

fn conditions(node: &Raw) -> &[Value] {
    let conditions = node.value.pointer("/status/conditions").and_then(Value::as_array);
    conditions.map_or(&[], Vec::as_slice)
}

fn is_ready(condition: &&Value) -> bool {
    text(condition, "type") == "Ready"
}

fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn report(node: &Raw) -> Report {
    let Some(ready) = conditions(node).iter().find(is_ready) else { return Report::default() };
    let status = text(ready, "status");
    Report {
        ready: status.to_owned(),
        is_ours: status == "Unknown" && text(ready, "reason") == UNKNOWN,
        heartbeat: text(ready, "lastHeartbeatTime").to_owned(),
    }
}

/// Pods may be bound to nodes that were removed before this controller came.
async fn find_orphans(
    client: &Client,
    vigil: &mut Vigil,
    known: &BTreeSet<String>,
) -> Result<(), kube::Error> {
    for pod in all_of::<Pod>(client).list(&ListParams::default()).await? {
        let node = pod.text("/spec/nodeName");
        if !node.is_empty() && !known.contains(node) {
            vigil.has_pods(node, Instant::now());
        }
    }
    Ok(())
}

async fn take(
    client: &Client,
    vigil: &mut Vigil,
    step: &Step,
    now: Timestamp,
) -> Result<(), kube::Error> {
    match step {
        Step::Unreachable(node) => {
            let message = "The node agent has stopped to renew its lease";
            set_ready(client, node, "Unknown", UNKNOWN, message, now).await
        }
        Step::Reachable(node) => {
            set_ready(client, node, "True", "AgentReady", "the node agent runs", now).await
        }
        Step::Lost(node) => {
            let pods = fail_pods(client, node).await?;
            vigil.swept(node, pods, Instant::now());
            Ok(())
        }
    }
}

async fn set_ready(
    client: &Client,
    name: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let api = all_of::<Node>(client);
    let Some(node) = api.get_opt(name).await? else { return Ok(()) };
    let ready = conditions(&node).iter().find(is_ready);
    if ready.is_some_and(|ready| text(ready, "status") == status) {
        return Ok(()); // the watch is about to tell
    }
    info!(node = name, ready = status, "{message}");
    let heartbeat = ready.and_then(|ready| ready.get("lastHeartbeatTime"));
    let others = conditions(&node).iter().filter(|condition| !is_ready(condition));
    let mut conditions: Vec<_> = others.cloned().collect();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    conditions.push(json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": heartbeat, "lastTransitionTime": now,
    }));
    let patch = json!({
        "metadata": { "resourceVersion": node.resource_version() },
        "status": { "conditions": conditions },
    });
    patched(api.patch_status(name, &manager(), &Patch::Merge(&patch)).await)
}

/// Says of the pods of a node that they have failed, and removes those that only wait for the node to end them. Gives how
/// many there were.
async fn fail_pods(client: &Client, node: &str) -> Result<usize, kube::Error> {
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = all_of::<Pod>(client).list(&params).await?;
    let is_over = |pod: &Raw| matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
    let pods: Vec<Raw> = pods.into_iter().filter(|pod| !is_over(pod)).collect();
    if !pods.is_empty() {
        warn!(node, pods = pods.len(), "the node is lost, and its pods with it");
    }
    let fails: Vec<_> = pods.iter().map(|pod| fail_pod(client, node, pod).boxed()).collect();
    stream::iter(fails).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(pods.len())
}

async fn fail_pod(client: &Client, node: &str, pod: &Raw) -> Result<(), kube::Error> {
    let name = pod.name_any();
    let api = pods_of(client, &pod.namespace().unwrap_or_default());
    if pod.is_leaving() {
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        let options = DeleteParams::default().grace_period(0).preconditions(preconditions);
        return patched(api.delete(&name, &options).await.map(drop));
    }
    let patch = json!({
        "metadata": { "uid": pod.uid(), "resourceVersion": pod.resource_version() },
        "status": {
            "phase": "Failed",
            "reason": "NodeLost",
            "message": format!("Node {node}, which was running the pod, does not respond"),
        },
    });
    patched(api.patch_status(&name, &manager(), &Patch::Merge(&patch)).await.map(drop))
}

/// What is gone or has changed meanwhile is looked at again by the next step.
fn patched<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
            debug!(message = %status.message, "to be looked at again");
            Ok(())
        }
        result => result.map(drop),
    }
}

fn manager() -> PatchParams {
    PatchParams { field_manager: Some(labels::OPERATOR.to_owned()), ..PatchParams::default() }
}
