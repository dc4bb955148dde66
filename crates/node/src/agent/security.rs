//! The user, groups and rights of a container, from the security contexts of its pod and its own.
//!
//! A process runtime has no image, so where Kubernetes asks the image (which user, in which
//! groups), this node asks the machine's user database.

mod capabilities;
mod users;

use std::{
    collections::BTreeSet,
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext};
use kube::ResourceExt as _;
use rustix::process::{getegid, geteuid, getgroups};

use self::users::Users;
use super::sources::StartProblem;
use crate::{
    ownership::give_to_group,
    runtime::Isolation,
    state::{Bind, Security},
};

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// What the node itself may do.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) user: u32,
    groups: Vec<u32>,
    /// The identity of containers that name no user; the node's own by default.
    pub(super) default: Option<Identity>,
    has_mounts: bool,
}

/// The identity and the rights of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) security: Security,
}

// === impl Node ===

impl Node {
    pub(super) fn new(default: Option<Identity>, isolation: &Isolation) -> Self {
        let own = getgroups().unwrap_or_default();
        let groups = own.into_iter().chain([getegid()]).map(rustix::fs::Gid::as_raw).collect();
        Self { user: geteuid().as_raw(), groups, default, has_mounts: isolation.has_mounts() }
    }

    /// Only root can be another user.
    const fn is_root(&self) -> bool {
        self.user == 0
    }

    /// What a container may do.
    pub(super) fn apply(&self, pod: &Pod, container: &Container) -> Result<Applied, StartProblem> {
        let users = Users::read(Path::new("/etc/passwd"), Path::new("/etc/group"));
        self.apply_with(pod, container, &users)
    }

    fn apply_with(
        &self,
        pod: &Pod,
        container: &Container,
        users: &Users,
    ) -> Result<Applied, StartProblem> {
        let none = PodSecurityContext::default();
        let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let of_pod = of_pod.unwrap_or(&none);
        let none = SecurityContext::default();
        let own = container.security_context.as_ref().unwrap_or(&none);
        let contexts = Contexts { pod, container, of_pod, own };
        let (user, group) = contexts.identity(self, users)?;
        let groups = contexts.groups(self, user, users);
        self.check_identity(&contexts, user, group, &groups)?;
        let (user, group, groups) = match self.is_root() {
            true => (user, group, groups),
            // It has all of them already, and may not set them.
            false => (None, None, Vec::new()),
        };
        let mut security = contexts.rights(self)?;
        security.groups = groups;
        Ok(Applied { user, group, security })
    }

    fn check_identity(
        &self,
        contexts: &Contexts<'_>,
        user: Option<u32>,
        group: Option<u32>,
        groups: &[u32],
    ) -> Result<(), StartProblem> {
        if self.is_root() {
            return Ok(());
        }
        let other = user.filter(|user| *user != self.user).map(|user| format!("user {user}"));
        let is_other = |group: &&u32| !self.groups.contains(group);
        let group = group.as_ref().into_iter().chain(groups).find(is_other);
        match other.or_else(|| group.map(|group| format!("group {group}"))) {
            None => Ok(()),
            Some(other) => Err(contexts.refuse(format_args!(
                "run as {other}, because mxjob runs as user {}; run mxjob as root for that",
                self.user
            ))),
        }
    }
}

/// Gives the volumes of a container to the pod's `fsGroup`. Those of the machine (`hostPath`) stay
/// as they are, as in Kubernetes.
pub(super) async fn give_volumes(
    pod: &Pod,
    container: &Container,
    binds: &[Bind],
) -> Result<(), StartProblem> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let context = spec.security_context.as_ref();
    let group = context.and_then(|context| context.fs_group).and_then(|id| u32::try_from(id).ok());
    let Some(group) = group else { return Ok(()) };
    let on_mismatch = context.and_then(|context| context.fs_group_change_policy.as_deref())
        == Some("OnRootMismatch");
    let is_own = |name: &str| {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == name);
        volume.is_some_and(|volume| volume.host_path.is_none())
    };
    // One bind for each mount, in the same order.
    let mounts = container.volume_mounts.iter().flatten().zip(binds);
    let own = mounts.filter(|(mount, _)| is_own(&mount.name));
    let sources: BTreeSet<PathBuf> = own.map(|(_, bind)| bind.source.clone()).collect();
    let given = tokio::task::spawn_blocking(move || {
        sources.iter().try_for_each(|source| give_to_group(source, group, on_mismatch))
    });
    given.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
        StartProblem::Retryable(format!("cannot give the volumes to the fsGroup {group}: {error}"))
    })
}

/// The security contexts of a container.
struct Contexts<'a> {
    pod: &'a Pod,
    container: &'a Container,
    of_pod: &'a PodSecurityContext,
    own: &'a SecurityContext,
}

impl Contexts<'_> {
    fn refuse(&self, what: impl Display) -> StartProblem {
        StartProblem::Permanent(format!("container {} cannot {what}", self.container.name))
    }

    /// User and group; `None` for the node's own.
    fn identity(
        &self,
        node: &Node,
        users: &Users,
    ) -> Result<(Option<u32>, Option<u32>), StartProblem> {
        let number = |id: i64| u32::try_from(id).ok();
        let named = self.own.run_as_user.or(self.of_pod.run_as_user).and_then(number);
        let group = self.own.run_as_group.or(self.of_pod.run_as_group).and_then(number);
        let user = named.or_else(|| node.default.map(|default| default.user));
        if self.own.run_as_non_root.or(self.of_pod.run_as_non_root) == Some(true)
            && user.unwrap_or(node.user) == 0
        {
            // The kubelet's messages.
            let what = match named {
                Some(_) => "container's runAsUser breaks non-root policy",
                None => "container has runAsNonRoot and image will run as root",
            };
            return Err(StartProblem::Retryable(format!(
                "{what} (pod: \"{}_{}({})\", container: {})",
                self.pod.name_any(),
                self.pod.namespace().unwrap_or_default(),
                self.pod.uid().unwrap_or_default(),
                self.container.name,
            )));
        }
        let group = group.or_else(|| match (named, node.default) {
            // As for a user of an image.
            (Some(user), _) => Some(users.group_of(user).unwrap_or(0)),
            (None, Some(default)) => Some(default.group),
            (None, None) => None,
        });
        // An ordinary user's node keeps its own group for its own user.
        let group = group.filter(|_| {
            node.is_root() || self.own.run_as_group.is_some() || self.of_pod.run_as_group.is_some()
        });
        Ok((user, group))
    }

    /// The supplementary groups.
    fn groups(&self, node: &Node, user: Option<u32>, users: &Users) -> Vec<u32> {
        let mut groups: Vec<u32> = Vec::new();
        let is_strict = self.of_pod.supplemental_groups_policy.as_deref() == Some("Strict");
        // An ordinary user has the groups of its login already.
        if let Some(user) = user.filter(|_| node.is_root() && !is_strict) {
            groups.extend(users.groups_of(user));
        }
        let given = self.of_pod.supplemental_groups.iter().flatten().chain(&self.of_pod.fs_group);
        groups.extend(given.filter_map(|group| u32::try_from(*group).ok()));
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Everything besides the identity.
    fn rights(&self, node: &Node) -> Result<Security, StartProblem> {
        let privileged = self.own.privileged == Some(true);
        if privileged && !node.is_root() {
            return Err(self.refuse(format_args!(
                "be privileged, because mxjob runs as user {}; run mxjob as root for that",
                node.user
            )));
        }
        let filter_system_calls = self.check_profiles(privileged)?;
        let read_only_root = self.own.read_only_root_filesystem == Some(true);
        if read_only_root && !node.has_mounts {
            return Err(self.refuse(
                "have a read-only root, because this machine permits mxjob no mount namespaces",
            ));
        }
        let (mut allowed, mut drops) = (None, false);
        if let Some(changes) = self.own.capabilities.as_ref().filter(|_| !privileged) {
            drops = changes.drop.as_ref().is_some_and(|names| !names.is_empty());
        }
        if !privileged {
            let set = capabilities::allowed(self.own.capabilities.as_ref())
                .map_err(|error| self.refuse(error))?;
            // An ordinary user has none.
            allowed = node.is_root().then_some(set);
        }
        Ok(Security {
            groups: Vec::new(),
            capabilities: allowed,
            // An ordinary user could still get capabilities through a setuid program.
            no_new_privileges: self.own.allow_privilege_escalation == Some(false)
                || (drops && !node.is_root()),
            filter_system_calls,
            read_only_root,
        })
    }

    /// Profiles that are asked for and would not be applied are refused. Returns whether to apply
    /// the default seccomp profile.
    fn check_profiles(&self, privileged: bool) -> Result<bool, StartProblem> {
        let seccomp = self.own.seccomp_profile.as_ref().or(self.of_pod.seccomp_profile.as_ref());
        let seccomp = match seccomp.map(|profile| profile.type_.as_str()) {
            None | Some("Unconfined") => false,
            // As in Kubernetes.
            Some(_) if privileged => false,
            Some("RuntimeDefault") => true,
            Some(kind) => {
                return Err(self.refuse(format_args!(
                    "use a seccomp profile of type {kind}: the process runtime has only RuntimeDefault"
                )));
            }
        };
        let armor = self.own.app_armor_profile.as_ref().or(self.of_pod.app_armor_profile.as_ref());
        if armor.is_some_and(|profile| profile.type_ == "Localhost") {
            return Err(self.refuse("use an AppArmor profile: the process runtime loads none"));
        }
        let labels = self.own.se_linux_options.as_ref().or(self.of_pod.se_linux_options.as_ref());
        // Harmless on a machine without SELinux, as in Kubernetes.
        if labels.is_some() && Path::new("/sys/fs/selinux/enforce").exists() {
            return Err(self.refuse("have an SELinux label: the process runtime sets none"));
        }
        Ok(seccomp)
    }
}

#[cfg(test)]
mod tests;
