//! What the controller knows of services, pods, endpoints and slices: only the fields that matter.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::ApiResource;
use kube::runtime::watcher::Event;
use mxjob_client::Raw;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::object;
use serde_json::{Map, Value, json};

use crate::api;

/// The label that names the service of a slice.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A resource that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Services,
    Pods,
    Endpoints,
    Slices,
}

/// Reduced objects by name.
pub(super) type Objects = BTreeMap<String, Value>;

/// What is known of a namespace.
pub(super) struct View<'a> {
    pub(super) services: &'a Objects,
    pub(super) pods: &'a Objects,
    pub(super) endpoints: &'a Objects,
    pub(super) slices: &'a Objects,
}

/// All that is known, and the namespaces that have to be planned again.
#[derive(Default)]
pub(super) struct State {
    objects: BTreeMap<Part, BTreeMap<String, Objects>>,
    /// What a list that has begun contains, by namespace and name.
    listed: BTreeMap<Part, BTreeSet<(String, String)>>,
    filled: BTreeSet<Part>,
    marked: BTreeSet<String>,
}

// === impl Part ===

impl Part {
    pub(super) const ALL: [Self; 4] = [Self::Services, Self::Pods, Self::Endpoints, Self::Slices];

    pub(super) fn resource(self) -> ApiResource {
        match self {
            Self::Services => api::built_in("", "Service", "services"),
            Self::Pods => api::built_in("", "Pod", "pods"),
            Self::Endpoints => api::built_in("", "Endpoints", "endpoints"),
            Self::Slices => api::built_in("discovery.k8s.io", "EndpointSlice", "endpointslices"),
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Pods => "pods",
            Self::Endpoints => "endpoints",
            Self::Slices => "endpointslices",
        }
    }

    /// The fields that matter; `None` for an object that has no part in any endpoint.
    fn reduce(self, object: &Value) -> Option<Value> {
        match self {
            Self::Services => Some(json!({
                "labels": object.pointer("/metadata/labels"),
                "uid": object::meta_str(object, "uid"),
                "terminating": object::is_terminating(object),
                "spec": reduced(object.get("spec")?, &[
                    "selector", "type", "clusterIP", "ports", "publishNotReadyAddresses",
                ]),
            })),
            Self::Pods => reduce_pod(object),
            Self::Endpoints => Some(json!({
                "labels": object.pointer("/metadata/labels"),
                "subsets": list(object, "/subsets"),
            })),
            Self::Slices => {
                let labels = object.pointer("/metadata/labels")?;
                labels.get(SERVICE_LABEL)?;
                let mut slice = reduced(object, &["addressType", "endpoints", "ports"]);
                slice["labels"] = labels.clone();
                Some(slice)
            }
        }
    }
}

fn reduced(object: &Value, fields: &[&str]) -> Value {
    let kept =
        fields.iter().filter_map(|name| Some(((*name).to_owned(), object.get(name)?.clone())));
    kept.collect::<Map<_, _>>().into()
}

/// A pod that has an address and has not ended.
fn reduce_pod(pod: &Value) -> Option<Value> {
    let address = text(pod, "/status/podIP");
    if address.is_empty() || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return None;
    }
    let is_ready = |condition: &Value| {
        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
    };
    let ports = list(pod, "/spec/containers").iter().flat_map(|one| list(one, "/ports"));
    let named = ports.filter(|port| !text(port, "/name").is_empty());
    Some(json!({
        "labels": pod.pointer("/metadata/labels"),
        "uid": object::meta_str(pod, "uid"),
        "ip": address,
        "node": text(pod, "/spec/nodeName"),
        "ready": list(pod, "/status/conditions").iter().any(is_ready),
        "terminating": object::is_terminating(pod),
        "ports": named.map(|port| reduced(port, &["name", "containerPort", "protocol"])).collect::<Vec<_>>(),
    }))
}

// === impl State ===

impl State {
    pub(super) fn observe(&mut self, part: Part, event: Event<Raw>) {
        match event {
            Event::Init => {
                self.listed.insert(part, BTreeSet::new());
            }
            Event::InitApply(object) => {
                let key = self.put(part, &object.value);
                self.listed.entry(part).or_default().insert(key);
            }
            Event::InitDone => {
                let listed = self.listed.remove(&part).unwrap_or_default();
                self.retain(part, &listed);
                self.filled.insert(part);
            }
            Event::Apply(object) => {
                self.put(part, &object.value);
            }
            Event::Delete(object) => self.remove(part, &key(&object.value)),
        }
    }

    fn put(&mut self, part: Part, object: &Value) -> (String, String) {
        let key = key(object);
        let Some(reduced) = part.reduce(object) else {
            self.remove(part, &key);
            return key;
        };
        let namespace = self.objects.entry(part).or_default().entry(key.0.clone()).or_default();
        if namespace.get(&key.1) != Some(&reduced) {
            namespace.insert(key.1.clone(), reduced);
            self.marked.insert(key.0.clone());
        }
        key
    }

    fn remove(&mut self, part: Part, (namespace, name): &(String, String)) {
        let Some(namespaces) = self.objects.get_mut(&part) else { return };
        let Some(objects) = namespaces.get_mut(namespace) else { return };
        if objects.remove(name).is_some() {
            self.marked.insert(namespace.clone());
        }
        if objects.is_empty() {
            namespaces.remove(namespace);
        }
    }

    /// Forgets what a complete list does not contain.
    fn retain(&mut self, part: Part, listed: &BTreeSet<(String, String)>) {
        let all = self.objects.get(&part).into_iter().flatten();
        let gone: Vec<(String, String)> = all
            .flat_map(|(namespace, objects)| {
                objects.keys().map(|name| (namespace.clone(), name.clone()))
            })
            .filter(|key| !listed.contains(key))
            .collect();
        for key in gone {
            self.remove(part, &key);
        }
    }

    pub(super) fn mark(&mut self, namespace: &str) {
        self.marked.insert(namespace.to_owned());
    }

    /// Whether namespaces wait to be planned, and can be.
    pub(super) fn has_work(&self) -> bool {
        !self.marked.is_empty() && self.filled.len() == Part::ALL.len()
    }

    /// The marked namespaces; none before all resources have been listed.
    pub(super) fn take_work(&mut self) -> BTreeSet<String> {
        if self.has_work() { std::mem::take(&mut self.marked) } else { BTreeSet::new() }
    }

    pub(super) fn view(&self, namespace: &str) -> View<'_> {
        static NONE: Objects = Objects::new();
        let of = |part| self.objects.get(&part).and_then(|all| all.get(namespace)).unwrap_or(&NONE);
        View {
            services: of(Part::Services),
            pods: of(Part::Pods),
            endpoints: of(Part::Endpoints),
            slices: of(Part::Slices),
        }
    }
}

fn key(object: &Value) -> (String, String) {
    let field = |name| object::meta_str(object, name).to_owned();
    (field("namespace"), field("name"))
}
