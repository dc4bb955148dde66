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

use serde_json::{Value, json};

use crate::ownership::{OBJECT_META, Shape};

/// A list of structs told apart by one field.
macro_rules! by {
    ($key:literal, $item:expr) => {
        Shape::ListMap { keys: &[($key, None)], item: &$item }
    };
}

/// A struct that names only what is more than a scalar, a struct of such, or a list replaced as a
/// whole.
const STRUCT: Shape = Shape::Typed(&[]);
/// A map from names to scalars.
const MAP: Shape = Shape::Map(&Shape::Atomic);

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

/// What an object of a typed kind has before anybody gave it anything: the fields that its Go type
/// always writes. They belong to nobody, since no writer brought them.
#[must_use]
pub fn born(api_version: &str, kind: &str) -> Value {
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

static PLAIN: Shape = Shape::Typed(&[("metadata", &OBJECT_META)]);

static DATA: Shape = Shape::Typed(&[
    ("binaryData", &MAP),
    ("data", &MAP),
    ("metadata", &OBJECT_META),
    ("stringData", &MAP),
]);

static SERVICE_ACCOUNT: Shape =
    Shape::Typed(&[("metadata", &OBJECT_META), ("secrets", &by!("name", Shape::Atomic))]);

static EVENT: Shape = Shape::Typed(&[
    ("involvedObject", &Shape::Atomic),
    ("metadata", &OBJECT_META),
    ("regarding", &Shape::Atomic),
    ("related", &Shape::Atomic),
]);

static NAMESPACE: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    ("status", &Shape::Typed(&[("conditions", &by!("type", STRUCT))])),
]);

static RESOURCE_QUOTA: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    ("spec", &Shape::Typed(&[("hard", &MAP), ("scopeSelector", &Shape::Atomic)])),
    ("status", &Shape::Typed(&[("hard", &MAP), ("used", &MAP)])),
]);

static CLUSTER_ROLE: Shape =
    Shape::Typed(&[("aggregationRule", &STRUCT), ("metadata", &OBJECT_META)]);

static DEFINITION: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    ("status", &Shape::Typed(&[("conditions", &by!("type", STRUCT))])),
]);

static DEPLOYMENT: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    (
        "spec",
        &Shape::Typed(&[
            ("selector", &Shape::Atomic),
            ("template", &Shape::Typed(&[("metadata", &OBJECT_META), ("spec", &POD_SPEC)])),
        ]),
    ),
    ("status", &Shape::Typed(&[("conditions", &by!("type", STRUCT))])),
]);

static DISRUPTION_BUDGET: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    ("spec", &Shape::Typed(&[("selector", &Shape::Atomic)])),
    (
        "status",
        &Shape::Typed(&[
            ("conditions", &by!("type", STRUCT)),
            ("disruptedPods", &Shape::Map(&Shape::Atomic)),
        ]),
    ),
]);

static WEBHOOKS: Shape =
    Shape::Typed(&[("metadata", &OBJECT_META), ("webhooks", &by!("name", WEBHOOK))]);

const WEBHOOK: Shape = Shape::Typed(&[
    ("matchConditions", &by!("name", STRUCT)),
    ("namespaceSelector", &Shape::Atomic),
    ("objectSelector", &Shape::Atomic),
]);

static NODE: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    ("spec", &Shape::Typed(&[("podCIDRs", &Shape::Set)])),
    (
        "status",
        &Shape::Typed(&[
            ("addresses", &by!("type", STRUCT)),
            ("allocatable", &MAP),
            ("capacity", &MAP),
            ("conditions", &by!("type", STRUCT)),
        ]),
    ),
]);

static SERVICE: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    (
        "spec",
        &Shape::Typed(&[
            (
                "ports",
                &Shape::ListMap {
                    keys: &[("port", None), ("protocol", Some("TCP"))],
                    item: &STRUCT,
                },
            ),
            ("selector", &Shape::Atomic),
        ]),
    ),
    ("status", &Shape::Typed(&[("conditions", &by!("type", STRUCT))])),
]);

static POD: Shape =
    Shape::Typed(&[("metadata", &OBJECT_META), ("spec", &POD_SPEC), ("status", &POD_STATUS)]);

static POD_TEMPLATE: Shape = Shape::Typed(&[
    ("metadata", &OBJECT_META),
    ("template", &Shape::Typed(&[("metadata", &OBJECT_META), ("spec", &POD_SPEC)])),
]);

/// `v1.PodSpec`.
pub static POD_SPEC: Shape = Shape::Typed(&[
    ("affinity", &AFFINITY),
    ("containers", &by!("name", CONTAINER)),
    ("ephemeralContainers", &by!("name", CONTAINER)),
    ("hostAliases", &by!("ip", STRUCT)),
    ("imagePullSecrets", &by!("name", Shape::Atomic)),
    ("initContainers", &by!("name", CONTAINER)),
    ("nodeSelector", &Shape::Atomic),
    ("overhead", &MAP),
    ("resourceClaims", &by!("name", STRUCT)),
    ("schedulingGates", &by!("name", STRUCT)),
    (
        "topologySpreadConstraints",
        &Shape::ListMap {
            keys: &[("topologyKey", None), ("whenUnsatisfiable", None)],
            item: &Shape::Typed(&[("labelSelector", &Shape::Atomic)]),
        },
    ),
    ("volumes", &by!("name", VOLUME)),
]);

static POD_STATUS: Shape = Shape::Typed(&[
    ("conditions", &by!("type", STRUCT)),
    ("podIPs", &by!("ip", STRUCT)),
    ("resourceClaimStatuses", &by!("name", STRUCT)),
]);

static AFFINITY: Shape = Shape::Typed(&[(
    "nodeAffinity",
    &Shape::Typed(&[("requiredDuringSchedulingIgnoredDuringExecution", &Shape::Atomic)]),
)]);

const CONTAINER: Shape = Shape::Typed(&[
    ("env", &by!("name", VARIABLE)),
    (
        "ports",
        &Shape::ListMap {
            keys: &[("containerPort", None), ("protocol", Some("TCP"))],
            item: &STRUCT,
        },
    ),
    ("resources", &Shape::Typed(&[("limits", &MAP), ("requests", &MAP)])),
    ("volumeDevices", &by!("devicePath", STRUCT)),
    ("volumeMounts", &by!("mountPath", STRUCT)),
]);

const VARIABLE: Shape = Shape::Typed(&[(
    "valueFrom",
    &Shape::Typed(&[
        ("configMapKeyRef", &Shape::Atomic),
        ("fieldRef", &Shape::Atomic),
        ("resourceFieldRef", &Shape::Atomic),
        ("secretKeyRef", &Shape::Atomic),
    ]),
)]);

const VOLUME: Shape = Shape::Typed(&[(
    "csi",
    &Shape::Typed(&[("nodePublishSecretRef", &Shape::Atomic), ("volumeAttributes", &MAP)]),
)]);

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape under a path, items of lists as `*`.
    fn at<'a>(shape: &'a Shape, path: &str) -> &'a Shape {
        path.split('.').fold(shape, |shape, step| match (shape, step) {
            (Shape::ListMap { item, .. }, "*") => item,
            (Shape::Typed(fields) | Shape::Struct(fields), name) => {
                fields.iter().find(|(known, _)| *known == name).map_or(&STRUCT, |(_, shape)| shape)
            }
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
                        default.map_or((*key).to_owned(), |it| format!("{key}={it}"))
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
