//! The rights that the operator needs: the source of the preflight check and of the roles in the
//! manifests.

use mxjob_controller::{Gang, rights as controller};

/// The right to use some verbs on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The API group, empty for the core.
    pub group: &'static str,
    /// The plural, with its subresource if there is one: `mxjobs/status`.
    pub resource: &'static str,
    /// The verbs, as RBAC has them.
    pub verbs: &'static [&'static str],
    /// Where it is needed.
    pub scope: Scope,
    /// The one object that it is for; all objects if `None`. Never together with `create`, which
    /// roles cannot restrict to a name.
    pub name: Option<String>,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For objects without a namespace: a ClusterRole.
    Cluster,
    /// In the namespaces of the jobs: a ClusterRole, or a Role in the one namespace that the
    /// operator manages.
    Jobs,
    /// In the operator's own namespace: a Role there.
    Own,
}

/// The components that need rights.
#[derive(Debug, Clone, Default)]
pub struct Components {
    /// How the pods of a job are started together.
    pub gang: Gang,
    /// The name of the leader election's Lease; `None` without an election.
    pub lease: Option<String>,
    /// The names of the webhook's Secret and of its ValidatingWebhookConfiguration; `None` without
    /// a webhook.
    pub webhook: Option<(String, String)>,
}

/// The name of the MXJob CustomResourceDefinition.
pub const CRD: &str = "mxjobs.kubeflow.org";

/// All rights of an operator with these components.
#[must_use]
pub fn permissions(components: &Components) -> Vec<Permission> {
    let mut permissions: Vec<Permission> = controller::rights(&components.gang)
        .into_iter()
        .map(|right| Permission {
            group: right.group,
            resource: right.resource,
            verbs: right.verbs,
            scope: if right.namespaced { Scope::Jobs } else { Scope::Cluster },
            name: None,
        })
        .collect();
    let permission = |group, resource, verbs, scope, name: Option<&str>| Permission {
        group,
        resource,
        verbs,
        scope,
        name: name.map(str::to_owned),
    };
    // To compare the CustomResourceDefinition with the one of this version.
    let definitions = "apiextensions.k8s.io";
    permissions.push(permission(
        definitions,
        "customresourcedefinitions",
        &["get"],
        Scope::Cluster,
        Some(CRD),
    ));
    if let Some(lease) = &components.lease {
        let group = "coordination.k8s.io";
        permissions.push(permission(group, "leases", &["create"], Scope::Own, None));
        permissions.push(permission(group, "leases", &["get", "update"], Scope::Own, Some(lease)));
    }
    if let Some((secret, configuration)) = &components.webhook {
        permissions.push(permission("", "secrets", &["create"], Scope::Own, None));
        permissions.push(permission("", "secrets", &["get", "update"], Scope::Own, Some(secret)));
        // Only its caBundle is written; the rest belongs to the installation.
        permissions.push(permission(
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            &["get", "patch"],
            Scope::Cluster,
            Some(configuration),
        ));
    }
    permissions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_is_never_restricted_to_a_name() {
        let webhook = Some(("certificate".to_owned(), "mxjob".to_owned()));
        let parts = Components { gang: Gang::Off, lease: Some("lease".to_owned()), webhook };
        let permissions = permissions(&parts);
        for permission in &permissions {
            assert!(
                permission.name.is_none() || !permission.verbs.contains(&"create"),
                "{permission:?}"
            );
        }
        let of = |resource| {
            permissions.iter().filter(|permission| permission.resource == resource).count()
        };
        assert_eq!([of("leases"), of("secrets"), of("mxjobs/finalizers")], [2, 2, 1]);
    }

    #[test]
    fn components_that_are_off_need_no_rights() {
        let permissions = permissions(&Components::default());
        assert!(
            permissions.iter().all(|permission| permission.scope != Scope::Own),
            "{permissions:?}"
        );
    }
}
