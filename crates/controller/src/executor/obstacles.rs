//! What the API refuses to the controller, as a sentence that names it and says how to fix it.

use kube::core::ApiResource;
use kube::runtime::watcher;
use mxjob_api::mxjob;

use super::cache::Resource;
use super::requests::Child;
use crate::pod_group::member::Kind;

/// The verb that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
}

/// Why a resource cannot be followed, if a permission or a kind is missing. Any other error is
/// temporary.
pub(super) fn of_watch(
    error: &watcher::Error,
    resource: Resource,
    kind: &ApiResource,
    namespace: Option<&str>,
) -> Option<(Verb, String)> {
    let (verb, code) = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => (Verb::List, status.code),
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => (Verb::Watch, status.code),
        watcher::Error::WatchError(status) => (Verb::Watch, status.code),
        _ => return None,
    };
    Some((verb, sentence(verb, code, resource, kind, namespace)?))
}

fn sentence(
    verb: Verb,
    code: u16,
    resource: Resource,
    kind: &ApiResource,
    namespace: Option<&str>,
) -> Option<String> {
    let verb = match verb {
        Verb::List => "list",
        Verb::Watch => "watch",
    };
    match code {
        401 => Some(
            "the server does not accept the controller's credentials; configure valid ones"
                .to_owned(),
        ),
        403 => {
            let plural = match kind.group.as_str() {
                "" => kind.plural.clone(),
                group => format!("{}.{group}", kind.plural),
            };
            Some(format!(
                "the controller may not {verb} {plural} {}: {GRANT}",
                place(resource, namespace)
            ))
        }
        404 => Some(missing(resource, kind)),
        _ => None,
    }
}

/// How to grant permissions.
const GRANT: &str = "grant it with `mxjob manifests --only rbac | kubectl apply -f -` and the flags of its installation";

/// Why no status can be written in a namespace, if a permission is missing.
pub(super) fn cannot_write_status(error: &kube::Error, namespace: &str) -> Option<String> {
    let (plural, group) = (mxjob::PLURAL, mxjob::GROUP);
    lacks_permission(error, "patch").then(|| {
        format!(
            "the controller may not patch {plural}/status.{group} in namespace {namespace}: {GRANT}"
        )
    })
}

/// Why no events can be written in a namespace, if a permission is missing.
pub(super) fn cannot_write_events(error: &kube::Error, namespace: &str) -> Option<String> {
    let verb = ["create", "patch"].into_iter().find(|verb| lacks_permission(error, verb))?;
    Some(format!("the controller may not {verb} events in namespace {namespace}: {GRANT}"))
}

/// Whether an error comes from an authorizer. Webhooks, quotas and terminating namespaces refuse
/// with the same code, and no permission helps against them.
fn lacks_permission(error: &kube::Error, verb: &str) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.code == 403
        && status.message.contains(&format!("cannot {verb} resource"))
        && !status.message.contains("admission webhook")
}

fn place(resource: Resource, namespace: Option<&str>) -> String {
    match namespace {
        _ if resource.is_of_cluster() => "of the cluster".to_owned(),
        Some(namespace) => format!("in namespace {namespace}"),
        None => "in all namespaces".to_owned(),
    }
}

fn missing(resource: Resource, kind: &ApiResource) -> String {
    let ApiResource { plural, group, version, .. } = kind;
    let what = match group.as_str() {
        "" => format!("{plural}/{version}"),
        group => format!("{plural}.{group}/{version}"),
    };
    let fix = match resource {
        Resource::Jobs => {
            "install it with `mxjob manifests --only crd | kubectl apply --server-side -f -`"
                .to_owned()
        }
        Resource::Children(Child::PodGroup(kind)) => install(kind),
        Resource::Children(Child::Pod | Child::Service)
        | Resource::Nodes
        | Resource::PriorityClasses => "it is not a Kubernetes cluster".to_owned(),
    };
    format!("the server does not serve {what}: {fix}")
}

fn install(kind: Kind) -> String {
    format!("install {} or start with --gang-scheduler none", kind.product())
}

#[cfg(test)]
mod tests {
    use super::super::watches::api_resource;
    use super::*;

    fn described(
        verb: Verb,
        code: u16,
        resource: Resource,
        namespace: Option<&str>,
    ) -> Option<String> {
        sentence(verb, code, resource, &api_resource(resource), namespace)
    }

    #[test]
    fn a_missing_permission_is_named_with_its_scope() {
        let pods = Resource::Children(Child::Pod);
        for (verb, resource, namespace, expect) in [
            (Verb::List, pods, None, "the controller may not list pods in all namespaces: "),
            (
                Verb::Watch,
                pods,
                Some("team"),
                "the controller may not watch pods in namespace team: ",
            ),
            (
                Verb::List,
                Resource::Nodes,
                Some("team"),
                "the controller may not list nodes of the cluster: ",
            ),
            (
                Verb::List,
                Resource::Jobs,
                None,
                "the controller may not list mxjobs.kubeflow.org in all namespaces: ",
            ),
        ] {
            let message = described(verb, 403, resource, namespace).unwrap();
            assert_eq!(message.strip_prefix(expect), Some(GRANT), "{message}");
        }
    }

    #[test]
    fn a_missing_kind_is_named_with_its_installation() {
        let group = |kind| Resource::Children(Child::PodGroup(kind));
        for (resource, expect) in [
            (
                group(Kind::Volcano),
                "the server does not serve podgroups.scheduling.volcano.sh/v1beta1: install Volcano or start with --gang-scheduler none",
            ),
            (
                group(Kind::SchedulerPlugins),
                "the server does not serve podgroups.scheduling.x-k8s.io/v1alpha1: install scheduler-plugins or start with --gang-scheduler none",
            ),
            (
                Resource::Jobs,
                "the server does not serve mxjobs.kubeflow.org/v1: install it with `mxjob manifests --only crd | kubectl apply --server-side -f -`",
            ),
        ] {
            assert_eq!(described(Verb::List, 404, resource, None).as_deref(), Some(expect));
        }
    }

    #[test]
    fn temporary_errors_are_no_obstacles() {
        for code in [409, 410, 429, 500, 503] {
            assert_eq!(described(Verb::List, code, Resource::Jobs, None), None, "{code}");
        }
    }

    #[test]
    fn only_errors_of_an_authorizer_are_a_missing_permission() {
        for (message, expect) in [
            (
                r#"mxjobs.kubeflow.org "digits" is forbidden: User "o" cannot patch resource "mxjobs/status" in API group "kubeflow.org" in the namespace "team""#,
                true,
            ),
            (r#"admission webhook "p.q" denied the request: no status today"#, false),
            (
                r#"admission webhook "p.q" denied the request: User "o" cannot patch resource "mxjobs""#,
                false,
            ),
            (
                "mxjobs.kubeflow.org \"digits\" is forbidden: namespace team is being terminated",
                false,
            ),
            ("mxjobs.kubeflow.org \"digits\" is forbidden: exceeded quota", false),
        ] {
            let status = kube::core::Status::failure(message, "Forbidden").with_code(403);
            let error = kube::Error::Api(Box::new(status));
            let reason = cannot_write_status(&error, "team");
            assert_eq!(reason.is_some(), expect, "{message}");
            assert!(reason.is_none_or(|reason| reason.contains(" in namespace team: ")));
        }
    }
}
