//! The host name of a pod, and its settings for looking up names.

use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};
use kube::ResourceExt as _;

use super::sources::StartProblem;
use crate::{hosts, runtime::Sandbox, state::Bind};

/// The file with these settings.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The longest host name of the kernel.
const MAX_HOST_NAME: usize = 64;
/// Most name servers and search domains, as in Kubernetes.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// The short host name of a pod, and its `subdomain`.
pub(super) fn host_name(pod: &Pod) -> (String, Option<String>) {
    let name = pod.name_any();
    let spec = pod.spec.as_ref();
    let filled = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    if let Some(host) = filled(spec.and_then(|spec| spec.hostname_override.as_ref())) {
        return (host, None);
    }
    let host = filled(spec.and_then(|spec| spec.hostname.as_ref()));
    let host = host.unwrap_or_else(|| hosts::host_name(&name).to_owned());
    let subdomain = filled(spec.and_then(|spec| spec.subdomain.as_ref()));
    (host, subdomain)
}

/// The host name and subdomain of a pod, if they are not just its name.
pub(super) fn other_names(pod: &Pod) -> Option<(String, Option<String>)> {
    let names = host_name(pod);
    (names.1.is_some() || names.0 != hosts::host_name(&pod.name_any())).then_some(names)
}

/// A host name with its domain.
pub(super) fn full_name(host: &str, subdomain: &str, namespace: &str) -> String {
    format!("{host}.{subdomain}.{namespace}.svc.cluster.local")
}

/// The host name that the kernel reports in the pod.
pub(super) fn kernel_host_name(pod: &Pod) -> Result<String, StartProblem> {
    let (host, subdomain) = host_name(pod);
    let full = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    let Some(subdomain) = subdomain.filter(|_| full) else { return Ok(host) };
    let name = full_name(&host, &subdomain, &pod.namespace().unwrap_or_default());
    if name.len() > MAX_HOST_NAME {
        // The kubelet's message.
        return Err(StartProblem::Retryable(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({MAX_HOST_NAME} characters is the max, {} characters requested)",
            name.len()
        )));
    }
    Ok(name)
}

/// Adds the file to mount over the machine's `/etc/resolv.conf`, if the pod wants other settings
/// and no volume is mounted there. Blocks.
pub(super) fn add_resolv_conf(
    pod: &Pod,
    sandbox: &Sandbox,
    binds: &mut Vec<Bind>,
) -> Result<(), StartProblem> {
    let target = Path::new(RESOLV_CONF);
    let machine = std::fs::read_to_string(target).unwrap_or_default();
    let content = content(pod, &machine);
    let Some(content) = content.filter(|_| binds.iter().all(|bind| bind.target != target)) else {
        return Ok(());
    };
    let source = sandbox.dir().path().join("etc.resolv.conf");
    hosts::write_in_place(&source, &content).map_err(|error| {
        StartProblem::Retryable(format!("cannot write the pod's {RESOLV_CONF}: {error}"))
    })?;
    binds.push(Bind { source, sub_path: None, target: target.to_owned(), read_only: false });
    Ok(())
}

/// The name servers, search domains and options of a file.
#[derive(Debug, Default)]
struct Settings {
    servers: Vec<String>,
    searches: Vec<String>,
    /// Name and value.
    options: Vec<(String, Option<String>)>,
}

/// `None` for the machine's own settings.
fn content(pod: &Pod, machine: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let only_own = spec.dns_policy.as_deref() == Some("None");
    let config = spec.dns_config.as_ref();
    if !only_own && config.is_none() {
        return None;
    }
    // There is no cluster DNS: the names of services are in the hosts file.
    let mut settings = if only_own { Settings::default() } else { Settings::parse(machine) };
    settings.merge(config?);
    Some(settings.text())
}

impl Settings {
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default();
            let words = words.map(str::to_owned);
            match keyword {
                "nameserver" => found.servers.extend(words.take(1)),
                // The last one counts.
                "search" | "domain" => found.searches = words.collect(),
                "options" => found.options.extend(words.map(|word| match word.split_once(':') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word, None),
                })),
                _ => {}
            }
        }
        found
    }

    fn merge(&mut self, config: &PodDNSConfig) {
        self.servers.extend(config.nameservers.iter().flatten().cloned());
        self.searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            self.options.retain(|(known, _)| known != name);
            self.options.push((name.clone(), option.value.clone()));
        }
        deduplicate(&mut self.servers, MAX_SERVERS);
        deduplicate(&mut self.searches, MAX_SEARCHES);
    }

    fn text(&self) -> String {
        let servers = self.servers.iter().map(|server| format!("nameserver {server}"));
        let searches = Some(self.searches.join(" ")).filter(|line| !line.is_empty());
        let options = self.options.iter().map(|(name, value)| match value.as_deref() {
            None | Some("") => name.clone(),
            Some(value) => format!("{name}:{value}"),
        });
        let options = Some(options.collect::<Vec<_>>().join(" ")).filter(|line| !line.is_empty());
        let lines = servers
            .chain(searches.map(|line| format!("search {line}")))
            .chain(options.map(|line| format!("options {line}")))
            // No value can add a line of its own.
            .filter(|line| !line.contains(['\n', '\r', '\0']));
        lines.map(|line| line + "\n").collect()
    }
}

fn deduplicate(list: &mut Vec<String>, most: usize) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
    list.truncate(most);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MACHINE: &str = "# Written by hand\nnameserver 10.0.0.1\ndomain old\nsearch a.example b.example\noptions ndots:2 rotate\n";

    fn pod(spec: &serde_json::Value) -> Pod {
        let meta = json!({ "name": "w-0", "namespace": "ns" });
        let mut pod = json!({ "metadata": meta, "spec": { "containers": [] } });
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn settings_of_the_pod_are_merged_with_those_of_the_machine() {
        let config = json!({
            "nameservers": ["10.0.0.2", "10.0.0.1"],
            "searches": ["b.example", "c.example"],
            "options": [{ "name": "ndots", "value": "5" }, { "name": "edns0" }],
        });
        for (spec, expect) in [
            (json!({}), None),
            (json!({ "dnsPolicy": "ClusterFirst" }), None),
            (
                json!({ "dnsConfig": config }),
                Some(
                    "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a.example b.example c.example\noptions rotate ndots:5 edns0\n",
                ),
            ),
            (
                json!({ "dnsPolicy": "None", "dnsConfig": config }),
                Some(
                    "nameserver 10.0.0.2\nnameserver 10.0.0.1\nsearch b.example c.example\noptions ndots:5 edns0\n",
                ),
            ),
            (
                json!({ "dnsPolicy": "None", "dnsConfig": { "nameservers": ["::1"], "searches": ["a\nnameserver 6.6.6.6"] } }),
                Some("nameserver ::1\n"),
            ),
        ] {
            assert_eq!(content(&pod(&spec), MACHINE).as_deref(), expect, "{spec}");
        }
    }

    #[test]
    fn the_host_name_comes_from_the_pod() {
        let full = "h.s.ns.svc.cluster.local";
        for (spec, expect) in [
            (json!({}), "w-0"),
            (json!({ "hostname": "h" }), "h"),
            (json!({ "hostname": "h", "subdomain": "s" }), "h"),
            (json!({ "hostname": "h", "hostnameOverride": "o.x" }), "o.x"),
            (json!({ "hostname": "h", "setHostnameAsFQDN": true }), "h"),
            (json!({ "hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true }), full),
        ] {
            assert_eq!(kernel_host_name(&pod(&spec)).unwrap(), expect, "{spec}");
        }
        let long =
            json!({ "hostname": "h".repeat(50), "subdomain": "s", "setHostnameAsFQDN": true });
        assert!(matches!(kernel_host_name(&pod(&long)), Err(StartProblem::Retryable(_))));
    }
}
