//! Fields of a pod and resources of its containers as text, for variables and files. Pure.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector, Volume};
use kube::ResourceExt as _;
use mxjob_machinery::quantity::{ParseError, Quantity};

/// The service account of pods that name none.
pub(super) const DEFAULT_ACCOUNT: &str = "default";

/// The input of fields that is not in the pod.
#[derive(Debug, Clone)]
pub(super) struct FieldFacts<'a> {
    /// The pod's address.
    pub(super) address: Ipv4Addr,
    /// The machine's own address.
    pub(super) host_ip: &'a str,
    /// The node's resources, by name.
    pub(super) allocatable: &'a BTreeMap<String, String>,
}

/// Why a field or a resource has no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldError {
    #[error("the field {0:?} is not supported in fieldRef")]
    Field(String),
    #[error("the resource {0:?} is not supported in resourceFieldRef")]
    Resource(String),
    #[error("the pod has no container {0:?}")]
    Container(String),
    #[error("the quantity {0:?} of a resourceFieldRef is invalid")]
    Quantity(String, #[source] ParseError),
}

/// The service account that a pod runs as.
pub(super) fn account_of(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref())
        .filter(|name| !name.is_empty())
        .unwrap_or(DEFAULT_ACCOUNT)
}

/// The volumes of a pod.
pub(super) fn volumes_of(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

/// The text of a field.
pub(super) fn field(pod: &Pod, path: &str, facts: &FieldFacts<'_>) -> Result<String, FieldError> {
    let entry = |kind: &str| path.strip_prefix(kind)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(label) = entry("metadata.labels") {
        return Ok(pod.labels().get(label).cloned().unwrap_or_default());
    }
    if let Some(annotation) = entry("metadata.annotations") {
        return Ok(pod.annotations().get(annotation).cloned().unwrap_or_default());
    }
    let node = || pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" | "spec.host" => node(),
        "spec.serviceAccountName" => account_of(pod).to_owned(),
        "status.podIP" | "status.podIPs" => facts.address.to_string(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_owned(),
        _ => return Err(FieldError::Field(path.to_owned())),
    })
}

/// A line `key="value"` for each entry, in the order of the keys, with Go's escapes.
fn lines(entries: &BTreeMap<String, String>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={}", quoted(value));
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Go's `strconv.Quote`, as far as it differs from printing the character.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for one in text.chars() {
        match one {
            '"' | '\\' => quoted.extend(['\\', one]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\0'..='\u{1f}' | '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(one))),
            '\u{80}'..='\u{a0}' | '\u{ad}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(one)));
            }
            _ => quoted.push(one),
        }
    }
    quoted.push('"');
    quoted
}

/// The text of a resource of a container: of the one that the selector names, or else of `own`.
pub(super) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    facts: &FieldFacts<'_>,
) -> Result<String, FieldError> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => find(pod, name),
        None => own,
    };
    let container =
        container.ok_or_else(|| FieldError::Container(named.unwrap_or_default().to_owned()))?;
    let unknown = || FieldError::Resource(selector.resource.clone());
    let (kind, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return Err(unknown());
    }
    let resources = container.resources.as_ref();
    let amount = match kind {
        "limits" => resources
            .and_then(|resources| resources.limits.as_ref()?.get(name))
            .map(|amount| amount.0.as_str())
            // A container without a limit can use all that the node has.
            .or_else(|| facts.allocatable.get(name).map(String::as_str)),
        "requests" => resources
            .and_then(|resources| resources.requests.as_ref()?.get(name))
            .map(|amount| amount.0.as_str()),
        _ => return Err(unknown()),
    };
    let quantity = |text: &str| {
        Quantity::parse(text).map_err(|error| FieldError::Quantity(text.to_owned(), error))
    };
    let amount = amount.map_or(Ok(Quantity::ZERO), quantity)?;
    let divisor = match &selector.divisor {
        Some(divisor) => quantity(&divisor.0)?,
        None => Quantity::ZERO,
    };
    let divisor = if divisor.is_zero() { Quantity::from_integer(1) } else { divisor };
    let (amount, divisor) = match name {
        "cpu" => (amount.milli_value(), divisor.milli_value()),
        _ => (amount.value(), divisor.value()),
    };
    Ok(divided(amount, divisor).to_string())
}

/// The quotient, rounded up. No divisor of the API is below one.
fn divided(amount: i64, divisor: i64) -> i64 {
    let divisor = divisor.max(1);
    let rest = i64::from(amount % divisor > 0);
    amount / divisor + rest
}

fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|one| one.name == name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod() -> Pod {
        let pod = json!({
            "metadata": {
                "name": "w-0", "namespace": "ns", "uid": "u",
                "labels": { "b": "2", "a/x": "1" },
                "annotations": { "text": "a \"b\"\n\\\u{1}é\u{80}" },
            },
            "spec": {
                "nodeName": "n",
                "initContainers": [{ "name": "init", "resources": { "limits": { "cpu": "100m" } } }],
                "containers": [
                    { "name": "c", "resources": {
                        "limits": { "cpu": "1500m", "memory": "1Gi", "hugepages-2Mi": "4Mi" },
                        "requests": { "cpu": "250m", "memory": "100Mi", "ephemeral-storage": "1k" },
                    } },
                    { "name": "free" },
                ],
            },
        });
        serde_json::from_value(pod).unwrap()
    }

    fn with_facts<T>(check: impl FnOnce(&FieldFacts<'_>) -> T) -> T {
        let allocatable = [("cpu", "8"), ("memory", "16777216Ki")]
            .map(|(name, amount)| (name.to_owned(), amount.to_owned()))
            .into();
        check(&FieldFacts {
            address: Ipv4Addr::new(127, 64, 0, 7),
            host_ip: "10.0.0.1",
            allocatable: &allocatable,
        })
    }

    #[test]
    fn fields_are_those_of_the_pod() {
        for (path, expect) in [
            ("metadata.name", Some("w-0")),
            ("metadata.namespace", Some("ns")),
            ("metadata.uid", Some("u")),
            ("metadata.labels['b']", Some("2")),
            ("metadata.labels['none']", Some("")),
            ("metadata.labels", Some("a/x=\"1\"\nb=\"2\"")),
            ("metadata.annotations", Some("text=\"a \\\"b\\\"\\n\\\\\\x01é\\u0080\"")),
            ("spec.nodeName", Some("n")),
            ("spec.serviceAccountName", Some("default")),
            ("status.podIP", Some("127.64.0.7")),
            ("status.podIPs", Some("127.64.0.7")),
            ("status.hostIP", Some("10.0.0.1")),
            ("status.hostIPs", Some("10.0.0.1")),
            ("status.phase", None),
            ("metadata.labels['b'", None),
            ("", None),
        ] {
            let found = with_facts(|facts| field(&pod(), path, facts)).ok();
            assert_eq!(found.as_deref(), expect, "{path}");
        }
    }

    fn resource_of(own: &str, selector: Value) -> Result<String, FieldError> {
        let selector = serde_json::from_value(selector).unwrap();
        let pod = pod();
        with_facts(|facts| resource(&pod, find(&pod, own), &selector, facts))
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        for (own, resource, divisor, expect) in [
            ("c", "limits.cpu", "0", "2"),
            ("c", "limits.cpu", "1", "2"),
            ("c", "limits.cpu", "1m", "1500"),
            ("c", "requests.cpu", "1", "1"),
            ("c", "requests.cpu", "1m", "250"),
            ("c", "limits.memory", "1", "1073741824"),
            ("c", "limits.memory", "1Mi", "1024"),
            ("c", "limits.memory", "1G", "2"),
            ("c", "requests.memory", "1Mi", "100"),
            ("c", "requests.ephemeral-storage", "1Ki", "1"),
            ("c", "limits.hugepages-2Mi", "1Mi", "4"),
            ("init", "limits.cpu", "1", "1"),
            // Without a limit, all that the node has; without a request, nothing.
            ("free", "limits.cpu", "1", "8"),
            ("free", "limits.memory", "1Gi", "16"),
            ("free", "limits.ephemeral-storage", "1", "0"),
            ("free", "requests.cpu", "1m", "0"),
            // Not possible with a server that validates.
            ("c", "limits.memory", "1m", "1073741824"),
            ("c", "limits.cpu", "-1", "1500"),
        ] {
            let found = resource_of(own, json!({ "resource": resource, "divisor": divisor }));
            assert_eq!(found.as_deref(), Ok(expect), "{own} {resource} {divisor}");
        }
        let other = json!({ "containerName": "init", "resource": "limits.cpu", "divisor": "1m" });
        assert_eq!(resource_of("c", other).as_deref(), Ok("100"));
    }

    #[test]
    fn unknown_resources_containers_and_divisors_are_errors() {
        for selector in [
            json!({ "resource": "limits.example.com/chip" }),
            json!({ "resource": "limits" }),
            json!({ "resource": "usage.cpu" }),
            json!({ "resource": "limits.cpu", "containerName": "none" }),
            json!({ "resource": "limits.cpu", "divisor": "x" }),
        ] {
            assert!(resource_of("c", selector.clone()).is_err(), "{selector}");
        }
    }
}
