//! The names that resolve inside pods, and their addresses.
//!
//! The name of a service resolves to the pods it selects. The name of a headless service with a
//! controller also resolves to the pod of the same name before that pod exists: replicas look up
//! their peers when they start, and ps-lite waits forever for a name that did not resolve. For the
//! same reason the names in a replica's `MX_CONFIG` resolve before their services exist.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource as _, ResourceExt as _, runtime::watcher};
use mxjob_client::Lenient;
use mxjob_machinery::error::chain;
use parking_lot::{Mutex, MutexGuard};

use super::events::controller;
use crate::{
    addresses::{Addresses, Owner},
    hosts::{self, Names as HostNames},
    runtime::Sandbox,
    state::dir_hash,
};

/// How long an owner keeps its addresses after its last pod and service were deleted.
const ADDRESS_RETENTION: Duration = Duration::from_secs(600);

/// The names of all pods and services.
#[derive(Debug)]
pub(super) struct Names {
    /// Locked for short computations and writes of small files, never across an await.
    table: Mutex<Table>,
    /// The content of the machine's own hosts file.
    machine: String,
}

#[derive(Debug)]
struct Table {
    addresses: Addresses,
    pods: HashMap<String, PodNames>,
    services: BTreeMap<(String, String), ServiceNames>,
    /// Services seen so far in a new list of all of them.
    listed: Option<HashSet<(String, String)>>,
    /// The pods whose hosts files are kept up to date, by uid, with the content of these files.
    sandboxes: HashMap<String, (Sandbox, String)>,
    unused_since: HashMap<(String, String), Instant>,
    is_stale: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct PodNames {
    name: String,
    owner: Owner,
    labels: BTreeMap<String, String>,
    address: Option<Ipv4Addr>,
    /// Names of its peers, of its `MX_CONFIG`.
    peers: Vec<String>,
    /// Lines of its hosts file for its `hostAliases`.
    aliases: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct ServiceNames {
    selector: BTreeMap<String, String>,
    /// The controller, for a headless service that has one.
    reserved_for: Option<Owner>,
}

impl Names {
    pub(super) fn open(state_dir: &Path) -> Self {
        let table = Table {
            addresses: Addresses::open(state_dir.join("addresses.json"), dir_hash(state_dir)),
            pods: HashMap::new(),
            services: BTreeMap::new(),
            listed: None,
            sandboxes: HashMap::new(),
            unused_since: HashMap::new(),
            is_stale: false,
        };
        let machine = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        Self { table: Mutex::new(table), machine }
    }

    /// Adds or updates a bound pod. A pod of this node gets an address; others have one in their
    /// status.
    pub(super) fn set_pod(&self, pod: &Pod, ours: bool) {
        let mut table = self.lock();
        let owner = owner_of(&pod.metadata);
        let name = pod.name_any();
        let address = if ours {
            table.address(&owner, &name)
        } else {
            pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok())
        };
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let known = PodNames {
            name,
            owner,
            labels,
            address,
            peers: peer_names(pod),
            aliases: host_aliases(pod),
        };
        let uid = pod.uid().unwrap_or_default();
        if table.pods.get(&uid) != Some(&known) {
            table.pods.insert(uid, known);
            table.is_stale = true;
        }
    }

    pub(super) fn remove_pod(&self, uid: &str) {
        let mut table = self.lock();
        table.is_stale |= table.pods.remove(uid).is_some();
        table.sandboxes.remove(uid);
    }

    pub(super) fn handle_service(&self, event: watcher::Event<Lenient<Service>>) {
        match event {
            watcher::Event::Apply(service) | watcher::Event::InitApply(service) => {
                if let Some(listed) = &mut self.lock().listed {
                    listed.insert(service_key(service.meta()));
                }
                // For an unreadable service the last readable version stays in effect.
                if let Ok(service) = &service.0 {
                    self.set_service(service);
                }
            }
            watcher::Event::Delete(service) => {
                let mut table = self.lock();
                table.is_stale |= table.services.remove(&service_key(service.meta())).is_some();
            }
            watcher::Event::Init => self.lock().listed = Some(HashSet::new()),
            watcher::Event::InitDone => {
                let mut table = self.lock();
                if let Some(listed) = table.listed.take() {
                    table.services.retain(|key, _| listed.contains(key));
                    table.is_stale = true;
                }
            }
        }
    }

    fn set_service(&self, service: &Service) {
        let spec = service.spec.as_ref();
        let headless = spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
        let owned = controller(service.metadata.owner_references.as_deref()).is_some();
        let known = ServiceNames {
            selector: spec.and_then(|spec| spec.selector.clone()).unwrap_or_default(),
            reserved_for: (headless && owned).then(|| owner_of(&service.metadata)),
        };
        let mut table = self.lock();
        let key = service_key(&service.metadata);
        if table.services.get(&key) != Some(&known) {
            table.services.insert(key, known);
            table.is_stale = true;
        }
    }

    /// The address of a pod of this node, and the content of its hosts file.
    pub(super) fn of_pod(&self, pod: &Pod) -> Option<(Ipv4Addr, String)> {
        self.set_pod(pod, true);
        let mut table = self.lock();
        let known = table.pods.get(pod.uid()?.as_str())?.clone();
        let services = table.services_of(&known.owner.namespace);
        let content = table.content(&known, &services, &self.machine);
        Some((known.address?, content))
    }

    /// The address of a name inside the pod.
    pub(super) fn resolve(&self, pod: &Pod, name: &str) -> Option<Ipv4Addr> {
        let mut table = self.lock();
        let known = table.pods.get(pod.uid()?.as_str())?.clone();
        let services = table.services_of(&known.owner.namespace);
        let all = table.names_of(&known, services);
        let short = name.split('.').next().unwrap_or(name);
        all.get(short)?.first().copied()
    }

    /// Keeps the pod's hosts file up to date from now on.
    pub(super) fn keep_updated(&self, sandbox: &Sandbox, content: String) {
        let mut table = self.lock();
        table.sandboxes.insert(sandbox.record().uid.to_string(), (sandbox.clone(), content));
        table.is_stale = true;
    }

    /// Whether something changed since the last [`Self::refresh`].
    pub(super) fn is_stale(&self) -> bool {
        self.lock().is_stale
    }

    /// Rewrites the hosts files whose content has changed.
    pub(super) fn refresh(&self) {
        let mut table = self.lock();
        table.is_stale = false;
        let mut sandboxes = std::mem::take(&mut table.sandboxes);
        let mut of_namespace: HashMap<String, HostNames> = HashMap::new();
        for (uid, (sandbox, written)) in &mut sandboxes {
            let Some(pod) = table.pods.get(uid).cloned() else { continue };
            let namespace = &pod.owner.namespace;
            if !of_namespace.contains_key(namespace) {
                of_namespace.insert(namespace.clone(), table.services_of(namespace));
            }
            let Some(services) = of_namespace.get(namespace) else { continue };
            let content = table.content(&pod, services, &self.machine);
            if content != *written {
                match sandbox.write_hosts(&content) {
                    Ok(()) => *written = content,
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "cannot update a hosts file")
                    }
                }
            }
        }
        table.sandboxes = sandboxes;
    }

    /// Releases the addresses of owners that have had no pods and services for a while.
    pub(super) fn release_unused(&self) {
        let mut table = self.lock();
        let now = Instant::now();
        for owner in table.addresses.owners() {
            let key = (owner.namespace.clone(), owner.uid.clone());
            let used = table.pods.values().any(|pod| pod.owner == owner)
                || table.services.values().any(|known| known.reserved_for.as_ref() == Some(&owner));
            if used {
                table.unused_since.remove(&key);
            } else if now.duration_since(*table.unused_since.entry(key.clone()).or_insert(now))
                >= ADDRESS_RETENTION
            {
                table.unused_since.remove(&key);
                if let Err(error) = table.addresses.release(&owner) {
                    tracing::warn!(%error, "cannot release an address");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

impl Table {
    fn address(&mut self, owner: &Owner, name: &str) -> Option<Ipv4Addr> {
        match self.addresses.of(owner, name) {
            Ok(address) => Some(address),
            Err(error) => {
                tracing::error!(%error, pod = name, "cannot assign an address to a pod");
                None
            }
        }
    }

    /// The services of a namespace and their addresses.
    fn services_of(&mut self, namespace: &str) -> HostNames {
        let services: Vec<(String, ServiceNames)> = self
            .services
            .iter()
            .filter(|((of, _), _)| of == namespace)
            .map(|((_, name), known)| (name.clone(), known.clone()))
            .collect();
        let mut names = HostNames::new();
        for (name, service) in services {
            let reserved =
                service.reserved_for.as_ref().and_then(|owner| self.address(owner, &name));
            let mut addresses: Vec<Ipv4Addr> = self
                .pods
                .values()
                .filter(|pod| pod.owner.namespace == namespace && service.selects(&pod.labels))
                .filter_map(|pod| pod.address)
                .chain(reserved)
                .collect();
            addresses.sort_unstable();
            addresses.dedup();
            names.insert(name, addresses);
        }
        names
    }

    /// The services, and the peers of a pod whose services do not exist yet.
    fn names_of(&mut self, pod: &PodNames, mut services: HostNames) -> HostNames {
        for peer in &pod.peers {
            if services.get(peer).is_none_or(Vec::is_empty)
                && let Some(address) = self.address(&pod.owner, peer)
            {
                services.insert(peer.clone(), vec![address]);
            }
        }
        services
    }

    fn content(&mut self, pod: &PodNames, services: &HostNames, machine: &str) -> String {
        let names = self.names_of(pod, services.clone());
        let address = pod.address.unwrap_or(Ipv4Addr::LOCALHOST);
        let mut content = hosts::content(&pod.name, address, &pod.owner.namespace, &names, machine);
        for line in &pod.aliases {
            content.push_str(line);
            content.push('\n');
        }
        content
    }
}

impl ServiceNames {
    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty()
            && self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

fn owner_of(meta: &ObjectMeta) -> Owner {
    let uid = controller(meta.owner_references.as_deref())
        .map(|owner| owner.uid.clone())
        .or_else(|| meta.uid.clone())
        .unwrap_or_default();
    Owner { namespace: meta.namespace.clone().unwrap_or_default(), uid }
}

fn service_key(meta: &ObjectMeta) -> (String, String) {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn host_aliases(pod: &Pod) -> Vec<String> {
    let all = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    all.map(|alias| {
        format!(
            "{}\t{}",
            alias.ip,
            alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join(" ")
        )
    })
    .collect()
}

/// The replicas in a pod's `MX_CONFIG` (`cluster.<role>[].url`). Only for pods with a controller:
/// only their peers have addresses before they exist.
fn peer_names(pod: &Pod) -> Vec<String> {
    if controller(pod.metadata.owner_references.as_deref()).is_none() {
        return Vec::new();
    }
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut names: Vec<String> = containers
        .flat_map(|container| container.env.iter().flatten())
        .filter(|variable| variable.name == "MX_CONFIG")
        .filter_map(|variable| serde_json::from_str(variable.value.as_deref()?).ok())
        .flat_map(|config: serde_json::Value| {
            let roles = config.get("cluster").and_then(|cluster| cluster.as_object().cloned());
            roles.unwrap_or_default().into_iter().flat_map(|(_, replicas)| {
                replicas.as_array().cloned().unwrap_or_default().into_iter().filter_map(|replica| {
                    replica.get("url").and_then(|url| url.as_str().map(str::to_owned))
                })
            })
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
