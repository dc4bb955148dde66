//! The roles grant exactly the rights that the preflight check needs.

use std::collections::BTreeSet;

use super::*;
use crate::names::{WEBHOOK_CONFIGURATION, WEBHOOK_SECRET};
use crate::preflight::{Components, Scope, permissions};

/// One permission: namespace, group, resource, name, verb.
type Permission = (String, String, String, String, String);

fn words(value: &Value) -> Vec<String> {
    let words = value.as_array().into_iter().flatten();
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// What the manifests grant to the operator.
fn granted(settings: &Settings) -> BTreeSet<Permission> {
    let mut granted = BTreeSet::new();
    for role in parts(settings, &[Part::Rbac]) {
        let place = role["metadata"]["namespace"].as_str().unwrap_or("everywhere").to_owned();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let names = Some(words(&rule["resourceNames"])).filter(|names| !names.is_empty());
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    for name in names.clone().unwrap_or_else(|| vec!["*".to_owned()]) {
                        for verb in words(&rule["verbs"]) {
                            let permission = (
                                place.clone(),
                                group.clone(),
                                resource.clone(),
                                name.clone(),
                                verb.clone(),
                            );
                            assert!(granted.insert(permission.clone()), "twice: {permission:?}");
                        }
                    }
                }
            }
        }
    }
    granted
}

/// What the operator needs.
fn needed(settings: &Settings) -> BTreeSet<Permission> {
    let names = || (WEBHOOK_SECRET.to_owned(), WEBHOOK_CONFIGURATION.to_owned());
    let permissions = permissions(&Components {
        gang: settings.gang(),
        lease: Some(OPERATOR.to_owned()),
        webhook: settings.webhook.then(names),
    });
    let place = |scope| match scope {
        Scope::Own => settings.namespace.clone(),
        Scope::Jobs => settings.watch_namespace.clone().unwrap_or_else(|| "everywhere".to_owned()),
        Scope::Cluster => "everywhere".to_owned(),
    };
    let permissions = permissions.iter().flat_map(|permission| {
        permission.verbs.iter().map(|verb| {
            let name = permission.name.clone().unwrap_or_else(|| "*".to_owned());
            (
                place(permission.scope),
                permission.group.to_owned(),
                permission.resource.to_owned(),
                name,
                (*verb).to_owned(),
            )
        })
    });
    permissions.collect()
}

#[test]
fn the_operator_is_granted_what_it_needs_and_nothing_else() {
    for settings in variety() {
        assert_eq!(granted(&settings), needed(&settings), "{settings:?}");
        for (_, _, resource, name, verb) in granted(&settings) {
            assert!(verb != "*" && resource != "*");
            if resource == "secrets" && verb != "create" {
                assert_eq!(name, "mxjob-webhook-certificate", "no other Secret is readable");
            }
        }
    }
}

#[test]
fn users_get_rights_through_the_default_roles() {
    let roles = parts(&Settings::default(), &[Part::Roles]);
    for (word, writes) in [("admin", true), ("edit", true), ("view", false)] {
        let role = find(&roles, "ClusterRole", &format!("kubeflow-mxjobs-{word}")).unwrap();
        let labels = &role["metadata"]["labels"];
        assert_eq!(labels[format!("rbac.authorization.k8s.io/aggregate-to-{word}")], "true");
        let kubeflow = format!("rbac.authorization.kubeflow.org/aggregate-to-kubeflow-{word}");
        assert_eq!(labels[kubeflow], "true");
        let verbs = words(&role["rules"][0]["verbs"]);
        assert_eq!(verbs.contains(&"delete".to_owned()), writes, "{word}");
        assert!(verbs.contains(&"watch".to_owned()));
        assert_eq!(
            words(&role["rules"][1]["verbs"]),
            ["get"],
            "only the operator writes the status"
        );
    }
}
