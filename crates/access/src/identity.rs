//! Who a caller is: a user, its groups, and the well-known names of both.

use std::collections::BTreeMap;
use std::sync::Arc;

/// May do everything; authorization cannot be configured to refuse it (upstream's superuser group).
pub const SYSTEM_MASTERS: &str = "system:masters";
/// Everybody who proved who they are.
pub const SYSTEM_AUTHENTICATED: &str = "system:authenticated";
/// Everybody else. Nobody is served as such; roles may name the group all the same.
pub const SYSTEM_UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user that nobody is: only impersonation and reviews name it.
pub const SYSTEM_ANONYMOUS: &str = "system:anonymous";
/// Extra field of an identity: by which certificate or token it was proved.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// All node agents.
pub const SYSTEM_NODES: &str = "system:nodes";
/// User name of the job controller.
pub const CONTROLLER: &str = "system:mxjob-controller";
/// User names of service accounts are this, the namespace, a colon and the account's name.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// User names of node agents are this and the node's name.
pub const NODE_PREFIX: &str = "system:node:";
/// User name that goes with the admin token.
pub const ADMIN: &str = "mxjob-admin";
/// A caller. Clones share their parts, so that an identity can travel with every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub name: Arc<str>,
    /// Stable id of the user; may be empty.
    pub uid: Arc<str>,
    /// Groups, [`SYSTEM_AUTHENTICATED`] among them.
    pub groups: Arc<[String]>,
    /// Whatever else the authenticator knows.
    pub extra: Arc<BTreeMap<String, Vec<String>>>,
}

impl Identity {
    /// A known user; [`SYSTEM_AUTHENTICATED`] is added to the groups.
    #[must_use]
    pub fn new(name: &str, uid: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == SYSTEM_AUTHENTICATED) {
            groups.push(SYSTEM_AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), uid: uid.into(), groups: groups.into(), extra: Arc::default() }
    }

    /// The same, with more that the authenticator knows.
    #[must_use]
    pub fn with_extra(self, extra: BTreeMap<String, Vec<String>>) -> Self {
        Self { extra: Arc::new(extra), ..self }
    }

    /// The administrator, to whom the admin token belongs.
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

    /// A service account, in the groups of all of them and of those of its namespace.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let groups =
            ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self::new(&format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"), uid, groups)
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
    fn every_known_user_is_in_the_group_of_the_known_once() {
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
