//! Rows of the core group.

use std::sync::Arc;

use jiff::Timestamp;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::{field, names, pod_spec};
use serde_json::{Value, json};

use super::{default_to, event, limits, namespace, or_none, pod, quota};
use crate::kind::{AGE, NAME, STATUS, STATUS_ONLY, computed};
use crate::kind::{Column, Kind, Subresource};
use crate::strategy::Strategy;

/// A connection is opened by either method, and authorized by it.
const CONNECT: &[&str] = &["create", "get"];

fn row(kind: &'static str, plural: &'static str, singular: &'static str) -> Kind {
    Kind::new("", kind, plural, singular)
}

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        Kind {
            short_names: vec!["cm".into()],
            columns: CONFIG_MAP_COLUMNS.to_vec(),
            strategy: Arc::new(ConfigMap),
            ..row("ConfigMap", "configmaps", "configmap")
        },
        Kind {
            short_names: vec!["ep".into()],
            columns: ENDPOINTS_COLUMNS.to_vec(),
            ..row("Endpoints", "endpoints", "endpoints")
        },
        Kind {
            short_names: vec!["ev".into()],
            columns: event::COLUMNS.to_vec(),
            create_on_update: true,
            strategy: Arc::new(event::Event),
            ..row("Event", "events", "event")
        },
        Kind {
            short_names: vec!["limits".into()],
            columns: limits::COLUMNS.to_vec(),
            strategy: Arc::new(limits::LimitRange),
            ..row("LimitRange", "limitranges", "limitrange")
        },
        Kind {
            short_names: vec!["ns".into()],
            namespaced: false,
            verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
            subresources: &[
                Subresource { name: "finalize", body: None, verbs: &["update"] },
                Subresource { name: "status", body: None, verbs: STATUS },
            ],
            columns: NAMESPACE_COLUMNS.to_vec(),
            strategy: Arc::new(namespace::Namespace),
            ..row("Namespace", "namespaces", "namespace")
        },
        Kind {
            short_names: vec!["no".into()],
            namespaced: false,
            subresources: STATUS_ONLY,
            columns: NODE_COLUMNS.to_vec(),
            strategy: Arc::new(Node),
            ..row("Node", "nodes", "node")
        },
        Kind {
            short_names: vec!["po".into()],
            categories: vec!["all".into()],
            subresources: &[
                Subresource {
                    name: "attach",
                    body: Some(("", "v1", "PodAttachOptions")),
                    verbs: CONNECT,
                },
                Subresource {
                    name: "binding",
                    body: Some(("", "v1", "Binding")),
                    verbs: &["create"],
                },
                Subresource {
                    name: "eviction",
                    body: Some(("policy", "v1", "Eviction")),
                    verbs: &["create"],
                },
                Subresource {
                    name: "exec",
                    body: Some(("", "v1", "PodExecOptions")),
                    verbs: CONNECT,
                },
                Subresource { name: "log", body: None, verbs: &["get"] },
                Subresource {
                    name: "portforward",
                    body: Some(("", "v1", "PodPortForwardOptions")),
                    verbs: CONNECT,
                },
                Subresource { name: "status", body: None, verbs: STATUS },
            ],
            columns: pod::COLUMNS.to_vec(),
            strategy: Arc::new(pod::Pod),
            ..row("Pod", "pods", "pod")
        },
        Kind {
            short_names: vec!["quota".into()],
            subresources: STATUS_ONLY,
            columns: quota::COLUMNS.to_vec(),
            strategy: Arc::new(quota::ResourceQuota),
            ..row("ResourceQuota", "resourcequotas", "resourcequota")
        },
        Kind {
            columns: SECRET_COLUMNS.to_vec(),
            strategy: Arc::new(Secret),
            ..row("Secret", "secrets", "secret")
        },
        Kind {
            short_names: vec!["sa".into()],
            subresources: &[Subresource {
                name: "token",
                body: Some(("authentication.k8s.io", "v1", "TokenRequest")),
                verbs: &["create"],
            }],
            ..row("ServiceAccount", "serviceaccounts", "serviceaccount")
        },
        Kind {
            short_names: vec!["svc".into()],
            categories: vec!["all".into()],
            subresources: STATUS_ONLY,
            columns: SERVICE_COLUMNS.to_vec(),
            strategy: Arc::new(Service),
            ..row("Service", "services", "service")
        },
    ]
}

const CONFIG_MAP_COLUMNS: &[Column] = &[NAME, computed("Data", 0, data_count), AGE];
const ENDPOINTS_COLUMNS: &[Column] = &[NAME, computed("Endpoints", 0, addresses), AGE];
const NAMESPACE_COLUMNS: &[Column] =
    &[NAME, computed("Status", 0, |object, _| text(object, "/status/phase").into()), AGE];
const SECRET_COLUMNS: &[Column] = &[
    NAME,
    computed("Type", 0, |object, _| text(object, "/type").into()),
    computed("Data", 0, data_count),
    AGE,
];

const NODE_COLUMNS: &[Column] = &[
    NAME,
    computed("Status", 0, |node, _| {
        let ready = list(node, "/status/conditions")
            .iter()
            .find(|condition| text(condition, "/type") == "Ready");
        match ready.map(|condition| text(condition, "/status")) {
            Some("True") => "Ready".into(),
            Some(_) => "NotReady".into(),
            None => "Unknown".into(),
        }
    }),
    computed("Roles", 0, |_, _| "<none>".into()),
    AGE,
    computed("Version", 0, |node, _| text(node, "/status/nodeInfo/kubeletVersion").into()),
    computed("Internal-IP", 1, |node, _| {
        let address = list(node, "/status/addresses")
            .iter()
            .find(|address| text(address, "/type") == "InternalIP");
        or_none(address.map_or("", |address| text(address, "/address")))
    }),
    computed("External-IP", 1, |_, _| "<none>".into()),
    computed("OS-Image", 1, |node, _| or_none(text(node, "/status/nodeInfo/osImage"))),
    computed("Kernel-Version", 1, |node, _| or_none(text(node, "/status/nodeInfo/kernelVersion"))),
    computed("Container-Runtime", 1, |node, _| {
        or_none(text(node, "/status/nodeInfo/containerRuntimeVersion"))
    }),
];

const SERVICE_COLUMNS: &[Column] = &[
    NAME,
    computed("Type", 0, |service, _| text(service, "/spec/type").into()),
    computed("Cluster-IP", 0, |service, _| or_none(text(service, "/spec/clusterIP"))),
    computed("External-IP", 0, |_, _| "<none>".into()),
    computed("Port(s)", 0, |service, _| {
        let ports = list(service, "/spec/ports").iter().map(|port| {
            let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
            format!("{number}/{}", text(port, "/protocol"))
        });
        or_none(&ports.collect::<Vec<_>>().join(","))
    }),
    AGE,
    computed("Selector", 1, |service, _| {
        let pairs =
            service.pointer("/spec/selector").and_then(Value::as_object).into_iter().flatten();
        let pairs =
            pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        or_none(&pairs.collect::<Vec<_>>().join(","))
    }),
];

fn data_count(object: &Value, _: Timestamp) -> Value {
    let count =
        |field| object.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    (count("data") + count("binaryData")).to_string().into()
}

fn addresses(object: &Value, _: Timestamp) -> Value {
    let ips = list(object, "/subsets").iter().flat_map(|subset| list(subset, "/addresses"));
    or_none(&ips.map(|address| text(address, "/ip")).collect::<Vec<_>>().join(","))
}

/// Nodes register with their status.
#[derive(Debug)]
struct Node;

impl Strategy for Node {
    fn is_selectable(&self, field: &str) -> bool {
        field == "spec.unschedulable"
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        let unschedulable =
            object.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false);
        (field == "spec.unschedulable").then(|| unschedulable.to_string())
    }

    fn keeps_status_on_create(&self) -> bool {
        true
    }
}

/// The keys of config maps become names of files.
#[derive(Debug)]
struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value) -> field::Errors {
        key_errors(object, &["data", "binaryData"])
    }
}

fn key_errors(object: &Value, maps: &[&str]) -> field::Errors {
    let check = |map: &&str| {
        pod_spec::validate_keys(object.get(*map).unwrap_or(&Value::Null), &field::Path::new(*map))
    };
    maps.iter().map(check).collect()
}

/// Secrets take `stringData` and give back base64.
#[derive(Debug)]
struct Secret;

impl Secret {
    fn fold_strings(object: &mut Value) {
        use base64::Engine as _;
        default_to(object, "type", "Opaque");
        let Some(map) = object.as_object_mut() else { return };
        let Some(Value::Object(strings)) = map.remove("stringData") else { return };
        let data = map.entry("data").or_insert_with(|| json!({}));
        if let Some(data) = data.as_object_mut() {
            for (key, value) in strings {
                let text = value.as_str().unwrap_or_default();
                data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
            }
        }
    }
}

impl Strategy for Secret {
    fn prepare_create(&self, object: &mut Value) {
        Self::fold_strings(object);
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        Self::fold_strings(new);
    }

    fn validate(&self, object: &Value) -> field::Errors {
        key_errors(object, &["data"])
    }

    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        if text(old, "/type") != text(new, "/type") {
            let shown = text(new, "/type");
            errors.push(field::Error::invalid(
                &field::Path::new("type"),
                shown,
                "field is immutable",
            ));
        }
        errors
    }

    fn is_selectable(&self, field: &str) -> bool {
        field == "type"
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        (field == "type").then(|| text(object, "/type").to_owned())
    }
}

/// Services: names must be DNS labels, ports have a protocol. The node assigns addresses.
#[derive(Debug)]
struct Service;

impl Service {
    fn defaults(object: &mut Value) {
        let Some(spec) = object.get_mut("spec") else { return };
        default_to(spec, "type", "ClusterIP");
        default_to(spec, "sessionAffinity", "None");
        if text(spec, "/clusterIP") == "None" {
            default_to(spec, "clusterIPs", json!(["None"]));
        }
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            default_to(port, "protocol", "TCP");
            let number = port.get("port").cloned().unwrap_or_default();
            default_to(port, "targetPort", number);
        }
    }
}

impl Strategy for Service {
    fn prepare_create(&self, object: &mut Value) {
        Self::defaults(object);
        default_to(object, "status", json!({"loadBalancer": {}}));
    }

    fn prepare_update(&self, _: &Value, new: &mut Value) {
        Self::defaults(new);
    }

    fn validate(&self, object: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        let name = text(object, "/metadata/name");
        for error in names::dns1035_label(name) {
            errors.push(field::Error::invalid(
                &field::Path::new("metadata").child("name"),
                name,
                error,
            ));
        }
        let path = field::Path::new("spec").child("ports");
        for (index, port) in list(object, "/spec/ports").iter().enumerate() {
            let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
            if !(1..=65535).contains(&number) {
                let detail = "must be between 1 and 65535, inclusive";
                errors.push(field::Error::invalid(
                    &path.index(index).child("port"),
                    number,
                    detail,
                ));
            }
        }
        errors
    }

    fn exposes_ports(&self) -> bool {
        true
    }

    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "spec.clusterIP" | "spec.type")
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        match field {
            "spec.clusterIP" => Some(text(object, "/spec/clusterIP").to_owned()),
            "spec.type" => Some(text(object, "/spec/type").to_owned()),
            _ => None,
        }
    }
}
