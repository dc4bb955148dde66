//! What the operator asks of the API, part by part: the one source of the check at its start and of the roles in the manifests.

use mxjob_controller::{Gang, rights as controller};

/// Some verbs on one resource, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The API group, empty for the core.
    pub group: &'static str,
    /// The plural, with the subresource if it is one: `mxjobs/status`.
    pub resource: &'static str,
    /// The verbs, as RBAC has them.
    pub verbs: &'static [&'static str],
    /// Where it is needed.
    pub scope: Scope,
    /// The one object that it is needed for; all of them if `None`. Never beside `create`, which roles cannot bind to a name.
    pub name: Option<String>,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For objects in no namespace: a ClusterRole.
    Cluster,
    /// Wherever jobs are: a ClusterRole, or a Role in the one namespace that the operator looks after.
    Jobs,
    /// In the operator's own namespace: a Role there.
    Own,
}

/// The parts that need rights.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Who decides which jobs may start.
    pub gang: Gang,
    /// The Lease of the leader election; none without one.
    pub lease: Option<String>,
    /// The names of the webhook's Secret and of its ValidatingWebhookConfiguration; none without a webhook.
    pub webhook: Option<(String, String)>,
}

/// The custom resource definition that holds the jobs.
pub const CRD: &str = "mxjobs.kubeflow.org";

/// Everything that an operator of these parts asks of the API.
#[must_use]
pub fn rights(parts: &Parts) -> Vec<Need> {
    let mut needs: Vec<Need> = controller::rights(&parts.gang)
        .into_iter()
        .map(|right| Need {
            group: right.group,
            resource: right.resource,
            verbs: right.verbs,
            scope: if right.namespaced { Scope::Jobs } else { Scope::Cluster },
            name: None,
        })
        .collect();
    let need = |group, resource, verbs, scope, name: Option<&str>| Need {
        group,
        resource,
        verbs,
        scope,
        name: name.map(str::to_owned),
    };
    // To tell whether the definition is this program's.
    let definitions = "apiextensions.k8s.io";
    needs.push(need(definitions, "customresourcedefinitions", &["get"], Scope::Cluster, Some(CRD)));
    if let Some(lease) = &parts.lease {
        let group = "coordination.k8s.io";
        needs.push(need(group, "leases", &["create"], Scope::Own, None));
        needs.push(need(group, "leases", &["get", "update"], Scope::Own, Some(lease)));
    }
    if let Some((secret, configuration)) = &parts.webhook {
        needs.push(need("", "secrets", &["create"], Scope::Own, None));
        needs.push(need("", "secrets", &["get", "update"], Scope::Own, Some(secret)));
        // Only its certificate authority is written; the rest is the installer's.
        needs.push(need(
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            &["get", "patch"],
            Scope::Cluster,
            Some(configuration),
        ));
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_is_never_bound_to_a_name() {
        let webhook = Some(("certificate".to_owned(), "mxjob".to_owned()));
        let parts = Parts { gang: Gang::Off, lease: Some("lease".to_owned()), webhook };
        let needs = rights(&parts);
        for need in &needs {
            assert!(need.name.is_none() || !need.verbs.contains(&"create"), "{need:?}");
        }
        let of = |resource| needs.iter().filter(|need| need.resource == resource).count();
        assert_eq!([of("leases"), of("secrets"), of("mxjobs/finalizers")], [2, 2, 1]);
    }

    #[test]
    fn parts_that_are_off_need_nothing() {
        let needs = rights(&Parts::default());
        assert!(needs.iter().all(|need| need.scope != Scope::Own), "{needs:?}");
    }
}
