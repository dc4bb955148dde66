//! Carries out the decisions of [`NodeMonitor`]: the readiness of silent nodes, and the failure of
//! pods that were lost with them.
//!
//! All objects are read as JSON: a field of an unexpected type counts as absent and does not affect
//! other objects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

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
use tracing::{debug, info, warn};

use crate::nodes::{Limits, NodeAction, NodeMonitor, NodeReport};

/// Namespace of the leases of nodes, as in Kubernetes.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Kubernetes' reason for a node that is not ready. It also marks the condition as written by a
/// node monitor.
const UNKNOWN_REASON: &str = "NodeStatusUnknown";
/// Wait before a failed action is retried.
const RETRY: Duration = Duration::from_secs(1);
/// Wait before an action is retried that the server refuses because of the object.
const SKIP_REFUSED_FOR: Duration = Duration::from_secs(60);
/// Maximum of parallel requests for the pods of one node.
const MAX_PARALLEL_REQUESTS: usize = 16;

/// Monitors the nodes until it is aborted.
pub(super) async fn run(client: Client, limits: Limits, now: fn() -> Timestamp) {
    let mut monitor = NodeMonitor::new(limits);
    let nodes = all_of::<Node>(&client);
    let leases = Api::<Raw>::namespaced_with(
        client.clone(),
        LEASE_NAMESPACE,
        &ApiResource::erase::<Lease>(&()),
    );
    let node_events = watcher(nodes, watcher::Config::default()).default_backoff();
    let lease_events = watcher(leases, watcher::Config::default()).default_backoff();
    pin_mut!(node_events, lease_events);
    let mut listed: Option<BTreeSet<String>> = None;
    let mut known = BTreeSet::new();
    let mut awake = Instant::now();
    // Nodes that the server refuses to change, and until when they are skipped.
    let mut refused: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        // It wakes at least at every tick: any delay beyond that is time in which it slept.
        let slept = awake.elapsed().saturating_sub(monitor.tick());
        if slept > Duration::ZERO {
            monitor.has_slept(slept, Instant::now());
        }
        awake = Instant::now();
        let (actions, mut next) = monitor.actions(awake);
        refused.retain(|_, until| *until > awake);
        for action in &actions {
            if refused.contains_key(action.node()) {
                continue;
            }
            match carry_out(&client, &mut monitor, action, now()).await {
                Ok(()) => {}
                Err(kube::Error::Api(status)) if status.code == 422 => {
                    let why = status.message.as_str();
                    warn!(
                        why,
                        node = action.node(),
                        "the server refused to change the node; skipping it for a minute"
                    );
                    refused.insert(action.node().to_owned(), awake + SKIP_REFUSED_FOR);
                }
                Err(error) => {
                    warn!(%error, ?action, "could not act on the state of a node; will retry");
                    next = Some(Instant::now() + RETRY);
                }
            }
        }
        let tick = awake + monitor.tick();
        let timer = tokio::time::sleep_until(next.map_or(tick, |next| next.min(tick)).into());
        tokio::select! {
            Some(event) = node_events.next() => match event {
                Ok(watcher::Event::Init) => listed = Some(BTreeSet::new()),
                Ok(watcher::Event::InitApply(node)) => {
                    if let Some(listed) = &mut listed {
                        listed.insert(node.name_any());
                    }
                    monitor.reported(&node.name_any(), &report(&node), Instant::now());
                }
                Ok(watcher::Event::Apply(node)) => {
                    known.insert(node.name_any());
                    monitor.reported(&node.name_any(), &report(&node), Instant::now());
                }
                Ok(watcher::Event::Delete(node)) => monitor.removed(&node.name_any(), Instant::now()),
                Ok(watcher::Event::InitDone) => {
                    let listed = listed.take().unwrap_or_default();
                    for gone in known.difference(&listed) {
                        monitor.removed(gone, Instant::now());
                    }
                    known = listed;
                    if let Err(error) = find_orphans(&client, &mut monitor, &known).await {
                        warn!(%error, "could not list pods of deleted nodes");
                    }
                }
                Err(error) => warn!(%error, "watch of nodes interrupted"),
            },
            Some(event) = lease_events.next() => match event {
                Ok(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease)) => {
                    monitor.renewed(&lease.name_any(), lease.text("/spec/renewTime"), Instant::now());
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "watch of leases interrupted"),
            },
            () = timer => {}
        }
    }
}

/// All objects of a kind, as JSON.
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

fn report(node: &Raw) -> NodeReport {
    let Some(ready) = conditions(node).iter().find(is_ready) else { return NodeReport::default() };
    let status = text(ready, "status");
    NodeReport {
        ready: status.to_owned(),
        is_ours: status == "Unknown" && text(ready, "reason") == UNKNOWN_REASON,
        heartbeat: text(ready, "lastHeartbeatTime").to_owned(),
    }
}

/// Pods may be bound to nodes that were removed before this controller started.
async fn find_orphans(
    client: &Client,
    monitor: &mut NodeMonitor,
    known: &BTreeSet<String>,
) -> Result<(), kube::Error> {
    for pod in all_of::<Pod>(client).list(&ListParams::default()).await? {
        let node = pod.text("/spec/nodeName");
        if !node.is_empty() && !known.contains(node) {
            monitor.has_pods(node, Instant::now());
        }
    }
    Ok(())
}

async fn carry_out(
    client: &Client,
    monitor: &mut NodeMonitor,
    action: &NodeAction,
    now: Timestamp,
) -> Result<(), kube::Error> {
    match action {
        NodeAction::Unreachable(node) => {
            let message = "The node agent has stopped renewing its lease";
            set_ready(client, node, "Unknown", UNKNOWN_REASON, message, now).await
        }
        NodeAction::Reachable(node) => {
            set_ready(client, node, "True", "AgentReady", "the node agent runs", now).await
        }
        NodeAction::Lost(node) => {
            let pods = fail_pods(client, node).await?;
            monitor.swept(node, pods, Instant::now());
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
        return Ok(()); // the watch is about to deliver it
    }
    info!(node = name, ready = status, message, "readiness of a node changed");
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

/// Marks the pods of a node as failed, and removes those that only wait for the node to end them.
/// Returns how many there were.
async fn fail_pods(client: &Client, node: &str) -> Result<usize, kube::Error> {
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = all_of::<Pod>(client).list(&params).await?;
    let is_over = |pod: &Raw| matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
    let pods: Vec<Raw> = pods.into_iter().filter(|pod| !is_over(pod)).collect();
    if !pods.is_empty() {
        warn!(node, pods = pods.len(), "the node was lost; its pods have failed");
    }
    let fails: Vec<_> = pods.iter().map(|pod| fail_pod(client, node, pod).boxed()).collect();
    stream::iter(fails).buffer_unordered(MAX_PARALLEL_REQUESTS).try_collect::<Vec<()>>().await?;
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

/// An object that is gone or has changed is handled by the next action.
fn patched<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
            debug!(message = %status.message, "object changed meanwhile; will retry");
            Ok(())
        }
        result => result.map(drop),
    }
}

fn manager() -> PatchParams {
    PatchParams { field_manager: Some(labels::OPERATOR.to_owned()), ..PatchParams::default() }
}
