//! Rows of the core group.

use std::sync::Arc;

use super::{config, endpoints, event, limits, namespace, node, pod, quota, service, storage};
use crate::kind::{Kind, STATUS, STATUS_ONLY, Subresource};

/// A connection is opened by either method, and authorized by it.
const CONNECT: &[&str] = &["create", "get"];

fn row(kind: &'static str, plural: &'static str, singular: &'static str) -> Kind {
    Kind::new("", kind, plural, singular)
}

pub(super) fn kinds() -> Vec<Kind> {
    let mut kinds = own();
    kinds.extend(storage::core());
    kinds
}

fn own() -> Vec<Kind> {
    vec![
        Kind {
            short_names: vec!["cm".into()],
            columns: config::CONFIG_MAP_COLUMNS.to_vec(),
            strategy: Arc::new(config::ConfigMap),
            ..row("ConfigMap", "configmaps", "configmap")
        },
        endpoints::endpoints(),
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
            columns: namespace::COLUMNS.to_vec(),
            strategy: Arc::new(namespace::Namespace),
            ..row("Namespace", "namespaces", "namespace")
        },
        Kind {
            short_names: vec!["no".into()],
            namespaced: false,
            subresources: STATUS_ONLY,
            columns: node::COLUMNS.to_vec(),
            strategy: Arc::new(node::Node),
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
            returns_deleted: true,
            strategy: Arc::new(pod::Pod),
            ..row("Pod", "pods", "pod")
        },
        Kind {
            short_names: vec!["quota".into()],
            subresources: STATUS_ONLY,
            columns: quota::COLUMNS.to_vec(),
            returns_deleted: true,
            strategy: Arc::new(quota::ResourceQuota),
            ..row("ResourceQuota", "resourcequotas", "resourcequota")
        },
        Kind {
            columns: config::SECRET_COLUMNS.to_vec(),
            strategy: Arc::new(config::Secret),
            ..row("Secret", "secrets", "secret")
        },
        Kind {
            short_names: vec!["sa".into()],
            subresources: &[Subresource {
                name: "token",
                body: Some(("authentication.k8s.io", "v1", "TokenRequest")),
                verbs: &["create"],
            }],
            returns_deleted: true,
            ..row("ServiceAccount", "serviceaccounts", "serviceaccount")
        },
        Kind {
            short_names: vec!["svc".into()],
            categories: vec!["all".into()],
            subresources: STATUS_ONLY,
            columns: service::COLUMNS.to_vec(),
            returns_deleted: true,
            strategy: Arc::new(service::Service),
            ..row("Service", "services", "service")
        },
    ]
}
