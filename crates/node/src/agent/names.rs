//! The names that resolve inside pods, and their addresses.
//!
//! The name of a service resolves to the pods it selects. The name of a headless service with a
//! controller also resolves to the pod of the same name before that pod exists: replicas look up
//! their peers when they start, and ps-lite waits forever for a name that did not resolve. For the
//! same reason the names in a replica's `MX_CONFIG` resolve before their services exist.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    io,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::{Resource as _, ResourceExt as _, runtime::watcher};
use mxjob_client::Lenient;
use mxjob_machinery::{error::chain, names::dns1123_label};
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;

use super::{
    dns,
    events::controller,
    service_env::{ServiceLink, ServicePort},
};
use crate::{
    addresses::{Addresses, Owner, Unsaved},
    hosts::{self, Names as HostNames},
    runtime::Sandbox,
    state::dir_hash,
};

/// How long an owner keeps its addresses after its last pod and service were deleted. A job keeps
/// its services while its replicas are made again, so this is only for other owners.
const ADDRESS_RETENTION: Duration = Duration::from_secs(60);

/// Most peers of a pod. A job has at most as many replicas; a longer list is the user's own, and
/// every name in it would get an address.
const MAX_PEERS: usize = 10_000;

/// The names of all pods and services.
#[derive(Debug)]
pub(super) struct Names {
    /// Locked for lookups and for copies of shared references only: not for files, nor for
    /// computations over pods and services.
    table: Mutex<Table>,
    /// Held while the addresses are written, so that an older content does not replace a newer one.
    saving: Mutex<()>,
    /// The content of the machine's own hosts file.
    machine: String,
    /// Keyed at random, so that no content can be made to have the hash of another.
    hasher: RandomState,
}

#[derive(Debug)]
struct Table {
    addresses: Addresses,
    pods: HashMap<String, Arc<PodNames>>,
    services: BTreeMap<(String, String), Arc<ServiceNames>>,
    /// Services seen so far in a new list of all of them.
    listed: Option<HashSet<(String, String)>>,
    /// Whether all services have been listed once.
    has_services: bool,
    /// The pods whose hosts files are kept up to date, by uid, with the hash of their content.
    sandboxes: HashMap<String, (Sandbox, u64)>,
    /// The peers of the newest pod of each owner, for its other pods.
    peers: HashMap<Owner, Weak<[(String, Ipv4Addr)]>>,
    unused_since: HashMap<Owner, Instant>,
    is_stale: bool,
}

/// The names of peers and their addresses. All replicas of a job share one list.
type Peers = Arc<[(String, Ipv4Addr)]>;

#[derive(Debug, Clone, PartialEq)]
struct PodNames {
    name: String,
    owner: Owner,
    labels: BTreeMap<String, String>,
    address: Option<Ipv4Addr>,
    /// Its peers, of its `MX_CONFIG`.
    peers: Peers,
    /// Lines of its hosts file for its `hostAliases`.
    aliases: Vec<String>,
    /// Its host name and subdomain, if it has others than its name.
    host: Option<(String, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq)]
struct ServiceNames {
    selector: BTreeMap<String, String>,
    /// The controller, for a headless service that has one.
    reserved_for: Option<Owner>,
    /// The address of the controller's pod with the name of the service.
    reserved: Option<Ipv4Addr>,
    /// The ports, for a service that has variables: not for a headless one.
    ports: Vec<ServicePort>,
}

/// More peers than a job can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "MX_CONFIG names {0} peers; at most {MAX_PEERS} are possible, so none of them resolves before its service exists"
)]
pub(super) struct TooManyPeers(usize);

impl Names {
    pub(super) fn open(state_dir: &Path) -> Self {
        let table = Table {
            addresses: Addresses::open(state_dir.join("addresses.log"), dir_hash(state_dir)),
            pods: HashMap::new(),
            services: BTreeMap::new(),
            listed: None,
            has_services: false,
            sandboxes: HashMap::new(),
            peers: HashMap::new(),
            unused_since: HashMap::new(),
            is_stale: false,
        };
        let machine = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let hasher = RandomState::new();
        Self { table: Mutex::new(table), saving: Mutex::new(()), machine, hasher }
    }

    /// Adds or updates a bound pod. A pod of this node gets an address; others have one in their
    /// status.
    ///
    /// # Errors
    /// For the first version of a pod whose peers are ignored. The pod is added.
    pub(super) fn set_pod(&self, pod: &Pod, ours: bool) -> Result<(), TooManyPeers> {
        let owner = owner_of(&pod.metadata);
        let name = pod.name_any();
        let uid = pod.uid().unwrap_or_default();
        let known = self.lock().pods.get(&uid).cloned();
        // The environment and the aliases of a pod never change.
        let (names, aliases) = match &known {
            Some(known) => (Ok(Vec::new()), known.aliases.clone()),
            None if ours => (peer_names(pod), host_aliases(pod)),
            None => (Ok(Vec::new()), Vec::new()),
        };
        let host = match &known {
            Some(known) => known.host.clone(),
            None => dns::other_names(pod),
        };
        let mut table = self.lock();
        let (peers, result) = match (&known, names) {
            (Some(known), _) => (Arc::clone(&known.peers), Ok(())),
            (None, Ok(names)) => (table.peers(&owner, names), Ok(())),
            (None, Err(error)) => (Peers::default(), Err(error)),
        };
        let address = if ours {
            table.address(&owner, &name)
        } else {
            pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok())
        };
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let new = PodNames { name, owner, labels, address, peers, aliases, host };
        if known.as_deref() != Some(&new) {
            table.pods.insert(uid, Arc::new(new));
            table.is_stale = true;
        }
        result
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
                    table.has_services = true;
                    table.is_stale = true;
                }
            }
        }
    }

    fn set_service(&self, service: &Service) {
        let spec = service.spec.as_ref();
        let headless = spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
        let owned = controller(service.metadata.owner_references.as_deref()).is_some();
        let reserved_for = (headless && owned).then(|| owner_of(&service.metadata));
        let key = service_key(&service.metadata);
        let mut table = self.lock();
        let known = ServiceNames {
            selector: spec.and_then(|spec| spec.selector.clone()).unwrap_or_default(),
            reserved: reserved_for.as_ref().and_then(|owner| table.address(owner, &key.1)),
            reserved_for,
            ports: if headless { Vec::new() } else { ports_of(service) },
        };
        if table.services.get(&key).map(|known| &**known) != Some(&known) {
            table.services.insert(key, Arc::new(known));
            table.is_stale = true;
        }
    }

    /// The address of a pod of this node, and the content of its hosts file. Blocks: it writes the
    /// addresses to disk before the pod uses them.
    pub(super) fn of_pod(&self, pod: &Pod) -> Option<(Ipv4Addr, String)> {
        // Reported when the agent saw the pod.
        let _ = self.set_pod(pod, true);
        self.save().ok()?;
        let known = Arc::clone(self.lock().pods.get(pod.uid()?.as_str())?);
        let names = names_of(&known, self.services_of(&known.owner.namespace));
        let shared = hosts::shared(&known.owner.namespace, &names, &self.machine);
        Some((known.address?, content(&known, &names, &shared)))
    }

    /// The address of a name inside the pod with this uid. Blocks, as [`Self::of_pod`].
    pub(super) fn resolve(&self, uid: &str, name: &str) -> Option<Ipv4Addr> {
        let known = Arc::clone(self.lock().pods.get(uid)?);
        self.save().ok()?;
        let short = name.split('.').next().unwrap_or(name);
        names_of(&known, self.services_of(&known.owner.namespace)).get(short)?.first().copied()
    }

    /// Keeps the pod's hosts file up to date from now on.
    pub(super) fn keep_updated(&self, sandbox: &Sandbox, content: &str) {
        let hash = self.hasher.hash_one(content);
        let mut table = self.lock();
        table.sandboxes.insert(sandbox.record().uid.to_string(), (sandbox.clone(), hash));
        table.is_stale = true;
    }

    /// Whether something changed since the last [`Self::refresh`].
    pub(super) fn is_stale(&self) -> bool {
        self.lock().is_stale
    }

    /// Saves the addresses and rewrites the hosts files whose content has changed. Blocks.
    pub(super) fn refresh(&self) {
        /// The names of the pods of one job, and the shared part of their hosts files.
        type OfJob = (Peers, HostNames, String);
        self.lock().is_stale = false;
        if self.save().is_err() {
            // The pods of this node get their addresses with the next attempt.
            return;
        }
        let mut sandboxes: Vec<(Arc<PodNames>, Sandbox, u64)> = {
            let table = self.lock();
            let pods = table.sandboxes.iter().filter_map(|(uid, (sandbox, written))| {
                Some((Arc::clone(table.pods.get(uid)?), sandbox.clone(), *written))
            });
            pods.collect()
        };
        // One after the other, so that only the names of one job are in memory.
        sandboxes.sort_by(|(a, ..), (b, ..)| a.owner.cmp(&b.owner));
        let mut services = (String::new(), HostNames::new());
        let mut of_job: Option<OfJob> = None;
        for (pod, sandbox, written) in sandboxes {
            let namespace = &pod.owner.namespace;
            if services.0 != *namespace {
                services = (namespace.clone(), self.services_of(namespace));
                of_job = None;
            }
            let known = of_job.take().filter(|(peers, ..)| *peers == pod.peers);
            let (_, names, shared) = of_job.insert(known.unwrap_or_else(|| {
                let names = names_of(&pod, services.1.clone());
                let shared = hosts::shared(namespace, &names, &self.machine);
                (Arc::clone(&pod.peers), names, shared)
            }));
            let content = content(&pod, names, shared);
            let hash = self.hasher.hash_one(&content);
            if hash == written {
                continue;
            }
            match sandbox.write_hosts(&content) {
                Ok(()) => {
                    let mut table = self.lock();
                    if let Some(entry) = table.sandboxes.get_mut(sandbox.record().uid.as_str()) {
                        entry.1 = hash;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot update a hosts file");
                }
            }
        }
    }

    /// Forgets the pods that do not exist, and releases the addresses of owners that have had no
    /// pods and services for a while. Decided by what exists, because the end of a pod can be
    /// missed. Call it only when all pods are known.
    pub(super) fn release_unused(&self, exists: impl Fn(&str) -> bool) {
        let mut table = self.lock();
        if !table.has_services {
            return;
        }
        table.pods.retain(|uid, _| exists(uid));
        let Table { addresses, pods, services, peers, unused_since, is_stale, .. } = &mut *table;
        let now = Instant::now();
        let used: HashSet<&Owner> = pods
            .values()
            .map(|pod| &pod.owner)
            .chain(services.values().filter_map(|known| known.reserved_for.as_ref()))
            .collect();
        peers.retain(|_, peers| peers.strong_count() > 0);
        unused_since.retain(|owner, _| !used.contains(owner));
        for owner in addresses.owners() {
            if used.contains(&owner) {
                continue;
            }
            let since = *unused_since.entry(owner.clone()).or_insert(now);
            if now.duration_since(since) >= ADDRESS_RETENTION {
                unused_since.remove(&owner);
                addresses.release(&owner);
                // The next refresh saves it.
                *is_stale = true;
            }
        }
    }

    /// Writes the changes of addresses since the last time, in one step for all of them.
    fn save(&self) -> io::Result<()> {
        let _one = self.saving.lock();
        let unsaved = self.lock().addresses.unsaved();
        let saved = unsaved.and_then(|unsaved| match unsaved {
            // Not synced: no process keeps its address over a power failure.
            Some((path, Unsaved::Append(lines))) => mxjob_files::append(&path, &lines),
            Some((path, Unsaved::Replace(content))) => mxjob_files::write(&path, &content),
            None => Ok(()),
        });
        if let Err(error) = &saved {
            self.lock().addresses.not_saved();
            tracing::error!(%error, "cannot save the addresses of pods");
        }
        saved
    }

    /// The services of a namespace and their addresses.
    fn services_of(&self, namespace: &str) -> HostNames {
        let (services, pods) = {
            let table = self.lock();
            let first = (namespace.to_owned(), String::new());
            let services: Vec<(String, Arc<ServiceNames>)> = table
                .services
                .range(first..)
                .take_while(|((of, _), _)| of == namespace)
                .map(|((_, name), known)| (name.clone(), Arc::clone(known)))
                .collect();
            let pods = table.pods.values().filter(|pod| pod.owner.namespace == namespace);
            (services, pods.cloned().collect::<Vec<_>>())
        };
        addresses_of(services, &pods)
    }

    /// The services of a namespace that have variables, with the first of their addresses. There is
    /// no address of the service itself on one machine, so its pods answer directly.
    pub(super) fn links(&self, namespace: &str) -> Vec<ServiceLink> {
        let first = (namespace.to_owned(), String::new());
        let of_namespace = |table: &Table| -> Vec<(String, Vec<ServicePort>)> {
            let services = table.services.range(first..).take_while(|((of, _), _)| of == namespace);
            let linked = services.filter(|(_, known)| !known.ports.is_empty());
            linked.map(|((_, name), known)| (name.clone(), known.ports.clone())).collect()
        };
        let linked = of_namespace(&self.lock());
        if linked.is_empty() {
            return Vec::new();
        }
        let addresses = self.services_of(namespace);
        let link = |(name, ports): (String, Vec<ServicePort>)| {
            let host = addresses.get(&name)?.first()?.to_string();
            Some(ServiceLink { name, host, ports })
        };
        linked.into_iter().filter_map(link).collect()
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

    fn peers(&mut self, owner: &Owner, names: Vec<String>) -> Peers {
        let known = self.peers.get(owner).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.iter().map(|(name, _)| name).eq(&names)) {
            return known;
        }
        // No further attempt after an error, which the others would have as well.
        let with_address = |name: String| self.address(owner, &name).map(|address| (name, address));
        let peers: Peers = names.into_iter().map_while(with_address).collect();
        self.peers.insert(owner.clone(), Arc::downgrade(&peers));
        peers
    }
}

/// The addresses of services. The pods are looked up by label: services times pods would take long.
fn addresses_of(services: Vec<(String, Arc<ServiceNames>)>, pods: &[Arc<PodNames>]) -> HostNames {
    let mut by_label: HashMap<(&str, &str), Vec<&PodNames>> = HashMap::new();
    for pod in pods {
        for (key, value) in &pod.labels {
            by_label.entry((key, value)).or_default().push(pod);
        }
    }
    let mut names = HostNames::new();
    for (name, service) in services {
        let labels = service.selector.iter();
        let candidates = labels
            .map(|(key, value)| {
                by_label.get(&(key.as_str(), value.as_str())).map_or(&[][..], Vec::as_slice)
            })
            .min_by_key(|pods| pods.len())
            .unwrap_or_default();
        let selected = candidates.iter().filter(|pod| service.selects(&pod.labels));
        for pod in selected.clone() {
            if let (Some((host, Some(subdomain))), Some(address)) = (&pod.host, pod.address)
                && *subdomain == name
            {
                names.entry(format!("{host}.{subdomain}")).or_default().push(address);
            }
        }
        let mut addresses: Vec<Ipv4Addr> =
            selected.filter_map(|pod| pod.address).chain(service.reserved).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(hosts::MAX_ADDRESSES);
        names.insert(name, addresses);
    }
    names
}

/// The services, and the peers of a pod whose services do not exist yet.
fn names_of(pod: &PodNames, mut services: HostNames) -> HostNames {
    for (peer, address) in &*pod.peers {
        if services.get(peer).is_none_or(Vec::is_empty) {
            services.insert(peer.clone(), vec![*address]);
        }
    }
    services
}

fn content(pod: &PodNames, names: &HostNames, shared: &str) -> String {
    let address = pod.address.unwrap_or(Ipv4Addr::LOCALHOST);
    let own = (!names.contains_key(&pod.name)).then_some((pod.name.as_str(), address));
    let Some((host, subdomain)) = &pod.host else {
        return hosts::content(own, shared, &pod.aliases);
    };
    let full = subdomain.as_ref();
    let full = full.map(|subdomain| dns::full_name(host, subdomain, &pod.owner.namespace));
    let line = hosts::alias_line(
        &address.to_string(),
        full.iter().map(String::as_str).chain([host.as_str()]),
    );
    let lines: Vec<String> = line.into_iter().chain(pod.aliases.iter().cloned()).collect();
    hosts::content(own.filter(|(name, _)| name != host), shared, &lines)
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

/// The ports of a service at which its pods answer.
fn ports_of(service: &Service) -> Vec<ServicePort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let number = match &port.target_port {
            Some(IntOrString::Int(target)) if *target > 0 => *target,
            _ => port.port,
        };
        Some(ServicePort {
            name: port.name.clone().unwrap_or_default(),
            port: u16::try_from(number).ok()?,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        })
    };
    ports.filter_map(port).collect()
}

fn service_key(meta: &ObjectMeta) -> (String, String) {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn host_aliases(pod: &Pod) -> Vec<String> {
    let all = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    all.filter_map(|alias| {
        hosts::alias_line(&alias.ip, alias.hostnames.iter().flatten().map(String::as_str))
    })
    .collect()
}

/// The replicas in a pod's `MX_CONFIG` (`cluster.<role>[].url`). Only for pods with a controller:
/// only their peers have addresses before they exist. The user may have set the variable, so only
/// names count that the replicas of the controller can have.
fn peer_names(pod: &Pod) -> Result<Vec<String>, TooManyPeers> {
    #[derive(Deserialize)]
    struct MxConfig {
        cluster: BTreeMap<String, Vec<Replica>>,
    }
    #[derive(Deserialize)]
    struct Replica {
        url: Option<String>,
    }
    let Some(job) = controller(pod.metadata.owner_references.as_deref()) else {
        return Ok(Vec::new());
    };
    let is_peer = |name: &String| {
        name.strip_prefix(&job.name).is_some_and(|rest| rest.starts_with('-'))
            && dns1123_label(name).is_empty()
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut names: Vec<String> = containers
        .flat_map(|container| container.env.iter().flatten())
        .filter(|variable| variable.name == "MX_CONFIG")
        .filter_map(|variable| serde_json::from_str(variable.value.as_deref()?).ok())
        .flat_map(|config: MxConfig| config.cluster.into_values().flatten())
        .filter_map(|replica| replica.url)
        .filter(is_peer)
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_PEERS {
        return Err(TooManyPeers(names.len()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
