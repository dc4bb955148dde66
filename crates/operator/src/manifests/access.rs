//! The operator's account and its rights: exactly those that [`preflight`](crate::preflight) asks for.

use serde_json::{Value, json};

use super::{OPERATOR, Settings, object, with};
use crate::preflight::{Need, Parts, Scope, rights};
use crate::webhook;

const RBAC: &str = "rbac.authorization.k8s.io";
const RBAC_V1: &str = "rbac.authorization.k8s.io/v1";
/// The Role in the one namespace that is looked after. Not [`OPERATOR`], since that may be the operator's own.
const JOBS: &str = "mxjob-operator-jobs";

/// The account, its roles and their bindings.
pub(super) fn objects(settings: &Settings) -> Vec<Value> {
    let namespace = Some(settings.namespace.as_str());
    let mut objects = vec![object("v1", "ServiceAccount", OPERATOR, namespace)];
    objects.extend(cluster(
        settings,
        rules(settings, Scope::Cluster),
        rules(settings, Scope::Jobs),
    ));
    if let Some(jobs) = &settings.watch_namespace {
        objects.extend(role(JOBS, jobs, settings, &rules(settings, Scope::Jobs)));
    }
    objects.extend(role(OPERATOR, &settings.namespace, settings, &rules(settings, Scope::Own)));
    objects
}

/// The rights everywhere.
fn cluster(settings: &Settings, mut rules: Vec<Value>, jobs: Vec<Value>) -> [Value; 2] {
    if settings.watch_namespace.is_none() {
        rules.splice(0..0, jobs);
    }
    let role = with(object(RBAC_V1, "ClusterRole", OPERATOR, None), json!({ "rules": rules }));
    let binding = object(RBAC_V1, "ClusterRoleBinding", OPERATOR, None);
    [role, bound(binding, "ClusterRole", OPERATOR, settings)]
}

/// The rights in one namespace.
fn role(name: &str, namespace: &str, settings: &Settings, rules: &[Value]) -> [Value; 2] {
    let role = object(RBAC_V1, "Role", name, Some(namespace));
    let binding = object(RBAC_V1, "RoleBinding", name, Some(namespace));
    [with(role, json!({ "rules": rules })), bound(binding, "Role", name, settings)]
}

fn bound(binding: Value, kind: &str, role: &str, settings: &Settings) -> Value {
    with(
        binding,
        json!({
            "roleRef": { "apiGroup": RBAC, "kind": kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": OPERATOR, "namespace": settings.namespace }],
        }),
    )
}

/// What a setting adds, for a chart that decides about it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    Always,
    Webhook,
    Volcano,
    SchedulerPlugins,
}

/// The rules of one scope, as the settings have them.
fn rules(settings: &Settings, scope: Scope) -> Vec<Value> {
    let parts = Parts {
        gang: settings.gang(),
        lease: Some(OPERATOR.to_owned()),
        webhook: settings
            .webhook
            .then(|| (webhook::SECRET.to_owned(), webhook::CONFIGURATION.to_owned())),
    };
    let base = rights(&Parts { lease: parts.lease.clone(), ..Parts::default() });
    let all = rights(&parts);
    // What is always there first, so that settings only add to it.
    let (always, more): (Vec<Need>, Vec<Need>) =
        all.into_iter().filter(|need| need.scope == scope).partition(|need| base.contains(need));
    let mut rules = merged(&always);
    rules.extend(merged(&more));
    rules
}

/// The same rules with what each is there for.
pub(super) fn rules_by_reason(scope: Scope) -> Vec<(Because, Vec<Value>)> {
    let with = |gang_scheduler: &str, webhook| {
        let gang_scheduler = gang_scheduler.to_owned();
        rules(&Settings { gang_scheduler, webhook, ..Settings::default() }, scope)
    };
    let always = with("none", false);
    let more = |gang: &str, webhook| with(gang, webhook).split_off(always.len());
    let reasons = [
        (Because::Webhook, more("none", true)),
        (Because::Volcano, more("volcano", false)),
        (Because::SchedulerPlugins, more("other", false)),
    ];
    let reasons = reasons.into_iter().filter(|(_, rules)| !rules.is_empty()).collect::<Vec<_>>();
    std::iter::once((Because::Always, always)).chain(reasons).collect()
}

/// One rule for the resources of a group that have the same verbs.
fn merged(needs: &[Need]) -> Vec<Value> {
    let mut rules: Vec<(&Need, Vec<&str>)> = Vec::new();
    for need in needs {
        let same = rules.iter_mut().find(|(first, _)| {
            (first.group, first.verbs, &first.name) == (need.group, need.verbs, &need.name)
        });
        match same {
            Some((_, resources)) => resources.push(need.resource),
            None => rules.push((need, vec![need.resource])),
        }
    }
    let rule = |(need, resources): (&Need, Vec<&str>)| {
        let mut rule =
            json!({ "apiGroups": [need.group], "resources": resources, "verbs": need.verbs });
        if let Some(name) = &need.name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    };
    rules.into_iter().map(rule).collect()
}
