//! The permissions that the controller needs: the one source of the roles that are granted to it
//! and of the check before it starts.
//!
//! The list follows the executor request by request. It has no permission that is never used, so a
//! role made of it is minimal. Discovery (`/api`, `/apis`) is not in it: every authenticated client
//! may read that.

use mxjob_api::mxjob;

use crate::pod_group::member::Kind;
use crate::scheduling::Gang;

/// Some verbs on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The API group, empty for the core.
    pub group: &'static str,
    /// The plural, with the subresource if there is one: `mxjobs/status`.
    pub resource: &'static str,
    /// The verbs, as in RBAC.
    pub verbs: &'static [&'static str],
    /// Whether the resource is namespaced. A namespaced resource is used in `Options::namespace`
    /// alone if that is given.
    pub namespaced: bool,
}

/// The verbs on services, and on pods too: they are watched, created, read if the name exists
/// already, and deleted.
const CHILD: &[&str] = &["create", "delete", "get", "list", "watch"];
const FOLLOW: &[&str] = &["list", "watch"];

/// The permissions that a controller with that gang scheduling needs.
pub fn rights(gang: &Gang) -> Vec<Right> {
    let namespaced = |group, resource, verbs| Right { group, resource, verbs, namespaced: true };
    let cluster = |group, resource, verbs| Right { group, resource, verbs, namespaced: false };
    let mut rights = vec![
        // Deletes jobs after their TTL.
        namespaced(mxjob::GROUP, "mxjobs", &["delete", "list", "watch"]),
        namespaced(mxjob::GROUP, "mxjobs/status", &["patch"]),
        // Some clusters require this before an object may block the deletion of its owner
        // (`blockOwnerDeletion`).
        namespaced(mxjob::GROUP, "mxjobs/finalizers", &["update"]),
        // A patch stops a pod that its node would restart, without deleting its logs.
        namespaced("", "pods", &["create", "delete", "get", "list", "patch", "watch"]),
        namespaced("", "services", CHILD),
        namespaced("", "events", &["create", "patch"]),
    ];
    match gang {
        Gang::Off => {}
        Gang::Native => rights.extend([
            cluster("", "nodes", FOLLOW),
            cluster("scheduling.k8s.io", "priorityclasses", FOLLOW),
        ]),
        Gang::PodGroups(scheduler) => {
            rights.push(namespaced(
                Kind::of(scheduler).group(),
                "podgroups",
                &["create", "delete", "get", "list", "patch", "watch"],
            ));
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scheduling::PodGroups;

    #[test]
    fn resources_are_unique_and_no_verb_is_a_wildcard() {
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
    fn nodes_are_read_only_where_the_controller_schedules_jobs() {
        let asks = |gang: &Gang| rights(gang).iter().any(|right| right.resource == "nodes");
        assert!(asks(&Gang::Native));
        assert!(!asks(&Gang::Off));
        assert!(!asks(&Gang::PodGroups(PodGroups::Volcano)));
    }
}
