//! Carries out what the vigil over the nodes decides: readiness of nodes that are silent, failure of pods that were lost with them.

use crate::nodes::{Limits, Report, Step, Vigil};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, pin_mut, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use mxjob_api::labels;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Namespace of the leases of nodes, as in Kubernetes.
const LEASES: &str = "kube-node-lease";
/// Why a node is not ready, in Kubernetes' word; it also says that a vigil wrote it.
const UNKNOWN: &str = "NodeStatusUnknown";
/// How soon a step that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Requests about the pods of one node in flight at once.
const PARALLEL: usize = 16;

/// Watches over the nodes for ever.
pub(super) async fn keep(client: Client, limits: Limits, now: fn() -> Timestamp) {
    let mut vigil = Vigil::new(limits);
    let nodes: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let node_events = watcher(nodes, watcher::Config::default()).default_backoff();
    let lease_events = watcher(leases, watcher::Config::default()).default_backoff();
    pin_mut!(node_events, lease_events);
    let mut listed: Option<BTreeSet<String>> = None;
    let mut known = BTreeSet::new();
    let mut awake = Instant::now();
    loop {
        // It wakes at least with every tick: what it is late by, it has slept.
        let slept = awake.elapsed().saturating_sub(vigil.tick());
        if slept > Duration::ZERO {
            vigil.has_slept(slept, Instant::now());
        }
        awake = Instant::now();
        let (steps, mut next) = vigil.steps(awake);
        for step in steps {
            if let Err(error) = take(&client, &mut vigil, &step, now()).await {
                warn!(%error, ?step, "cannot act on the state of a node; trying again");
                next = Some(Instant::now() + RETRY);
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
                    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
                    let renewed = renewed.map(|time| time.0.to_string()).unwrap_or_default();
                    vigil.renewed(&lease.name_any(), &renewed, Instant::now());
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "watch of the leases interrupted"),
            },
            () = timer => {}
        }
    }
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

fn report(node: &Node) -> Report {
    let Some(ready) = ready(node) else { return Report::default() };
    let heartbeat = ready.last_heartbeat_time.as_ref();
    Report {
        ready: ready.status.clone(),
        is_ours: ready.status == "Unknown" && ready.reason.as_deref() == Some(UNKNOWN),
        heartbeat: heartbeat.map(|time| time.0.to_string()).unwrap_or_default(),
    }
}

/// Pods may be bound to nodes that were removed before this controller came.
async fn find_orphans(
    client: &Client,
    vigil: &mut Vigil,
    known: &BTreeSet<String>,
) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::all(client.clone());
    for pod in pods.list(&ListParams::default()).await? {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
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
    let api: Api<Node> = Api::all(client.clone());
    let Some(node) = api.get_opt(name).await? else { return Ok(()) };
    if ready(&node).is_some_and(|ready| ready.status == status) {
        return Ok(()); // the watch is about to tell
    }
    info!(node = name, ready = status, "{message}");
    let heartbeat = ready(&node).and_then(|ready| ready.last_heartbeat_time.clone());
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let others = conditions.into_iter().flatten().filter(|condition| condition.type_ != "Ready");
    let mut conditions: Vec<_> = others.map(|condition| json!(condition)).collect();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    conditions.push(json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": heartbeat, "lastTransitionTime": now,
    }));
    let patch = json!({
        "metadata": { "resourceVersion": node.metadata.resource_version },
        "status": { "conditions": conditions },
    });
    patched(api.patch_status(name, &manager(), &Patch::Merge(&patch)).await)
}

/// Says of the pods of a node that they have failed, and removes those that only wait for the node to end them. Gives how
/// many there were.
async fn fail_pods(client: &Client, node: &str) -> Result<usize, kube::Error> {
    let all: Api<Pod> = Api::all(client.clone());
    let pods = all.list(&ListParams::default().fields(&format!("spec.nodeName={node}"))).await?;
    let is_over = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let pods: Vec<Pod> = pods.into_iter().filter(|pod| !is_over(pod)).collect();
    if !pods.is_empty() {
        warn!(node, pods = pods.len(), "the node is lost, and its pods with it");
    }
    let fails: Vec<_> = pods.iter().map(|pod| fail_pod(client, node, pod).boxed()).collect();
    stream::iter(fails).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(pods.len())
}

async fn fail_pod(client: &Client, node: &str, pod: &Pod) -> Result<(), kube::Error> {
    let name = pod.name_any();
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    if pod.metadata.deletion_timestamp.is_some() {
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let options = DeleteParams::default().grace_period(0).preconditions(preconditions);
        return patched(api.delete(&name, &options).await.map(drop));
    }
    let patch = json!({
        "metadata": { "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version },
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
