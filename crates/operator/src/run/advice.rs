//! The commands that grant missing rights, as sentences for the log and `/readyz`.

use super::Config;
use crate::lease::Election;
use crate::manifests::{OPERATOR, Part, Settings};

/// How an operator with this configuration was installed.
pub(super) fn installed(config: &Config, webhook: bool) -> Settings {
    let Config { own_namespace, namespace, gang, .. } = config;
    Settings::of_operator(own_namespace, namespace.as_deref(), gang, webhook)
}

/// How to grant a missing right.
pub(super) fn grant(installed: &Settings) -> String {
    let command = installed.command(Part::Rbac);
    format!("grant it to the operator's service account with: {command} | kubectl apply -f -")
}

/// How to grant a missing right on the Lease. The manifests cover the Lease with the default name
/// in the operator's own namespace; any other has to be granted by hand.
pub(super) fn grant_lease(config: &Config, installed: &Settings) -> String {
    match &config.election {
        Some(Election { namespace, name, .. })
            if (namespace, name.as_str()) != (&config.own_namespace, OPERATOR) =>
        {
            format!(
                "`mxjob manifests` grants the lease {}/{OPERATOR} only, so grant the operator's service account `get` and `update` on the lease {name} and `create` on leases in the namespace {namespace}",
                config.own_namespace
            )
        }
        _ => grant(installed),
    }
}

#[cfg(test)]
mod tests {
    use mxjob_controller::{Gang, PodGroups};

    use super::*;
    use crate::client::Cluster;
    use crate::manifests::NAMESPACE;

    fn config(own: &str, namespace: Option<&str>, gang: Gang) -> Config {
        let cluster = kube::Config::new(http::Uri::from_static("https://127.0.0.1:1"));
        Config {
            cluster: Cluster { config: cluster, pod_namespace: None },
            namespace: namespace.map(str::to_owned),
            own_namespace: own.to_owned(),
            workers: 1,
            rate: None,
            election: None,
            gang,
        }
    }

    #[test]
    fn the_command_that_grants_rights_has_the_flags_of_the_installation() {
        let check = |config: &Config, command: &str| {
            let want = format!(
                "grant it to the operator's service account with: mxjob manifests --only rbac{command} | kubectl apply -f -"
            );
            let installed = installed(config, true);
            assert_eq!(grant(&installed), want);
            assert_eq!(grant_lease(config, &installed), want);
        };
        check(&config(NAMESPACE, None, Gang::Off), "");
        let gang = Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler: "gangs".to_owned() });
        check(
            &config("own", Some("team"), gang),
            " --namespace own --watch-namespace team --gang-scheduler gangs",
        );
    }

    #[test]
    fn another_lease_than_the_default_one_is_granted_by_hand() {
        let advice = |namespace: &str, name: &str| {
            let config = Config {
                election: Some(Election {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    identity: "me".to_owned(),
                    timing: crate::Timing::default(),
                }),
                ..config("own", None, Gang::Off)
            };
            grant_lease(&config, &installed(&config, true))
        };
        assert!(advice("own", OPERATOR).contains("mxjob manifests --only rbac --namespace own |"));
        for (namespace, name) in [("other", OPERATOR), ("own", "b")] {
            assert_eq!(
                advice(namespace, name),
                format!(
                    "`mxjob manifests` grants the lease own/mxjob-operator only, so grant the operator's service account `get` and `update` on the lease {name} and `create` on leases in the namespace {namespace}"
                )
            );
        }
    }
}
