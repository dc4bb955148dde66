//! The node lifecycle: the readiness of silent nodes, and the failure of pods that were lost with
//! them. [`monitor`] decides, this module carries the decisions out.
//!
//! All objects are read as JSON: a field of an unexpected type counts as absent and does not affect
//! other objects.

mod monitor;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, pin_mut};
use http::Method;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use mxjob_client::Raw;
use mxjob_client::request::{self, MERGE_PATCH};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::object;
use mxjob_machinery::time::rfc3339;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::api;
use crate::{clock, node_pods};
use monitor::{NodeAction, NodeMonitor, NodeReport};

pub use monitor::Limits;

/// The service account of this controller.
pub const ACCOUNT: &str = "node-controller";
/// Namespace of the leases of nodes, as in Kubernetes.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Kubernetes' reason for a node that is not ready. It also marks the condition as written by a
/// node monitor.
const UNKNOWN_REASON: &str = "NodeStatusUnknown";
/// Wait before a failed action is retried.
const RETRY: Duration = Duration::from_secs(1);
/// Wait before an action is retried that the server refuses because of the object.
const SKIP_REFUSED_FOR: Duration = Duration::from_secs(60);

/// Monitors the nodes until `shutdown`.
pub async fn run(client: Client, limits: Limits, shutdown: impl Future<Output = ()>) {
    let lifecycle = Lifecycle {
        client,
        monitor: NodeMonitor::new(limits),
        listed: BTreeSet::new(),
        refused: BTreeMap::new(),
    };
    tokio::select! {
        () = shutdown => {}
        () = lifecycle.run() => {}
    }
}

struct Lifecycle {
    client: Client,
    monitor: NodeMonitor,
    /// The nodes of a list that has begun.
    listed: BTreeSet<String>,
    /// Nodes that the server refuses to change, and until when they are skipped.
    refused: BTreeMap<String, Instant>,
}

// === impl Lifecycle ===

impl Lifecycle {
    async fn run(mut self) {
        let nodes = api::built_in("", "Node", "nodes");
        let nodes = Api::<Raw>::all_with(self.client.clone(), &nodes);
        let leases = api::built_in("coordination.k8s.io", "Lease", "leases");
        let leases = Api::<Raw>::namespaced_with(self.client.clone(), LEASE_NAMESPACE, &leases);
        let node_events = watcher(nodes, watcher::Config::default()).default_backoff();
        let lease_events = watcher(leases, watcher::Config::default()).default_backoff();
        pin_mut!(node_events, lease_events);
        let mut awake = Instant::now();
        loop {
            // It wakes at least at every tick: any delay beyond that is time in which it slept.
            let slept = awake.elapsed().saturating_sub(self.monitor.tick());
            if slept > Duration::ZERO {
                self.monitor.has_slept(slept, Instant::now());
            }
            awake = Instant::now();
            let wake = self.act(awake).await;
            tokio::select! {
                Some(event) = node_events.next() => self.observe_node(event),
                Some(event) = lease_events.next() => self.observe_lease(event),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn observe_node(&mut self, event: Result<Event<Raw>, watcher::Error>) {
        let now = Instant::now();
        match event {
            Ok(Event::Init) => self.listed.clear(),
            Ok(Event::InitApply(node)) => {
                self.monitor.reported(&node.name_any(), report(&node.value), now);
                self.listed.insert(node.name_any());
            }
            Ok(Event::Apply(node)) => {
                self.monitor.reported(&node.name_any(), report(&node.value), now);
            }
            Ok(Event::Delete(node)) => self.monitor.removed(&node.name_any()),
            Ok(Event::InitDone) => self.monitor.retain(&std::mem::take(&mut self.listed)),
            Err(error) => warn!(%error, "watch of nodes interrupted; will retry"),
        }
    }

    fn observe_lease(&mut self, event: Result<Event<Raw>, watcher::Error>) {
        match event {
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => {
                let time = lease.text("/spec/renewTime");
                self.monitor.renewed(&lease.name_any(), time, Instant::now());
            }
            Ok(Event::Delete(_) | Event::Init | Event::InitDone) => {}
            Err(error) => warn!(%error, "watch of leases interrupted; will retry"),
        }
    }

    /// Does what there is to do now, and returns when to look again.
    async fn act(&mut self, now: Instant) -> Instant {
        let (actions, next) = self.monitor.actions(now);
        let mut wake = now + self.monitor.tick();
        wake = next.map_or(wake, |next| next.min(wake));
        self.refused.retain(|_, until| *until > now);
        for action in actions {
            let node = action.node();
            if self.refused.contains_key(node) {
                continue;
            }
            match self.carry_out(&action).await {
                Ok(()) => {}
                Err(error) if request::code(&error) == Some(422) => {
                    warn!(node, %error, "the server refused to change the node; skipping it for a minute");
                    self.refused.insert(node.to_owned(), now + SKIP_REFUSED_FOR);
                }
                Err(error) => {
                    warn!(%error, ?action, "could not act on the state of a node; will retry");
                    wake = Instant::now() + RETRY;
                }
            }
        }
        wake
    }

    async fn carry_out(&mut self, action: &NodeAction) -> kube::Result<()> {
        match action {
            NodeAction::Unreachable(node) => {
                let message = "The node agent has stopped renewing its lease";
                self.set_ready(node, "Unknown", UNKNOWN_REASON, message).await
            }
            NodeAction::Reachable(node) => {
                self.set_ready(node, "True", "AgentReady", "the node agent runs").await
            }
            NodeAction::Lost(node) => {
                let pods = self.fail_pods(node).await?;
                self.monitor.swept(node, pods, Instant::now());
                Ok(())
            }
        }
    }

    async fn set_ready(
        &self,
        name: &str,
        status: &str,
        reason: &str,
        message: &str,
    ) -> kube::Result<()> {
        let path = format!("/api/v1/nodes/{name}");
        let Some(node) = request::get_opt(&self.client, &path).await? else { return Ok(()) };
        let conditions = list(&node, "/status/conditions");
        let ready = conditions.iter().find(is_ready);
        if ready.is_some_and(|ready| text(ready, "/status") == status) {
            return Ok(()); // the watch is about to deliver it
        }
        info!(node = name, ready = status, message, "readiness of a node changed");
        let others = conditions.iter().filter(|condition| !is_ready(condition));
        let mut conditions: Vec<_> = others.cloned().collect();
        conditions.push(json!({
            "type": "Ready", "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": ready.and_then(|ready| ready.get("lastHeartbeatTime")),
            "lastTransitionTime": rfc3339(clock::now()),
        }));
        let patch = json!({
            "metadata": { "resourceVersion": object::meta_str(&node, "resourceVersion") },
            "status": { "conditions": conditions },
        });
        let path = format!("{path}/status");
        match request::send(&self.client, Method::PATCH, &path, MERGE_PATCH, Some(&patch)).await {
            // Changed or gone: the watch is about to deliver it.
            Err(error) if matches!(request::code(&error), Some(404 | 409)) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Marks the pods of a node as failed, and removes those that only wait for the node to end
    /// them. Returns how many there were.
    async fn fail_pods(&self, node: &str) -> kube::Result<usize> {
        let mut pods = node_pods::bound(&self.client, node).await?;
        pods.retain(|pod| object::is_terminating(pod) || !node_pods::is_over(pod));
        if !pods.is_empty() {
            warn!(node, pods = pods.len(), "the node was lost; its pods have failed");
        }
        let message = format!("Node {node}, which was running the pod, does not respond");
        node_pods::end(&self.client, &pods, &message).await?;
        Ok(pods.len())
    }
}

fn is_ready(condition: &&Value) -> bool {
    text(condition, "/type") == "Ready"
}

fn report(node: &Value) -> NodeReport {
    let ready = list(node, "/status/conditions").iter().find(is_ready);
    let Some(ready) = ready else { return NodeReport::default() };
    let status = text(ready, "/status");
    NodeReport {
        ready: status.to_owned(),
        is_ours: status == "Unknown" && text(ready, "/reason") == UNKNOWN_REASON,
        heartbeat: text(ready, "/lastHeartbeatTime").to_owned(),
    }
}
