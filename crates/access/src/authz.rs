//! Authorization: role-based access control as upstream has it.
//!
//! Group `system:masters` may do everything, regardless of bindings. All others may do what their
//! roles allow; there are no deny rules. Our own components are no exception: their rights are in
//! [`roles`].
//!
//! ```text
//! cache (follows the store) ─▶ policy (roles and bindings in memory) ─▶ rules (decide)
//! roles (the default ones)
//! ```

mod cache;
pub mod policy;
pub mod roles;
pub mod rules;
mod verb;

use mxjob_machinery::names::{Namespace, ObjectName};
use mxjob_store::Store;

use crate::authz::cache::Cache;
use crate::authz::policy::{Grant, MissingRole, Policy};
use crate::identity::{self, Identity};

pub use crate::authz::verb::Verb;

/// A request, as authorization sees it.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// The caller.
    pub identity: &'a Identity,
    /// What the request does.
    pub verb: Verb<'a>,
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Resource (plural); empty for a non-resource path.
    pub resource: &'a str,
    /// Subresource; `None` for the object itself.
    pub subresource: Option<&'a str>,
    /// Namespace; `None` at the cluster scope.
    pub namespace: Option<Namespace<'a>>,
    /// Object name; `None` for a collection.
    pub name: Option<ObjectName<'a>>,
    /// Path of the request.
    pub path: &'a str,
}

/// The outcome of a request's check.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The request may proceed.
    Allow(Allowed),
    /// The request is refused with 403, [`message`] and [`details`].
    Deny(Denied),
}

/// What allows a request; `None` for `system:masters`.
#[derive(Debug, Clone)]
pub struct Allowed(Option<Grant>);

/// The roles that bindings name but that do not exist.
#[derive(Debug, Clone)]
pub struct Denied(Vec<MissingRole>);

/// Makes decisions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authorizer {
    cache: Cache,
}

// === impl Authorizer ===

impl Authorizer {
    /// An authorizer that uses the roles and bindings of a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { cache: Cache::new(store) }
    }

    /// Decides whether the caller may make the request.
    #[must_use]
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.identity.is_member(identity::SYSTEM_MASTERS) {
            return Decision::Allow(Allowed(None));
        }
        match self.policy().grant(attributes) {
            Ok(grant) => Decision::Allow(Allowed(Some(grant))),
            Err(missing) => Decision::Deny(Denied(missing)),
        }
    }

    /// All roles and bindings, as of now.
    pub fn policy(&self) -> Policy {
        self.cache.policy()
    }
}

// === impl Decision ===

impl Decision {
    /// Whether the request may proceed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// The reason, for reviews and for the message of a 403; often empty.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Allow(Allowed(grant)) => grant.as_ref().map(Grant::to_string).unwrap_or_default(),
            Self::Deny(Denied(missing)) => policy::missing_reason(missing),
        }
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// A request of a caller; all other attributes are empty.
    #[must_use]
    pub fn new(identity: &'a Identity, verb: Verb<'a>) -> Self {
        Self {
            identity,
            verb,
            group: "",
            version: "",
            resource: "",
            subresource: None,
            namespace: None,
            name: None,
            path: "",
        }
    }

    /// Whether the request is on a resource, and not on another path.
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }
}

/// The message of the 403, in upstream's words, which clients and people search for. `reason` is
/// the decision's.
#[must_use]
pub fn message(attributes: &Attributes<'_>, reason: &str) -> String {
    let sentence = sentence(attributes);
    if reason.is_empty() { sentence } else { format!("{sentence}: {reason}") }
}

fn sentence(attributes: &Attributes<'_>) -> String {
    let Attributes { verb, group, resource, subresource, namespace, name, path, .. } = *attributes;
    let user = &*attributes.identity.name;
    if !attributes.is_resource() {
        return format!("forbidden: User {user:?} cannot {verb} path {path:?}");
    }
    let subject =
        if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let object = name.map(|name| format!(" {:?}", name.as_str())).unwrap_or_default();
    let target = subresource
        .map_or_else(|| resource.to_owned(), |subresource| format!("{resource}/{subresource}"));
    let scope = namespace.map_or_else(
        || "at the cluster scope".to_owned(),
        |namespace| format!("in the namespace {:?}", namespace.as_str()),
    );
    format!(
        "{subject}{object} is forbidden: User {user:?} cannot {verb} resource {target:?} in API group {group:?} {scope}"
    )
}

/// Name, group and resource (as `kind`) for the details of a 403's Status; `None` for a path, whose
/// details are empty.
#[must_use]
pub fn details<'a>(attributes: &Attributes<'a>) -> Option<(&'a str, &'a str, &'a str)> {
    let Attributes { group, resource, name, .. } = *attributes;
    attributes.is_resource().then_some((name.map_or("", ObjectName::as_str), group, resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path<'a>(identity: &'a Identity, verb: &'a str, path: &'a str) -> Attributes<'a> {
        Attributes { path, ..Attributes::new(identity, Verb::parse(verb)) }
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
            namespace: Namespace::new(namespace),
            name: ObjectName::new(name),
            ..attributes
        }
    }

    #[test]
    fn messages_are_upstreams() {
        let limited = Identity::new("limited", "", []);
        let check =
            |attributes: Attributes<'_>, want: &str| assert_eq!(message(&attributes, ""), want);
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
                subresource: Some("log"),
                ..job(&limited, "get", "n", "p")
            },
            r#"pods "p" is forbidden: User "limited" cannot get resource "pods/log" in API group "" in the namespace "n""#,
        );
        check(
            path(&limited, "get", "/metrics"),
            r#"forbidden: User "limited" cannot get path "/metrics""#,
        );
        let metrics = path(&limited, "get", "/metrics");
        assert_eq!(
            message(&metrics, "because"),
            r#"forbidden: User "limited" cannot get path "/metrics": because"#
        );
        assert_eq!(
            details(&job(&limited, "update", "n", "a")),
            Some(("a", "kubeflow.org", "mxjobs"))
        );
        assert_eq!(details(&path(&limited, "get", "/metrics")), None);
    }
}
