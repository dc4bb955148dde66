//! Identities: a user, its groups, and the well-known names of both.

use std::collections::BTreeMap;
use std::sync::Arc;

/// May do everything; no binding can restrict it (upstream's superuser group).
pub const SYSTEM_MASTERS: &str = "system:masters";
/// The group of all authenticated users.
pub const SYSTEM_AUTHENTICATED: &str = "system:authenticated";
/// The group of unauthenticated users, who may only read paths that roles open to the group.
pub const SYSTEM_UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of all service accounts.
pub const SYSTEM_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// The unauthenticated user.
pub const SYSTEM_ANONYMOUS: &str = "system:anonymous";
/// Extra field of an identity: the id of the certificate or token that proved it.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// All node agents.
pub const SYSTEM_NODES: &str = "system:nodes";
/// User name of the job controller.
pub const CONTROLLER: &str = "system:mxjob-controller";
/// Prefix of service accounts' user names; the namespace, a colon and the account's name follow.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// Prefix of node agents' user names; the node's name follows.
pub const NODE_PREFIX: &str = "system:node:";
/// User name of the admin token.
pub const ADMIN: &str = "mxjob-admin";
/// A caller. Clones share their parts, since every request carries one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub name: Arc<str>,
    /// Stable id of the user, if it has one; else empty.
    pub uid: Arc<str>,
    /// Groups, including [`SYSTEM_AUTHENTICATED`].
    pub groups: Arc<[String]>,
    /// Additional facts from the authenticator.
    pub extra: Arc<BTreeMap<String, Vec<String>>>,
}

impl Identity {
    /// An authenticated user; [`SYSTEM_AUTHENTICATED`] is added to the groups.
    #[must_use]
    pub fn new(name: &str, uid: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == SYSTEM_AUTHENTICATED) {
            groups.push(SYSTEM_AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), uid: uid.into(), groups: groups.into(), extra: Arc::default() }
    }

    /// The same identity with an additional fact.
    #[must_use]
    pub fn with_extra(self, extra: BTreeMap<String, Vec<String>>) -> Self {
        Self { extra: Arc::new(extra), ..self }
    }

    /// The administrator, who owns the admin token.
    #[must_use]
    pub fn admin() -> Self {
        Self::new(ADMIN, "", [SYSTEM_MASTERS.to_owned()])
    }

    /// The job controller of this process.
    #[must_use]
    pub fn controller() -> Self {
        Self::new(CONTROLLER, "", [])
    }

    /// The node agent of this process.
    #[must_use]
    pub fn node(node: &str) -> Self {
        Self::new(&format!("{NODE_PREFIX}{node}"), "", [SYSTEM_NODES.to_owned()])
    }

    /// A service account, with the groups of all accounts and of its namespace's accounts.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let groups =
            [SYSTEM_SERVICE_ACCOUNTS.to_owned(), format!("{SYSTEM_SERVICE_ACCOUNTS}:{namespace}")];
        Self::new(&format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"), uid, groups)
    }

    /// The caller of a request without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: SYSTEM_ANONYMOUS.into(),
            uid: "".into(),
            groups: [SYSTEM_UNAUTHENTICATED.to_owned()].into(),
            extra: Arc::default(),
        }
    }

    /// Whether the user is in a group.
    #[must_use]
    pub fn is_member(&self, group: &str) -> bool {
        self.groups.iter().any(|member| member == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authenticated_users_are_in_system_authenticated_exactly_once() {
        assert_eq!(*Identity::new("ann", "", []).groups, [SYSTEM_AUTHENTICATED]);
        assert_eq!(
            *Identity::new("ann", "", [SYSTEM_AUTHENTICATED.to_owned()]).groups,
            [SYSTEM_AUTHENTICATED]
        );
        assert!(
            Identity::admin().is_member(SYSTEM_MASTERS)
                && Identity::admin().is_member(SYSTEM_AUTHENTICATED)
        );
    }
}
