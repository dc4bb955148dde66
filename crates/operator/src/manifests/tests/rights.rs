//! Roles and rights are the same thing: every rule comes from a right, and every right is in a rule.

use super::*;
use crate::preflight::{Parts, Scope, rights};
use std::collections::BTreeSet;

/// One permission: where, group, resource, name, verb.
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

/// What the operator asks for.
fn asked(settings: &Settings) -> BTreeSet<Permission> {
    let names = || (crate::webhook::SECRET.to_owned(), crate::webhook::CONFIGURATION.to_owned());
    let needs = rights(&Parts {
        gang: settings.gang(),
        lease: Some(OPERATOR.to_owned()),
        webhook: settings.webhook.then(names),
    });
    let place = |scope| match scope {
        Scope::Own => settings.namespace.clone(),
        Scope::Jobs => settings.watch_namespace.clone().unwrap_or_else(|| "everywhere".to_owned()),
        Scope::Cluster => "everywhere".to_owned(),
    };
    let permissions = needs.iter().flat_map(|need| {
        need.verbs.iter().map(|verb| {
            let name = need.name.clone().unwrap_or_else(|| "*".to_owned());
            (
                place(need.scope),
                need.group.to_owned(),
                need.resource.to_owned(),
                name,
                (*verb).to_owned(),
            )
        })
    });
    permissions.collect()
}

#[test]
fn the_operator_is_granted_what_it_asks_for_and_nothing_else() {
    for settings in variety() {
        assert_eq!(granted(&settings), asked(&settings), "{settings:?}");
        for (_, _, resource, name, verb) in granted(&settings) {
            assert!(verb != "*" && resource != "*");
            if resource == "secrets" && verb != "create" {
                assert_eq!(name, "mxjob-webhook-certificate", "no other Secret is readable");
            }
        }
    }
}

#[test]
fn people_get_what_their_role_says_through_the_usual_roles() {
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
        assert_eq!(words(&role["rules"][1]["verbs"]), ["get"], "the status is the operator's");
    }
}
