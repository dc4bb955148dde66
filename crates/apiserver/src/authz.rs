//! What a caller may do.
//!
//! Until roles and bindings are served, the rules are this table, read from the top:
//!
//! | caller | may |
//! | --- | --- |
//! | group `system:masters` | everything |
//! | `system:mxjob-controller` | every verb on every resource |
//! | `system:node:*` in group `system:nodes` | every verb on every resource |
//! | anybody known | `get` on discovery, OpenAPI, version and health (upstream's role `system:discovery`) |
//! | anybody else, anything else | nothing |

use crate::authn::{self, Identity};

/// Non-resource paths of upstream's role `system:discovery`; a `*` at the end stands for anything.
const DISCOVERY_PATHS: &[&str] = &[
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/readyz",
    "/openapi",
    "/openapi/*",
    "/version",
    "/version/",
];

/// What is asked for, by whom.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// The caller.
    pub identity: &'a Identity,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`; the method in lower case
    /// where `resource` is empty.
    pub verb: &'a str,
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Resource (plural); empty for a path that is not a resource.
    pub resource: &'a str,
    /// Subresource; may be empty.
    pub subresource: &'a str,
    /// Namespace; empty at the cluster scope.
    pub namespace: &'a str,
    /// Object name; empty for a collection.
    pub name: &'a str,
    /// Path of the request.
    pub path: &'a str,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// 403, with [`message`] and [`details`].
    Deny,
}

/// Decides. Cheap to clone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Authorizer;

// === impl Authorizer ===

impl Authorizer {
    /// Whether the caller may do that.
    #[must_use]
    pub fn authorize(self, attributes: &Attributes<'_>) -> Decision {
        let identity = attributes.identity;
        let allowed = if identity.is_member(authn::SYSTEM_MASTERS) {
            true
        } else if attributes.is_resource() {
            is_component(identity)
        } else {
            attributes.verb == "get"
                && identity.is_member(authn::SYSTEM_AUTHENTICATED)
                && DISCOVERY_PATHS.iter().any(|pattern| matches(pattern, attributes.path))
        };
        if allowed { Decision::Allow } else { Decision::Deny }
    }
}

fn is_component(identity: &Identity) -> bool {
    *identity.name == *authn::CONTROLLER
        || identity.name.starts_with(authn::NODE_PREFIX) && identity.is_member(authn::SYSTEM_NODES)
}

fn matches(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == path, |prefix| path.starts_with(prefix))
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// Everything empty but the caller, to be filled in.
    #[must_use]
    pub fn new(identity: &'a Identity) -> Self {
        let (verb, group, version, resource, subresource) = ("", "", "", "", "");
        Self {
            identity,
            verb,
            group,
            version,
            resource,
            subresource,
            namespace: "",
            name: "",
            path: "",
        }
    }

    fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }
}

/// The message of the 403, worded as upstream words it: clients and people search for these texts.
#[must_use]
pub fn message(attributes: &Attributes<'_>) -> String {
    let Attributes { verb, group, resource, subresource, namespace, name, path, .. } = *attributes;
    let user = &*attributes.identity.name;
    if !attributes.is_resource() {
        return format!("forbidden: User {user:?} cannot {verb} path {path:?}");
    }
    let subject =
        if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let object = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    let what = if subresource.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}/{subresource}")
    };
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    format!(
        "{subject}{object} is forbidden: User {user:?} cannot {verb} resource {what:?} in API group {group:?} {scope}"
    )
}

/// What the details of the 403's Status name: name, group and resource (as `kind`); `None` for a path, whose details are
/// empty.
#[must_use]
pub fn details<'a>(attributes: &Attributes<'a>) -> Option<(&'a str, &'a str, &'a str)> {
    attributes.is_resource().then_some((attributes.name, attributes.group, attributes.resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path<'a>(identity: &'a Identity, verb: &'a str, path: &'a str) -> Attributes<'a> {
        Attributes { verb, path, ..Attributes::new(identity) }
    }

    fn job<'a>(
        identity: &'a Identity,
        verb: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        let attributes = path(identity, verb, "/apis/kubeflow.org/v1/…");
        Attributes {
            group: "kubeflow.org",
            version: "v1",
            resource: "mxjobs",
            namespace,
            name,
            ..attributes
        }
    }

    #[test]
    fn the_table_decides() {
        let limited = Identity::new("limited", "", []);
        let check = |attributes: Attributes<'_>, allowed: bool| {
            let decision = Authorizer.authorize(&attributes);
            assert_eq!(decision == Decision::Allow, allowed, "{attributes:?}");
        };
        for path_of_all in [
            "/api",
            "/api/v1",
            "/apis",
            "/apis/kubeflow.org/v1",
            "/openapi/v3",
            "/version",
            "/version/",
        ] {
            check(path(&limited, "get", path_of_all), true);
            check(path(&limited, "post", path_of_all), false);
        }
        for path_of_few in ["/metrics", "/", "/apisx", "/versions", "/debug/pprof"] {
            check(path(&limited, "get", path_of_few), false);
            check(path(&Identity::admin(), "get", path_of_few), true);
            check(path(&Identity::controller(), "get", path_of_few), false);
        }
        for verb in
            ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
        {
            check(job(&limited, verb, "n", "a"), false);
            check(job(&Identity::admin(), verb, "n", "a"), true);
            check(job(&Identity::controller(), verb, "n", "a"), true);
            check(job(&Identity::node("n1"), verb, "n", "a"), true);
        }
        // The name alone does not make a node agent.
        check(job(&Identity::new("system:node:n1", "", []), "get", "n", "a"), false);
    }

    #[test]
    fn messages_are_upstreams() {
        let limited = Identity::new("limited", "", []);
        let check = |attributes: Attributes<'_>, want: &str| assert_eq!(message(&attributes), want);
        check(
            job(&limited, "list", "vec-err", ""),
            r#"mxjobs.kubeflow.org is forbidden: User "limited" cannot list resource "mxjobs" in API group "kubeflow.org" in the namespace "vec-err""#,
        );
        check(
            job(&limited, "update", "vec-err", "a"),
            r#"mxjobs.kubeflow.org "a" is forbidden: User "limited" cannot update resource "mxjobs" in API group "kubeflow.org" in the namespace "vec-err""#,
        );
        check(
            job(&limited, "list", "", ""),
            r#"mxjobs.kubeflow.org is forbidden: User "limited" cannot list resource "mxjobs" in API group "kubeflow.org" at the cluster scope"#,
        );
        check(
            Attributes {
                group: "",
                resource: "pods",
                subresource: "log",
                ..job(&limited, "get", "n", "p")
            },
            r#"pods "p" is forbidden: User "limited" cannot get resource "pods/log" in API group "" in the namespace "n""#,
        );
        check(
            path(&limited, "get", "/metrics"),
            r#"forbidden: User "limited" cannot get path "/metrics""#,
        );
        assert_eq!(
            details(&job(&limited, "update", "n", "a")),
            Some(("a", "kubeflow.org", "mxjobs"))
        );
        assert_eq!(details(&path(&limited, "get", "/metrics")), None);
    }
}
