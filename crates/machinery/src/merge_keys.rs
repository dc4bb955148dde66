//! How the lists and maps of the built-in kinds are merged: one table for strategic merge patches
//! and for field ownership.
//!
//! Kubernetes publishes this twice, as `x-kubernetes-patch-merge-key` / `-patch-strategy`
//! (strategic merge patch) and as `x-kubernetes-list-map-keys` / `-list-type` / `-map-type`
//! (server-side apply). The two agree for what is served here: the first key of a list is the merge
//! key of a patch, the whole of them tells items apart for ownership. Where a map is atomic to
//! ownership, a patch still merges it entry by entry, as upstream does.
//!
//! Owns the table and nothing else: it validates nothing, and a field that it does not name is a
//! struct, a scalar or a list that is replaced as a whole.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::ownership::{OBJECT_META, Shape};

/// A list of structs that one field identifies.
fn by(key: &'static str, item: Shape) -> Shape {
    Shape::list_map([(key, None)], item)
}

/// A struct that names only what is more than a scalar, a struct of such, or a list replaced as a
/// whole.
fn typed<const N: usize>(fields: [(&'static str, Shape); N]) -> Shape {
    Shape::Typed(fields.map(|(name, shape)| (name.into(), shape)).into())
}

fn plain() -> Shape {
    typed([])
}

/// A map from names to scalars.
fn map() -> Shape {
    Shape::Map(Box::new(Shape::Atomic))
}

/// How objects of a built-in kind are merged. Kinds that are not in the table have metadata and
/// plain structs.
#[must_use]
pub fn shape(api_version: &str, kind: &str) -> &'static Shape {
    let core = api_version == "v1";
    match kind {
        "Pod" if core => &POD,
        "PodTemplate" if core => &POD_TEMPLATE,
        "Service" if core => &SERVICE,
        "Node" if core => &NODE,
        "Namespace" if core => &NAMESPACE,
        "ConfigMap" | "Secret" if core => &DATA,
        "ServiceAccount" if core => &SERVICE_ACCOUNT,
        "Event" => &EVENT,
        "ResourceQuota" if core => &RESOURCE_QUOTA,
        "ClusterRole" => &CLUSTER_ROLE,
        "CustomResourceDefinition" => &DEFINITION,
        "Deployment" => &DEPLOYMENT,
        "PodDisruptionBudget" => &DISRUPTION_BUDGET,
        "ValidatingWebhookConfiguration" => &WEBHOOKS,
        _ => &PLAIN,
    }
}

/// The zero value of a typed kind: the fields that its Go type always writes. No manager owns them,
/// since no writer sent them.
#[must_use]
pub fn zero_value(api_version: &str, kind: &str) -> Value {
    let core = api_version == "v1";
    match kind {
        "Pod" if core => json!({"spec": {"containers": null}, "status": {}}),
        "Service" if core => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        "Node" if core => json!({"spec": {}, "status": {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {
                "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "",
                "osImage": "", "systemUUID": "",
            },
        }}),
        "Namespace" | "ResourceQuota" if core => json!({"spec": {}, "status": {}}),
        "LimitRange" if core => json!({"spec": {"limits": null}}),
        "Event" if core => json!({
            "eventTime": null, "firstTimestamp": null, "involvedObject": {}, "lastTimestamp": null,
            "reportingComponent": "", "reportingInstance": "", "source": {},
        }),
        "Event" => json!({
            "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null, "deprecatedSource": {},
            "eventTime": null, "regarding": {},
        }),
        "Lease" => json!({"spec": {}}),
        "Deployment" => json!({
            "spec": {"selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}}},
            "status": {},
        }),
        "PodDisruptionBudget" => json!({"spec": {}, "status": {
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        }}),
        "PriorityClass" => json!({"value": 0}),
        "Role" | "ClusterRole" => json!({"rules": null}),
        "RoleBinding" | "ClusterRoleBinding" => {
            json!({"roleRef": {"apiGroup": "", "kind": "", "name": ""}})
        }
        "CustomResourceDefinition" => json!({
            "spec": {"group": "", "names": {"kind": "", "plural": ""}, "scope": "", "versions": null},
            "status": {"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": null},
        }),
        _ => json!({}),
    }
}

static PLAIN: LazyLock<Shape> = LazyLock::new(|| typed([("metadata", OBJECT_META.clone())]));

static DATA: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("binaryData", map()),
        ("data", map()),
        ("metadata", OBJECT_META.clone()),
        ("stringData", map()),
    ])
});

static SERVICE_ACCOUNT: LazyLock<Shape> = LazyLock::new(|| {
    typed([("metadata", OBJECT_META.clone()), ("secrets", by("name", Shape::Atomic))])
});

static EVENT: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("involvedObject", Shape::Atomic),
        ("metadata", OBJECT_META.clone()),
        ("regarding", Shape::Atomic),
        ("related", Shape::Atomic),
    ])
});

static NAMESPACE: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        ("status", typed([("conditions", by("type", plain()))])),
    ])
});

static RESOURCE_QUOTA: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        ("spec", typed([("hard", map()), ("scopeSelector", Shape::Atomic)])),
        ("status", typed([("hard", map()), ("used", map())])),
    ])
});

static CLUSTER_ROLE: LazyLock<Shape> =
    LazyLock::new(|| typed([("aggregationRule", plain()), ("metadata", OBJECT_META.clone())]));

static DEFINITION: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        ("status", typed([("conditions", by("type", plain()))])),
    ])
});

static DEPLOYMENT: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        (
            "spec",
            typed([
                ("selector", Shape::Atomic),
                ("template", typed([("metadata", OBJECT_META.clone()), ("spec", pod_spec())])),
            ]),
        ),
        ("status", typed([("conditions", by("type", plain()))])),
    ])
});

static DISRUPTION_BUDGET: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        ("spec", typed([("selector", Shape::Atomic)])),
        ("status", typed([("conditions", by("type", plain())), ("disruptedPods", map())])),
    ])
});

static WEBHOOKS: LazyLock<Shape> = LazyLock::new(|| {
    typed([("metadata", OBJECT_META.clone()), ("webhooks", by("name", webhook()))])
});

fn webhook() -> Shape {
    typed([
        ("matchConditions", by("name", plain())),
        ("namespaceSelector", Shape::Atomic),
        ("objectSelector", Shape::Atomic),
    ])
}

static NODE: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        ("spec", typed([("podCIDRs", Shape::Set)])),
        (
            "status",
            typed([
                ("addresses", by("type", plain())),
                ("allocatable", map()),
                ("capacity", map()),
                ("conditions", by("type", plain())),
            ]),
        ),
    ])
});

static SERVICE: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        (
            "spec",
            typed([
                ("ports", Shape::list_map([("port", None), ("protocol", Some("TCP"))], plain())),
                ("selector", Shape::Atomic),
            ]),
        ),
        ("status", typed([("conditions", by("type", plain()))])),
    ])
});

static POD: LazyLock<Shape> = LazyLock::new(|| {
    typed([("metadata", OBJECT_META.clone()), ("spec", pod_spec()), ("status", pod_status())])
});

static POD_TEMPLATE: LazyLock<Shape> = LazyLock::new(|| {
    typed([
        ("metadata", OBJECT_META.clone()),
        ("template", typed([("metadata", OBJECT_META.clone()), ("spec", pod_spec())])),
    ])
});

/// `v1.PodSpec`.
fn pod_spec() -> Shape {
    typed([
        ("affinity", affinity()),
        ("containers", by("name", container())),
        ("ephemeralContainers", by("name", container())),
        ("hostAliases", by("ip", plain())),
        ("imagePullSecrets", by("name", Shape::Atomic)),
        ("initContainers", by("name", container())),
        ("nodeSelector", Shape::Atomic),
        ("overhead", map()),
        ("resourceClaims", by("name", plain())),
        ("schedulingGates", by("name", plain())),
        (
            "topologySpreadConstraints",
            Shape::list_map(
                [("topologyKey", None), ("whenUnsatisfiable", None)],
                typed([("labelSelector", Shape::Atomic)]),
            ),
        ),
        ("volumes", by("name", volume())),
    ])
}

fn pod_status() -> Shape {
    typed([
        ("conditions", by("type", plain())),
        ("podIPs", by("ip", plain())),
        ("resourceClaimStatuses", by("name", plain())),
    ])
}

fn affinity() -> Shape {
    typed([(
        "nodeAffinity",
        typed([("requiredDuringSchedulingIgnoredDuringExecution", Shape::Atomic)]),
    )])
}

fn container() -> Shape {
    typed([
        ("env", by("name", variable())),
        ("ports", Shape::list_map([("containerPort", None), ("protocol", Some("TCP"))], plain())),
        ("resources", typed([("limits", map()), ("requests", map())])),
        ("volumeDevices", by("devicePath", plain())),
        ("volumeMounts", by("mountPath", plain())),
    ])
}

fn variable() -> Shape {
    typed([(
        "valueFrom",
        typed([
            ("configMapKeyRef", Shape::Atomic),
            ("fieldRef", Shape::Atomic),
            ("resourceFieldRef", Shape::Atomic),
            ("secretKeyRef", Shape::Atomic),
        ]),
    )])
}

fn volume() -> Shape {
    typed([("csi", typed([("nodePublishSecretRef", Shape::Atomic), ("volumeAttributes", map())]))])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape under a path, items of lists as `*`.
    fn at<'a>(shape: &'a Shape, path: &str) -> &'a Shape {
        path.split('.').fold(shape, |shape, step| match (shape, step) {
            (Shape::ListMap { item, .. }, "*") => item,
            (Shape::Typed(_) | Shape::Struct(_), name) => shape.field(name).0,
            (shape, step) => panic!("no {step} in {shape:?}"),
        })
    }

    #[test]
    fn lists_are_merged_by_the_keys_that_kubernetes_publishes() {
        for (kind, path, wanted) in [
            ("Pod", "spec.containers", "name"),
            ("Pod", "spec.initContainers.*.env", "name"),
            ("Pod", "spec.containers.*.ports", "containerPort,protocol=TCP"),
            ("Pod", "spec.containers.*.volumeMounts", "mountPath"),
            ("Pod", "spec.containers.*.volumeDevices", "devicePath"),
            ("Pod", "spec.containers.*.command", ""),
            ("Pod", "spec.containers.*.envFrom", ""),
            ("Pod", "spec.volumes", "name"),
            ("Pod", "spec.tolerations", ""),
            ("Pod", "spec.hostAliases", "ip"),
            ("Pod", "spec.imagePullSecrets", "name"),
            ("Pod", "spec.topologySpreadConstraints", "topologyKey,whenUnsatisfiable"),
            ("Pod", "status.conditions", "type"),
            ("Pod", "status.podIPs", "ip"),
            ("Pod", "status.containerStatuses", ""),
            ("Pod", "metadata.ownerReferences", "uid"),
            ("Service", "spec.ports", "port,protocol=TCP"),
            ("Service", "spec.externalIPs", ""),
            ("Node", "status.addresses", "type"),
            ("Node", "status.conditions", "type"),
            ("Node", "spec.taints", ""),
            ("Namespace", "spec.finalizers", ""),
            ("Namespace", "status.conditions", "type"),
            ("ServiceAccount", "secrets", "name"),
            ("ServiceAccount", "imagePullSecrets", ""),
            ("LimitRange", "spec.limits", ""),
            ("Deployment", "spec.template.spec.containers.*.env", "name"),
            ("ValidatingWebhookConfiguration", "webhooks", "name"),
            ("ValidatingWebhookConfiguration", "webhooks.*.rules", ""),
        ] {
            let keys = match at(shape("v1", kind), path) {
                Shape::ListMap { keys, .. } => keys
                    .iter()
                    .map(|(key, default)| {
                        default.as_ref().map_or_else(|| key.to_string(), |it| format!("{key}={it}"))
                    })
                    .collect::<Vec<_>>()
                    .join(","),
                _ => String::new(),
            };
            assert_eq!(keys, wanted, "{kind} {path}");
        }
    }

    #[test]
    fn lists_of_words_are_sets_where_kubernetes_merges_them() {
        assert!(matches!(at(shape("v1", "Pod"), "metadata.finalizers"), Shape::Set));
        assert!(matches!(at(shape("v1", "Node"), "spec.podCIDRs"), Shape::Set));
    }
}
