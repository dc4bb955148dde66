//! What a caller may do: role-based access control as upstream has it.
//!
//! Group `system:masters` may do everything, whatever the bindings say. Everybody else may do what the roles bound to them
//! allow; there is no way to forbid. A component of ours is no exception: its rights are the [`roles`] of every server.
//!
//! ```text
//! cache ── follows the store ─▶ policy ── roles and bindings in memory ─▶ rules ── does this one allow that?
//! aggregation ── roles made of other roles                   roles ── the default ones
//! ```

pub mod aggregation;
mod cache;
pub mod policy;
pub mod roles;
pub mod rules;

use mxjob_store::Store;

use crate::authz::cache::Cache;
use crate::authz::policy::{Grant, MissingRole, Policy};
use crate::identity;
use crate::identity::Identity;

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
#[derive(Debug, Clone)]
pub enum Decision {
    /// Go on.
    Allow(Allowed),
    /// 403, with [`message`] and [`details`].
    Deny(Denied),
}

/// By what a request is allowed.
#[derive(Debug, Clone)]
pub struct Allowed(Option<Grant>);

/// What went wrong on the way to a refusal.
#[derive(Debug, Clone)]
pub struct Denied(Vec<MissingRole>);

/// Decides. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authorizer {
    cache: Cache,
}

// === impl Authorizer ===

impl Authorizer {
    /// An authorizer by the roles and bindings of a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { cache: Cache::new(store) }
    }

    /// Whether the caller may do that.
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
    /// Whether it is a yes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// Why, as reviews and the message of a 403 give it; often empty.
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

    /// Whether it is a question about a resource, and not about a path.
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }
}

/// The message of the 403, worded as upstream words it: clients and people search for these texts. `reason` is the
/// decision's.
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
                subresource: "log",
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
