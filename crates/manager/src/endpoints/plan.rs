//! Which endpoints and slices the services of a namespace should have: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use mxjob_machinery::json::{list, text};
use serde_json::{Map, Value, json};

use super::state::{Objects, SERVICE_LABEL, View};

/// The labels that name the controller.
const SLICE_MANAGER: (&str, &str) =
    ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io");
const MANAGER: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// The label of endpoints and slices of services without an address.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// The annotation of endpoints that do not have all addresses.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The most addresses of endpoints, and the most endpoints of a slice (upstream's numbers).
const MAX_ADDRESSES: usize = 1_000;
const MAX_IN_SLICE: usize = 100;

/// One request.
#[derive(Debug, PartialEq)]
pub(super) enum Write {
    Create { path: String, object: Value },
    Replace { path: String, object: Value },
    Delete { path: String },
}

/// The pods with each label, so that a service need not look at all pods.
struct Index<'a> {
    by_label: BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>,
    pods: &'a Objects,
}

/// A pod that a service selects.
type Pod<'a> = (&'a str, &'a Value);

/// The writes that make the endpoints and slices of a namespace what they should be.
pub(super) fn writes(namespace: &str, view: &View<'_>) -> Vec<Write> {
    let mut writes = Vec::new();
    let index = Index::new(view.pods);
    let mut slices = BTreeMap::new();
    for (name, service) in view.services {
        let Some(selector) = selector(service) else { continue };
        let pods = index.select(selector);
        let wanted = endpoints(namespace, name, service, &pods);
        let stored = view.endpoints.get(name);
        let same = |stored: &Value| {
            list(stored, "/subsets") == list(&wanted, "/subsets")
                && stored["labels"] == wanted["metadata"]["labels"]
        };
        if !stored.is_some_and(same) {
            writes.push(put(&format!("/api/v1/namespaces/{namespace}/endpoints"), wanted, stored));
        }
        slices.extend(slices_of(namespace, name, service, &pods));
    }
    let is_ours = |(_, endpoints): &(&String, &Value)| endpoints["labels"][MANAGER.0] == MANAGER.1;
    for (name, _) in view.endpoints.iter().filter(is_ours) {
        if !view.services.contains_key(name) {
            let path = format!("/api/v1/namespaces/{namespace}/endpoints/{name}");
            writes.push(Write::Delete { path });
        }
    }
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    let is_ours =
        |(_, slice): &(&String, &Value)| slice["labels"][SLICE_MANAGER.0] == SLICE_MANAGER.1;
    for (name, slice) in view.slices.iter().filter(is_ours) {
        let service = view.services.get(text(slice, "/labels/kubernetes.io~1service-name"));
        // A service that lost its selector keeps its slices, as upstream does.
        if !slices.contains_key(name) && service.is_none_or(|service| selector(service).is_some()) {
            writes.push(Write::Delete { path: format!("{path}/{name}") });
        }
    }
    for (name, wanted) in slices {
        let stored = view.slices.get(&name);
        let same = |stored: &Value| {
            ["addressType", "endpoints", "ports"].iter().all(|part| stored[part] == wanted[part])
                && stored["labels"] == wanted["metadata"]["labels"]
        };
        // A slice of somebody else that has the name stays.
        let foreign = |stored: &Value| stored["labels"][SLICE_MANAGER.0] != SLICE_MANAGER.1;
        if !stored.is_some_and(|stored| same(stored) || foreign(stored)) {
            writes.push(put(&path, wanted, stored));
        }
    }
    writes
}

fn put(collection: &str, object: Value, stored: Option<&Value>) -> Write {
    match stored {
        None => Write::Create { path: collection.to_owned(), object },
        Some(_) => {
            let path = format!("{collection}/{}", text(&object, "/metadata/name"));
            Write::Replace { path, object }
        }
    }
}

/// The selector of a service whose endpoints follow pods.
fn selector(service: &Value) -> Option<&Map<String, Value>> {
    if service["terminating"] == true || text(service, "/spec/type") == "ExternalName" {
        return None;
    }
    service.pointer("/spec/selector")?.as_object().filter(|selector| !selector.is_empty())
}

// === impl Index ===

impl<'a> Index<'a> {
    fn new(pods: &'a Objects) -> Self {
        let mut by_label: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for (name, pod) in pods {
            for (key, value) in pod["labels"].as_object().into_iter().flatten() {
                let value = value.as_str().unwrap_or_default();
                by_label.entry((key.as_str(), value)).or_default().insert(name);
            }
        }
        Self { by_label, pods }
    }

    /// The pods with all these labels.
    fn select(&self, selector: &Map<String, Value>) -> Vec<Pod<'a>> {
        let sets = selector.iter().map(|(key, value)| {
            self.by_label.get(&(key.as_str(), value.as_str().unwrap_or_default()))
        });
        let Some(mut sets) = sets.collect::<Option<Vec<_>>>() else { return Vec::new() };
        sets.sort_by_key(|set| set.len());
        let Some((smallest, others)) = sets.split_first() else { return Vec::new() };
        smallest
            .iter()
            .filter(|name| others.iter().all(|set| set.contains(*name)))
            .filter_map(|name| Some((*name, self.pods.get(*name)?)))
            .collect()
    }
}

/// The ports of a service as one pod has them; ports by a name that the pod does not have are left
/// out.
fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let resolve = |port: &Value| {
        let protocol = text(port, "/protocol");
        let number = match &port["targetPort"] {
            Value::String(name) => {
                let named = list(pod, "/ports").iter().find(|port| {
                    let own = text(port, "/protocol");
                    text(port, "/name") == name && (own == protocol || own.is_empty())
                });
                named?["containerPort"].clone()
            }
            Value::Null => port["port"].clone(),
            number => number.clone(),
        };
        let mut resolved =
            json!({ "name": text(port, "/name"), "port": number, "protocol": protocol });
        if !text(port, "/appProtocol").is_empty() {
            resolved["appProtocol"] = port["appProtocol"].clone();
        }
        Some(resolved)
    };
    list(service, "/spec/ports").iter().filter_map(resolve).collect()
}

/// The pods by the ports that they have; without those that have none of the service's ports.
fn by_ports<'a>(service: &Value, pods: &[Pod<'a>]) -> BTreeMap<String, (Vec<Value>, Vec<Pod<'a>>)> {
    let mut groups: BTreeMap<String, (Vec<Value>, Vec<Pod<'a>>)> = BTreeMap::new();
    let has_ports = !list(service, "/spec/ports").is_empty();
    for pod in pods {
        let ports = ports(service, pod.1);
        if has_ports && ports.is_empty() {
            continue;
        }
        let key = Value::from(ports.clone()).to_string();
        groups.entry(key).or_insert_with(|| (ports, Vec::new())).1.push(*pod);
    }
    groups
}

fn target(namespace: &str, (name, pod): Pod<'_>) -> Value {
    json!({ "kind": "Pod", "name": name, "namespace": namespace, "uid": pod["uid"] })
}

fn labels(service: &Value, own: &[(&str, &str)]) -> Value {
    let mut labels = service["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
    if text(service, "/spec/clusterIP") == "None" {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    labels.into()
}

fn publishes_all(service: &Value) -> bool {
    service["spec"]["publishNotReadyAddresses"] == true
}

/// The `Endpoints` of a service.
fn endpoints(namespace: &str, name: &str, service: &Value, pods: &[Pod<'_>]) -> Value {
    let staying: Vec<Pod<'_>> =
        pods.iter().filter(|(_, pod)| pod["terminating"] != true).copied().collect();
    let shown = staying.get(..MAX_ADDRESSES).unwrap_or(&staying);
    let mut subsets = Vec::new();
    for (ports, pods) in by_ports(service, shown).into_values() {
        let mut subset = json!({});
        for pod in pods {
            let mut address = json!({ "ip": pod.1["ip"], "targetRef": target(namespace, pod) });
            if !text(pod.1, "/node").is_empty() {
                address["nodeName"] = pod.1["node"].clone();
            }
            let is_ready = pod.1["ready"] == true || publishes_all(service);
            let group = if is_ready { "addresses" } else { "notReadyAddresses" };
            match &mut subset[group] {
                Value::Array(all) => all.push(address),
                other => *other = json!([address]),
            }
        }
        if !ports.is_empty() {
            let ports = ports.into_iter().map(unnamed);
            subset["ports"] = ports.collect();
        }
        subsets.push(subset);
    }
    let mut object = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": name, "namespace": namespace, "labels": labels(service, &[MANAGER]) },
        "subsets": subsets,
    });
    if shown.len() < staying.len() {
        object["metadata"]["annotations"] = json!({ OVER_CAPACITY: "truncated" });
    }
    object
}

/// A port of `Endpoints`, where an empty name is left out.
fn unnamed(mut port: Value) -> Value {
    if let Some(map) = port.as_object_mut().filter(|map| map["name"] == "") {
        map.remove("name");
    }
    port
}

/// The slices of a service, by name. The names follow from the content, so that the same pods are
/// in the same slices after a restart.
fn slices_of(
    namespace: &str,
    name: &str,
    service: &Value,
    pods: &[Pod<'_>],
) -> BTreeMap<String, Value> {
    let own = [(SERVICE_LABEL, name), SLICE_MANAGER];
    let labels = labels(service, &own);
    let mut slices = BTreeMap::new();
    for (ports, pods) in by_ports(service, pods).into_values() {
        for family in ["IPv4", "IPv6"] {
            let fits = |(_, pod): &&Pod<'_>| text(pod, "/ip").contains(':') == (family == "IPv6");
            let pods: Vec<Pod<'_>> = pods.iter().filter(fits).copied().collect();
            for chunk in pods.chunks(MAX_IN_SLICE) {
                let endpoints: Vec<Value> =
                    chunk.iter().map(|pod| endpoint(namespace, service, *pod)).collect();
                let slice = format!("{name}-{}", slices.len());
                let object = json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": {
                        "name": slice, "namespace": namespace, "labels": labels,
                        "ownerReferences": [{
                            "apiVersion": "v1", "kind": "Service", "name": name, "uid": service["uid"],
                            "controller": true, "blockOwnerDeletion": true,
                        }],
                    },
                    "addressType": family, "endpoints": endpoints, "ports": ports,
                });
                slices.insert(slice, object);
            }
        }
    }
    slices
}

fn endpoint(namespace: &str, service: &Value, pod: Pod<'_>) -> Value {
    let (serving, terminating) = (pod.1["ready"] == true, pod.1["terminating"] == true);
    let ready = publishes_all(service) || serving && !terminating;
    let mut endpoint = json!({
        "addresses": [pod.1["ip"]],
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
        "targetRef": target(namespace, pod),
    });
    if !text(pod.1, "/node").is_empty() {
        endpoint["nodeName"] = pod.1["node"].clone();
    }
    endpoint
}

#[cfg(test)]
mod tests;
