//! What the controller asks of the API: the one source of the roles that are granted to it and of the check before it starts.
//!
//! The list follows the code of the executor, request by request. A right that is not in it is one that is never used, so a
//! role made of it is the least that will do. Discovery (`/api`, `/apis`) is not in it: every authenticated client may read that.

use crate::executor::{Gang, PodGroups};
use mxjob_api::mxjob;

/// Some verbs on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The API group, empty for the core.
    pub group: &'static str,
    /// The plural, with the subresource if it is one: `mxjobs/status`.
    pub resource: &'static str,
    /// The verbs, as RBAC has them.
    pub verbs: &'static [&'static str],
    /// Whether the resource lies in namespaces. What does is asked for in `Options::namespace` alone if that is given (leases of nodes
    /// apart: they lie in `kube-node-lease`).
    pub namespaced: bool,
}

/// API group of Volcano's `PodGroup`.
pub(crate) const VOLCANO: &str = "scheduling.volcano.sh";
/// API group of scheduler-plugins' `PodGroup`.
pub(crate) const SCHEDULER_PLUGINS: &str = "scheduling.x-k8s.io";

/// What a pod, a service or a pod group goes through: it is followed, made, looked at if its name is taken, removed.
const CHILD: &[&str] = &["create", "delete", "get", "list", "watch"];
const FOLLOW: &[&str] = &["list", "watch"];

/// The rights that a controller needs which runs with that gang scheduling.
pub fn rights(gang: &Gang) -> Vec<Right> {
    let namespaced = |group, resource, verbs| Right { group, resource, verbs, namespaced: true };
    let cluster = |group, resource, verbs| Right { group, resource, verbs, namespaced: false };
    let mut rights = vec![
        // Deletes the jobs whose time is up.
        namespaced(mxjob::GROUP, "mxjobs", &["delete", "list", "watch"]),
        namespaced(mxjob::GROUP, "mxjobs/status", &["patch"]),
        // Clusters that check it ask for this before an object may hold up the deletion of its owner (`blockOwnerDeletion`).
        namespaced(mxjob::GROUP, "mxjobs/finalizers", &["update"]),
        namespaced("", "pods", CHILD),
        namespaced("", "services", CHILD),
        namespaced("", "events", &["create"]),
    ];
    match gang {
        Gang::Off => {}
        Gang::Native => rights.extend([
            cluster("", "nodes", &["get", "list", "watch"]),
            cluster("scheduling.k8s.io", "priorityclasses", FOLLOW),
            // For the vigil over the nodes (`Options::nodes`).
            cluster("", "nodes/status", &["patch"]),
            namespaced("coordination.k8s.io", "leases", FOLLOW),
            namespaced("", "pods/status", &["patch"]),
        ]),
        Gang::PodGroups(scheduler) => {
            let group = match scheduler {
                PodGroups::Volcano => VOLCANO,
                PodGroups::SchedulerPlugins { .. } => SCHEDULER_PLUGINS,
            };
            rights.push(namespaced(
                group,
                "podgroups",
                &["create", "delete", "get", "list", "patch", "watch"],
            ));
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_resource_is_named_twice_and_no_verb_is_a_wildcard() {
        let plugins = PodGroups::SchedulerPlugins { scheduler: "gangs".to_owned() };
        for gang in
            [Gang::Off, Gang::Native, Gang::PodGroups(PodGroups::Volcano), Gang::PodGroups(plugins)]
        {
            let rights = rights(&gang);
            let named: BTreeSet<_> =
                rights.iter().map(|right| (right.group, right.resource)).collect();
            assert_eq!(named.len(), rights.len(), "{gang:?}");
            assert!(rights.iter().all(|right| !right.verbs.contains(&"*")), "{gang:?}");
        }
    }

    #[test]
    fn nodes_are_asked_for_only_where_the_controller_admits_jobs() {
        let asks = |gang: &Gang| rights(gang).iter().any(|right| right.resource == "nodes");
        assert!(asks(&Gang::Native));
        assert!(!asks(&Gang::Off));
        assert!(!asks(&Gang::PodGroups(PodGroups::Volcano)));
    }
}
