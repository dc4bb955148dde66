//! Resources that tests use.

use kube::api::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// A resource of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its plural.
    pub plural: &'static str,
    /// `v1`, or group and version.
    pub api_version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
}

const fn namespaced(
    plural: &'static str,
    api_version: &'static str,
    kind: &'static str,
) -> Resource {
    Resource { plural, api_version, kind, is_namespaced: true }
}

const fn cluster_wide(
    plural: &'static str,
    api_version: &'static str,
    kind: &'static str,
) -> Resource {
    Resource { plural, api_version, kind, is_namespaced: false }
}

/// The resources whose objects are recorded. Pod groups exist in two API groups.
pub(crate) const RESOURCES: [Resource; 14] = [
    namespaced("mxjobs", "kubeflow.org/v1", "MXJob"),
    namespaced("pods", "v1", "Pod"),
    namespaced("services", "v1", "Service"),
    namespaced("events", "v1", "Event"),
    namespaced("leases", "coordination.k8s.io/v1", "Lease"),
    namespaced("configmaps", "v1", "ConfigMap"),
    namespaced("secrets", "v1", "Secret"),
    namespaced("persistentvolumeclaims", "v1", "PersistentVolumeClaim"),
    namespaced("podgroups", "scheduling.volcano.sh/v1beta1", "PodGroup"),
    namespaced("podgroups", "scheduling.x-k8s.io/v1alpha1", "PodGroup"),
    cluster_wide("persistentvolumes", "v1", "PersistentVolume"),
    cluster_wide("nodes", "v1", "Node"),
    cluster_wide("namespaces", "v1", "Namespace"),
    cluster_wide("priorityclasses", "scheduling.k8s.io/v1", "PriorityClass"),
];

impl Resource {
    /// The first resource of that plural.
    ///
    /// # Panics
    /// If tests do not know the resource.
    #[must_use]
    pub fn named(plural: &str) -> Self {
        let found = RESOURCES.into_iter().find(|resource| resource.plural == plural);
        found.unwrap_or_else(|| panic!("the testkit does not know {plural}"))
    }

    /// The same for `kube`.
    #[must_use]
    pub fn api_resource(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", self.api_version));
        let kind = GroupVersionKind::gvk(group, version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// The path of its collection in a namespace, or in the whole cluster if that is empty.
    pub(crate) fn path(&self, namespace: &str) -> String {
        let root = if self.api_version.contains('/') { "apis" } else { "api" };
        let (version, plural) = (self.api_version, self.plural);
        if self.is_namespaced && !namespace.is_empty() {
            format!("/{root}/{version}/namespaces/{namespace}/{plural}")
        } else {
            format!("/{root}/{version}/{plural}")
        }
    }
}

/// The definition of a custom resource that accepts any object.
pub(crate) fn permissive_definition(resource: &Resource) -> Value {
    let (group, version) = resource.api_version.split_once('/').unwrap();
    let (plural, kind) = (resource.plural, resource.kind);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // A group of Kubernetes needs the approval of its API reviewers.
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/scheduler-plugins/pull/52" },
        },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
            },
            "versions": [{
                "name": version, "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                } },
            }],
        },
    })
}

/// The definitions of the pod groups of Volcano and of the scheduler plugins.
#[must_use]
pub fn pod_group_definitions() -> [Value; 2] {
    let groups = RESOURCES.iter().filter(|resource| resource.plural == "podgroups");
    let definitions: Vec<Value> = groups.map(permissive_definition).collect();
    definitions.try_into().unwrap()
}
