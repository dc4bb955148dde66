//! Binds pods without a node to this one, if they fit.
//!
//! With only one node there is no choice: a pod is bound unless it has scheduling gates, names
//! another scheduler, selects or requires another node, does not tolerate a taint of the node (a
//! cordoned node has one), or requests more than is free. Such a pod stays pending with a condition
//! in the wording of Kubernetes' scheduler, and is tried again when resources become free. Pods are
//! tried in the order of their arrival. One that does not fit delays no other: the controller
//! admits jobs that must start as a whole.

mod affinity;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint, Toleration};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use mxjob_client::{Lenient, Raw};
use mxjob_machinery::{
    backoff::Backoff,
    resources::{PODS, Resources},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Context, events::Level, register, status::seconds};
use crate::clock;

/// The first and the longest delay before a failed binding is retried.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

pub(super) struct Binder {
    context: Arc<Context>,
    /// The allocatable resources minus `held`.
    free: Resources,
    /// The requests of pods that are bound to the node or are being bound, by uid. Finished pods
    /// hold nothing.
    held: HashMap<String, Resources>,
    /// Pods that do not fit, by order of arrival.
    waiting: BTreeMap<u64, Waiting>,
    arrivals: u64,
    /// Whether a list of all pods is incomplete. Nothing is bound before all bound pods are known.
    is_listing: bool,
    /// What the Node object says about new pods. Nothing is bound before it is known.
    node: Option<NodeRules>,
    /// API requests in progress. After a lost response the next change of the pod causes a new
    /// request.
    requests: JoinSet<()>,
}

/// The part of the Node object that decides about new pods.
#[derive(Debug, PartialEq)]
struct NodeRules {
    labels: BTreeMap<String, String>,
    /// Taints that keep new pods away.
    taints: Vec<Taint>,
}

/// The taint of a cordoned node.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The scheduler whose pods this module binds: Kubernetes' default.
const OWN_SCHEDULER: &str = "default-scheduler";

struct Waiting {
    pod: Pod,
    uid: String,
    /// Its resource requests.
    requested: Resources,
    /// The message of its last event.
    last_message: String,
}

impl Binder {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let allocatable = register::allocatable(context.runtime.state_dir(), &context.devices);
        let free = Resources::from_list(Some(&allocatable));
        Self {
            context,
            free,
            held: HashMap::new(),
            waiting: BTreeMap::new(),
            arrivals: 0,
            is_listing: true,
            node: None,
            requests: JoinSet::new(),
        }
    }

    /// Cancels the requests in progress.
    pub(super) async fn finish(&mut self) {
        self.requests.shutdown().await;
    }

    /// The Node object is new or has changed. Pods that have to wait are tried again.
    pub(super) fn node_changed(&mut self, node: &Node) {
        let rules = NodeRules::read(node);
        if self.node.as_ref() != Some(&rules) {
            self.node = Some(rules);
            self.retry_waiting();
        }
    }

    fn is_ready(&self) -> bool {
        !self.is_listing && self.node.is_some()
    }

    /// A new list of all pods begins.
    pub(super) fn begin_list(&mut self) {
        self.is_listing = true;
    }

    /// The list of all pods is complete.
    pub(super) fn end_list(&mut self, is_listed: impl Fn(&str) -> bool) {
        self.is_listing = false;
        for (_, gone) in self.held.extract_if(|uid, _| !is_listed(uid)) {
            self.free.add(&gone);
        }
        self.waiting.retain(|_, waiting| is_listed(&waiting.uid));
        self.retry_waiting();
    }

    /// A pod is bound to this node or to another.
    pub(super) fn pod_bound(&mut self, pod: &Pod, uid: &str, ours: bool) {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        self.pod_holds(uid, ours, phase.unwrap_or_default(), || requests(pod));
    }

    /// An unreadable pod is bound to this node. It holds its resources as long as it exists.
    pub(super) fn bound_unreadable(&mut self, pod: &Raw, uid: &str) {
        let requested = || Resources::of_pod(pod.value.get("spec").unwrap_or(&Value::Null));
        self.pod_holds(uid, true, pod.text("/status/phase"), requested);
    }

    fn pod_holds(
        &mut self,
        uid: &str,
        ours: bool,
        phase: &str,
        requested: impl FnOnce() -> Resources,
    ) {
        self.waiting.retain(|_, waiting| waiting.uid != uid);
        if !ours || matches!(phase, "Succeeded" | "Failed") {
            self.release(uid);
        } else if !self.held.contains_key(uid) {
            self.reserve(uid.to_owned(), requested());
        }
    }

    /// A pod was removed from the API.
    pub(super) fn pod_removed(&mut self, uid: &str) {
        self.waiting.retain(|_, waiting| waiting.uid != uid);
        self.release(uid);
    }

    /// Binds a pod, or makes it wait.
    pub(super) fn try_pod(&mut self, pod: &Pod, uid: &str) {
        let position = self.waiting.iter().find(|(_, waiting)| waiting.uid == uid);
        let position = position.map(|(position, _)| *position).unwrap_or_else(|| {
            self.arrivals += 1;
            self.arrivals
        });
        let (requested, last_message) = match self.waiting.remove(&position) {
            Some(waiting) => (waiting.requested, waiting.last_message),
            None => (requests(pod), String::new()),
        };
        self.waiting.insert(
            position,
            Waiting { pod: pod.clone(), uid: uid.to_owned(), requested, last_message },
        );
        if self.is_ready() {
            self.try_to_bind(position, true);
        }
    }

    fn reserve(&mut self, uid: String, requested: Resources) {
        self.free.subtract(&requested);
        if let Some(before) = self.held.insert(uid, requested) {
            self.free.add(&before);
        }
    }

    fn release(&mut self, uid: &str) {
        let Some(held) = self.held.remove(uid) else { return };
        self.free.add(&held);
        self.retry_waiting();
    }

    fn retry_waiting(&mut self) {
        if !self.is_ready() {
            return;
        }
        let positions: Vec<u64> = self.waiting.keys().copied().collect();
        for position in positions {
            self.try_to_bind(position, false);
        }
    }

    /// `pod_changed`: whether `pod` is the newest version, whose conditions may need an update.
    fn try_to_bind(&mut self, position: u64, pod_changed: bool) {
        while self.requests.try_join_next().is_some() {}
        let Some(Waiting { pod, uid, requested, last_message }) = self.waiting.remove(&position)
        else {
            return;
        };
        let Some(spec) = &pod.spec else { return };
        // The API server removes a pod that is deleted before it is bound.
        let waits = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        if waits || pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        if let Some(scheduler) = other_scheduler(spec) {
            let message = format!(
                "pod {} waits for the scheduler {scheduler}: this node takes only pods of {OWN_SCHEDULER}",
                pod.name_any()
            );
            if message != last_message {
                let events = &self.context.events;
                events.pod(&pod, Level::Warning, "OtherScheduler", message.clone());
                events.owner(&pod, Level::Warning, "OtherScheduler", message.clone());
            }
            self.waiting.insert(position, Waiting { pod, uid, requested, last_message: message });
            return;
        }
        let Some(reason) = self.unschedulable_reason(&pod, &uid, &requested) else {
            self.reserve(uid, requested);
            self.requests.spawn(bind(Arc::clone(&self.context), pod));
            return;
        };
        let message = format!("0/1 nodes are available: {reason}.");
        if message != last_message {
            self.context.events.pod(&pod, Level::Warning, "FailedScheduling", message.clone());
        }
        if message != last_message || pod_changed {
            self.requests.spawn(report_unschedulable(
                Arc::clone(&self.context),
                pod.clone(),
                message.clone(),
            ));
        }
        self.waiting.insert(position, Waiting { pod, uid, requested, last_message: message });
    }

    /// Why a pod cannot be bound, in the wording of Kubernetes' scheduler.
    fn unschedulable_reason(&self, pod: &Pod, uid: &str, requested: &Resources) -> Option<String> {
        if self.held.contains_key(uid) {
            return None; // it is being bound
        }
        let spec = pod.spec.as_ref();
        if let Some(taint) =
            self.node.as_ref().and_then(|node| node.untolerated(spec?.tolerations.as_deref()))
        {
            if taint.key == UNSCHEDULABLE {
                return Some("1 node(s) were unschedulable".to_owned());
            }
            let value = taint.value.as_deref().unwrap_or_default();
            return Some(format!("1 node(s) had untolerated taint {{{}: {value}}}", taint.key));
        }
        if let (Some(node), Some(spec)) = (&self.node, spec)
            && let Some(mismatch) =
                affinity::mismatch(spec, &self.context.config.node_name, &node.labels)
        {
            return Some(mismatch);
        }
        let lacks: Vec<String> = requested
            .lacking(&self.free)
            .map(|name| match name {
                PODS => "1 Too many pods".to_owned(),
                name => format!("1 Insufficient {name}"),
            })
            .collect();
        (!lacks.is_empty()).then(|| lacks.join(", "))
    }
}

// === impl NodeRules ===

impl NodeRules {
    fn read(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let mut taints: Vec<Taint> = spec
            .and_then(|spec| spec.taints.as_ref())
            .into_iter()
            .flatten()
            .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
            .cloned()
            .collect();
        let is_cordoned = spec.and_then(|spec| spec.unschedulable) == Some(true);
        if is_cordoned && !taints.iter().any(|taint| taint.key == UNSCHEDULABLE) {
            taints.push(Taint {
                key: UNSCHEDULABLE.to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            });
        }
        Self { labels: node.metadata.labels.clone().unwrap_or_default(), taints }
    }

    /// The first taint that the pod does not tolerate.
    fn untolerated(&self, tolerations: Option<&[Toleration]>) -> Option<&Taint> {
        let tolerations = tolerations.unwrap_or_default();
        self.taints.iter().find(|taint| !tolerations.iter().any(|one| tolerates(one, taint)))
    }
}

/// The scheduler that a pod names, if it is not this one. Such a pod is left alone.
fn other_scheduler(spec: &PodSpec) -> Option<&str> {
    spec.scheduler_name.as_deref().filter(|name| !matches!(*name, "" | OWN_SCHEDULER))
}

/// Upstream's rule: an empty key with `Exists` stands for all keys, no effect for all effects.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => !key.is_empty() && text(&toleration.value) == text(&taint.value),
    }
}

fn requests(pod: &Pod) -> Resources {
    // A typed object can always be serialised.
    Resources::of_pod(&serde_json::to_value(&pod.spec).unwrap_or_default())
}

/// Sets the condition that says why a pod is not bound. A conflict is ignored: the newer version is
/// tried anyway.
async fn report_unschedulable(context: Arc<Context>, pod: Pod, message: String) {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_reported = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "PodScheduled" && condition.message.as_ref() == Some(&message)
    };
    if conditions.clone().any(is_reported) {
        return;
    }
    let others = conditions.filter(|condition| condition.type_ != "PodScheduled");
    let mut conditions: Vec<_> = others.map(|condition| json!(condition)).collect();
    conditions.push(json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": seconds(clock::now()),
    }));
    let patch = json!({
        "metadata": { "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version },
        "status": { "conditions": conditions },
    });
    let api: Api<Lenient<Pod>> =
        Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if let Err(error) =
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await
    {
        tracing::debug!(pod = %name, %error, "cannot set the PodScheduled condition");
    }
}

async fn bind(context: Arc<Context>, pod: Pod) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let node = &context.config.node_name;
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name, "namespace": namespace, "uid": pod.uid() },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let api: Api<Lenient<Pod>> = Api::namespaced(context.client.clone(), &namespace);
    let mut backoff = Backoff::new(FIRST_RETRY_DELAY, MAX_RETRY_DELAY);
    loop {
        let result: Result<serde_json::Value, _> =
            api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
        match result {
            Ok(_) => {
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                context.events.pod(&pod, Level::Normal, "Scheduled", message);
                return;
            }
            // The pod is deleted or already bound.
            Err(kube::Error::Api(status))
                if (400..500).contains(&status.code) && status.code != 429 =>
            {
                tracing::debug!(pod = %name, message = %status.message, "pod was not bound");
                return;
            }
            Err(error) => {
                tracing::warn!(pod = %name, %error, "cannot bind a pod; will retry");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(spec: &Value) -> NodeRules {
        let node = json!({ "metadata": { "labels": { "disk": "fast" } }, "spec": spec });
        NodeRules::read(&serde_json::from_value(node).unwrap())
    }

    #[test]
    fn a_pod_needs_a_toleration_for_each_taint() {
        let taint =
            |effect: &str| json!({ "taints": [{ "key": "gpu", "value": "a", "effect": effect }] });
        for (spec, tolerations, blocking) in [
            (json!({}), json!([]), None),
            (json!({ "unschedulable": true }), json!([]), Some(UNSCHEDULABLE)),
            (
                json!({ "unschedulable": true }),
                json!([{ "key": UNSCHEDULABLE, "operator": "Exists" }]),
                None,
            ),
            (taint("PreferNoSchedule"), json!([]), None),
            (taint("NoSchedule"), json!([]), Some("gpu")),
            (taint("NoExecute"), json!([{ "operator": "Exists" }]), None),
            (taint("NoSchedule"), json!([{ "key": "gpu", "value": "a" }]), None),
            (taint("NoSchedule"), json!([{ "key": "gpu", "value": "b" }]), Some("gpu")),
            (
                taint("NoSchedule"),
                json!([{ "key": "gpu", "operator": "Exists", "effect": "NoExecute" }]),
                Some("gpu"),
            ),
            (taint("NoSchedule"), json!([{ "key": "tpu", "operator": "Exists" }]), Some("gpu")),
        ] {
            let rules = node(&spec);
            let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
            let found = rules.untolerated(Some(&tolerations)).map(|taint| taint.key.as_str());
            assert_eq!(found, blocking, "{spec} {tolerations:?}");
        }
    }
}
