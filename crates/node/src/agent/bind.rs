//! Binds pods without a node to this one, as long as they fit.
//!
//! There is one node, so there is nothing to choose: a pod is bound unless it waits for something (scheduling gates), asks for a node
//! with other labels, or asks for more than the pods before it have left. Such a pod stays pending and says why, in the words of
//! Kubernetes' scheduler, and is looked at again when room becomes free. Pods are considered in the order in which they came; one
//! that does not fit holds up nobody: jobs that have to start as a whole are the controller's to admit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
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

/// The delay before a failed binding is tried again, and the longest one.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

pub(super) struct Binder {
    context: Arc<Context>,
    /// What the node has for pods, less what is held.
    free: Resources,
    /// What pods that are bound to the node, or are about to be, ask for, by uid. Finished pods ask for nothing.
    held: HashMap<String, Resources>,
    /// Pods that do not fit, by arrival.
    waiting: BTreeMap<u64, Waiting>,
    arrivals: u64,
    /// Whether a list of all pods is coming in: nothing is bound before it is known what is bound already.
    is_listing: bool,
    /// Requests on their way. An answer that does not come in time is asked for again by the next change
    /// of the pod.
    requests: JoinSet<()>,
}

struct Waiting {
    pod: Pod,
    uid: String,
    /// What it asks for.
    asked: Resources,
    /// What was said of it last.
    said: String,
}

impl Binder {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let free = Resources::from_list(Some(&register::allocatable(&context.config)));
        Self {
            context,
            free,
            held: HashMap::new(),
            waiting: BTreeMap::new(),
            arrivals: 0,
            is_listing: true,
            requests: JoinSet::new(),
        }
    }

    /// Gives up the requests on their way.
    pub(super) async fn finish(&mut self) {
        self.requests.shutdown().await;
    }

    /// A list of all pods begins.
    pub(super) fn list_begins(&mut self) {
        self.is_listing = true;
    }

    /// The list is complete.
    pub(super) fn list_ends(&mut self, is_listed: impl Fn(&str) -> bool) {
        self.is_listing = false;
        for (_, gone) in self.held.extract_if(|uid, _| !is_listed(uid)) {
            self.free.add(&gone);
        }
        self.waiting.retain(|_, waiting| is_listed(&waiting.uid));
        self.consider_waiting();
    }

    /// A pod is bound to this node, or to another.
    pub(super) fn is_bound(&mut self, pod: &Pod, uid: &str, ours: bool) {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        self.holds(uid, ours, phase.unwrap_or_default(), || requests(pod));
    }

    /// The same of a pod of this node that cannot be read: it has its place as long as it is there.
    pub(super) fn is_bound_unread(&mut self, pod: &Raw, uid: &str) {
        let asked = || Resources::of_pod(pod.value.get("spec").unwrap_or(&Value::Null));
        self.holds(uid, true, pod.text("/status/phase"), asked);
    }

    fn holds(&mut self, uid: &str, ours: bool, phase: &str, asked: impl FnOnce() -> Resources) {
        self.waiting.retain(|_, waiting| waiting.uid != uid);
        if !ours || matches!(phase, "Succeeded" | "Failed") {
            self.release(uid);
        } else if !self.held.contains_key(uid) {
            self.hold(uid.to_owned(), asked());
        }
    }

    /// A pod is no more.
    pub(super) fn is_gone(&mut self, uid: &str) {
        self.waiting.retain(|_, waiting| waiting.uid != uid);
        self.release(uid);
    }

    /// Binds a pod, if that is possible.
    pub(super) fn consider(&mut self, pod: &Pod, uid: &str) {
        let place = self.waiting.iter().find(|(_, waiting)| waiting.uid == uid);
        let place = place.map(|(place, _)| *place).unwrap_or_else(|| {
            self.arrivals += 1;
            self.arrivals
        });
        let (asked, said) = match self.waiting.remove(&place) {
            Some(waiting) => (waiting.asked, waiting.said),
            None => (requests(pod), String::new()),
        };
        self.waiting.insert(place, Waiting { pod: pod.clone(), uid: uid.to_owned(), asked, said });
        if !self.is_listing {
            self.try_to_bind(place, true);
        }
    }

    fn hold(&mut self, uid: String, asked: Resources) {
        self.free.subtract(&asked);
        if let Some(before) = self.held.insert(uid, asked) {
            self.free.add(&before);
        }
    }

    fn release(&mut self, uid: &str) {
        let Some(held) = self.held.remove(uid) else { return };
        self.free.add(&held);
        if !self.is_listing {
            self.consider_waiting();
        }
    }

    fn consider_waiting(&mut self) {
        let places: Vec<u64> = self.waiting.keys().copied().collect();
        for place in places {
            self.try_to_bind(place, false);
        }
    }

    /// `is_news`: whether the pod itself is as it is in the API now.
    fn try_to_bind(&mut self, place: u64, is_news: bool) {
        while self.requests.try_join_next().is_some() {}
        let Some(Waiting { pod, uid, asked, said }) = self.waiting.remove(&place) else { return };
        let Some(spec) = &pod.spec else { return };
        // A pod that is deleted before it is bound is removed by the API server.
        let waits = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        if waits || pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let Some(why_not) = self.why_not(&pod, &uid, &asked) else {
            self.hold(uid, asked);
            self.requests.spawn(bind(Arc::clone(&self.context), pod));
            return;
        };
        let message = format!("0/1 nodes are available: {why_not}.");
        if message != said {
            self.context.events.pod(&pod, Level::Warning, "FailedScheduling", message.clone());
        }
        if message != said || is_news {
            self.requests.spawn(refuse(Arc::clone(&self.context), pod.clone(), message.clone()));
        }
        self.waiting.insert(place, Waiting { pod, uid, asked, said: message });
    }

    /// Why a pod cannot be bound, in the words of Kubernetes' scheduler.
    fn why_not(&self, pod: &Pod, uid: &str, asked: &Resources) -> Option<String> {
        let labels = register::labels(&self.context.config.node_name);
        let wanted = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
        let missing: Vec<String> = wanted
            .into_iter()
            .flatten()
            .filter(|(key, value)| labels.get(key.as_str()) != Some(*value))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !missing.is_empty() {
            return Some(format!(
                "1 node(s) didn't match Pod's node affinity/selector ({})",
                missing.join(", ")
            ));
        }
        if self.held.contains_key(uid) {
            return None; // its binding is on its way
        }
        let lacks: Vec<String> = asked
            .lacking(&self.free)
            .map(|name| match name {
                PODS => "1 Too many pods".to_owned(),
                name => format!("1 Insufficient {name}"),
            })
            .collect();
        (!lacks.is_empty()).then(|| lacks.join(", "))
    }
}

fn requests(pod: &Pod) -> Resources {
    // A typed object always becomes JSON; if it did not, it would ask for its place and nothing else.
    Resources::of_pod(&serde_json::to_value(&pod.spec).unwrap_or_default())
}

/// Writes into a pod why it is not bound. If it has changed meanwhile it is about to be considered again.
async fn refuse(context: Arc<Context>, pod: Pod, message: String) {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_told = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "PodScheduled" && condition.message.as_ref() == Some(&message)
    };
    if conditions.clone().any(is_told) {
        return;
    }
    let others = conditions.filter(|condition| condition.type_ != "PodScheduled");
    let mut conditions: Vec<_> = others.map(|condition| json!(condition)).collect();
    conditions.push(json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": seconds(Timestamp::now()),
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
        tracing::debug!(pod = %name, %error, "cannot say why a pod waits");
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
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    loop {
        let result: Result<serde_json::Value, _> =
            api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
        match result {
            Ok(_) => {
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                context.events.pod(&pod, Level::Normal, "Scheduled", message);
                return;
            }
            // Gone, or bound already: either way there is nothing left to do.
            Err(kube::Error::Api(status))
                if (400..500).contains(&status.code) && status.code != 429 =>
            {
                tracing::debug!(pod = %name, message = %status.message, "a pod cannot be bound");
                return;
            }
            Err(error) => {
                tracing::warn!(pod = %name, %error, "cannot bind a pod; trying again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}
