//! The Node object of this machine, and the lease that shows that its agent runs.

use std::{collections::BTreeMap, fs, net::UdpSocket, path::Path, sync::Arc, time::Duration};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Node, NodeSpec},
};
use kube::{
    Api, Resource as _,
    api::{ApiResource, Patch, PatchParams, PostParams},
};
use mxjob_client::{Lenient, Raw, Unreadable};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Context, devices::Devices, events::Level, status::seconds};
use crate::{clock, state};

/// Namespace of the leases of nodes, as in Kubernetes.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How often the lease is renewed, and how long it is valid: the values of the kubelet.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u32 = 40;
/// Delay before a failed registration is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Pods per node. A shim and a small process need half a megabyte.
const MAX_PODS: u32 = 1000;

/// Registers the node, and keeps its registration and its lease up to date. Does not return.
pub(super) async fn keep_registered(context: Arc<Context>) {
    let mut node = loop {
        match register(&context).await {
            Ok(node) => break node,
            Err(error) => {
                tracing::warn!(%error, "cannot register the node; will retry");
                sleep(RETRY_DELAY).await;
            }
        }
    };
    if let Some(why) = context.runtime.isolation().why_not_limited() {
        let message = format!("limits of CPU, memory or processes are not enforced: {why}");
        tracing::warn!("{message}");
        context.events.node(&node, Level::Warning, "LimitsNotEnforced", message);
    }
    if let Some(why) = context.runtime.isolation().why_not() {
        let message = format!(
            "pods share the machine's addresses because {why}: service names in DMLC_PS_ROOT_URI are replaced by \
             addresses, and two jobs cannot listen on the same wildcard port"
        );
        context.events.node(&node, Level::Warning, "SharedNetwork", message);
    }
    loop {
        if let Err(error) = renew(&context, &node).await {
            tracing::warn!(%error, "cannot renew the node's lease");
        }
        sleep(RENEW_INTERVAL).await;
        // Recreates a deleted Node: without it the controller would admit no jobs.
        match register(&context).await {
            Ok(current) => node = current,
            Err(error) => tracing::warn!(%error, "cannot update the node's registration"),
        }
    }
}

async fn register(context: &Context) -> Result<Node, kube::Error> {
    let api: Api<Lenient<Node>> = Api::all(context.client.clone());
    let name = &context.config.node_name;
    let labels = labels(name);
    let mut found = api.get_opt(name).await?;
    if let Some(Lenient(Err(unreadable))) = &found {
        context.events.unreadable(unreadable);
        replace_unreadable(context, unreadable, &labels).await?;
        found = api.get_opt(name).await?;
    }
    let node = match found {
        Some(node) => {
            let node = readable(node);
            let have = node.metadata.labels.as_ref();
            if labels.iter().all(|(key, value)| have.and_then(|have| have.get(key)) == Some(value))
            {
                node
            } else {
                let patch = json!({ "metadata": { "labels": labels } });
                let patch = Patch::Merge(&patch);
                readable(api.patch(name, &PatchParams::default(), &patch).await?)
            }
        }
        None => {
            let mut node = Node::default();
            node.metadata.name = Some(name.clone());
            node.metadata.labels = Some(labels);
            let api: Api<Node> = Api::all(context.client.clone());
            api.create(&PostParams::default(), &node).await?
        }
    };
    let mut patch = json!({ "status": node_status(context, &node) });
    // A merge patch keeps what it does not name, so devices that no longer exist are removed
    // explicitly.
    let status = node.status.as_ref();
    for (member, before) in [
        ("capacity", status.and_then(|status| status.capacity.as_ref())),
        ("allocatable", status.and_then(|status| status.allocatable.as_ref())),
    ] {
        for name in before.into_iter().flatten().map(|(name, _)| name) {
            if patch["status"][member].get(name).is_none() {
                patch["status"][member][name] = Value::Null;
            }
        }
    }
    let patch = Patch::Merge(&patch);
    Ok(readable(api.patch_status(name, &PatchParams::default(), &patch).await?))
}

/// Replaces an unreadable Node object, which cannot be patched. A readable spec is kept.
async fn replace_unreadable(
    context: &Context,
    node: &Unreadable,
    labels: &BTreeMap<String, String>,
) -> Result<(), kube::Error> {
    let resource = ApiResource::erase::<Node>(&());
    let api: Api<Raw> = Api::all_with(context.client.clone(), &resource);
    let name = &context.config.node_name;
    let spec = node.raw.value.get("spec").and_then(|spec| NodeSpec::deserialize(spec).ok());
    let replacement = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "spec": spec.unwrap_or_default(),
        "status": {},
    });
    let replacement = Raw::new(replacement);
    // The status first: every other write carries the old status over.
    api.replace_status(name, &PostParams::default(), &replacement).await?;
    api.replace(name, &PostParams::default(), &replacement).await.map(drop)
}

/// The node; only its identity if it is unreadable.
pub(super) fn readable(node: Lenient<Node>) -> Node {
    let known = |unreadable: Box<Unreadable>| Node {
        metadata: unreadable.raw.meta().clone(),
        ..Node::default()
    };
    node.0.unwrap_or_else(known)
}

fn node_status(context: &Context, node: &Node) -> Value {
    let resources = allocatable(context.runtime.state_dir(), &context.devices);
    let uname = rustix::system::uname();
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            { "type": "InternalIP", "address": context.host_ip },
            { "type": "Hostname", "address": context.config.node_name },
        ],
        "conditions": conditions(context, node),
        "nodeInfo": {
            "architecture": architecture(),
            "bootID": state::boot_id(),
            "containerRuntimeVersion": concat!("process://", env!("CARGO_PKG_VERSION")),
            "kernelVersion": uname.release().to_string_lossy(),
            "kubeProxyVersion": "",
            "kubeletVersion": concat!("v", env!("CARGO_PKG_VERSION")),
            "machineID": read_line("/etc/machine-id"),
            "operatingSystem": "linux",
            "osImage": os_name(),
            "systemUUID": "",
        },
    })
}

/// Says whether the limits of pods are enforced.
const LIMITS_ENFORCED: &str = "ResourceLimitsEnforced";

fn conditions(context: &Context, node: &Node) -> Value {
    let limits = match context.runtime.isolation().why_not_limited() {
        None => ("True", "CgroupsAvailable", "limits of CPU, memory and processes are enforced"),
        Some(why) => ("False", "CgroupsUnavailable", why),
    };
    let ready = ("True", "AgentReady", "the node agent is running");
    let now = clock::now();
    [("Ready", ready), (LIMITS_ENFORCED, limits)]
        .map(|(kind, (status, reason, message))| {
            let known = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            let known = known.into_iter().flatten();
            let since = known
                .filter(|one| one.type_ == kind && one.status == status)
                .find_map(|one| Some(one.last_transition_time.as_ref()?.0));
            json!({
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": seconds(now),
                "lastTransitionTime": seconds(since.unwrap_or(now)),
            })
        })
        .into()
}

/// The resources for pods. Nothing is reserved for the system, because most jobs request nothing.
///
/// Requests of `ephemeral-storage` are counted, its use is not limited.
pub(super) fn allocatable(state_dir: &Path, devices: &Devices) -> Value {
    let mut resources = json!({
        "cpu": std::thread::available_parallelism().map_or(1, usize::from).to_string(),
        "memory": format!("{}Ki", memory_kib()),
        "pods": MAX_PODS.to_string(),
        "ephemeral-storage": format!("{}Ki", storage_kib(state_dir)),
    });
    for (name, amount) in devices.amounts() {
        resources[name] = amount.to_string().into();
    }
    resources
}

/// The same by name, as text.
pub(super) fn allocatable_amounts(state_dir: &Path, devices: &Devices) -> BTreeMap<String, String> {
    let resources = allocatable(state_dir, devices);
    let amounts = resources.as_object().into_iter().flatten();
    amounts.filter_map(|(name, amount)| Some((name.clone(), amount.as_str()?.to_owned()))).collect()
}

async fn renew(context: &Context, node: &Node) -> Result<(), kube::Error> {
    let api: Api<Lenient<Lease>> = Api::namespaced(context.client.clone(), LEASE_NAMESPACE);
    let name = &context.config.node_name;
    let now = format!("{:.6}", clock::now());
    let patch = json!({ "spec": { "renewTime": now } });
    match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        result => return result.map(drop),
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": LEASE_NAMESPACE,
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "Node", "name": name, "uid": node.metadata.uid },
            ],
        },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now },
    });
    let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
    let api: Api<Lease> = Api::namespaced(context.client.clone(), LEASE_NAMESPACE);
    match api.create(&PostParams::default(), &lease).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        result => return result.map(drop),
    }
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(LEASE_NAMESPACE.to_owned());
    match namespaces.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        result => drop(result?),
    }
    api.create(&PostParams::default(), &lease).await.map(drop)
}

/// The labels of the node.
pub(super) fn labels(name: &str) -> BTreeMap<String, String> {
    [
        ("kubernetes.io/arch", architecture()),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The machine's name as a node name.
pub(super) fn host_name() -> String {
    node_name(&rustix::system::uname().nodename().to_string_lossy())
}

/// Node names are DNS subdomains; host names may be anything.
fn node_name(host: &str) -> String {
    let name: String = host
        .to_ascii_lowercase()
        .chars()
        .map(|one| if one.is_ascii_alphanumeric() || one == '.' { one } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// The address that the machine uses towards the world; nothing is sent to find it.
pub(super) fn host_ip() -> String {
    let route = || {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        // An address for documentation. Nothing is sent: only the route is looked up.
        socket.connect(("192.0.2.1", 9))?;
        socket.local_addr()
    };
    route().map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// Go's name of the processor architecture, which Kubernetes uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn memory_kib() -> u64 {
    fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        })
        .unwrap_or_default()
}

/// The size of the file system of a folder.
fn storage_kib(folder: &Path) -> u64 {
    let stat = rustix::fs::statvfs(folder);
    stat.map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize) / 1024)
}

fn os_name() -> String {
    fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
            Some(line.trim_matches('"').to_owned())
        })
        .unwrap_or_else(|| "Linux".to_owned())
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::node_name;

    #[test]
    fn every_host_name_gives_a_valid_node_name() {
        for (host, expect) in [
            ("Machine.Example", "machine.example"),
            ("my_host", "my-host"),
            ("-x-", "x"),
            ("", "localhost"),
            ("(none)", "none"),
        ] {
            assert_eq!(node_name(host), expect);
        }
    }
}
