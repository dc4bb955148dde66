//! The operator's ServiceAccount and its rights: exactly those that [`preflight`](crate::preflight)
//! checks.

use serde_json::{Value, json};

use super::{OPERATOR, Settings, object, with};
use crate::names::{WEBHOOK_CONFIGURATION, WEBHOOK_SECRET};
use crate::preflight::{Components, Permission, Scope, permissions};

const RBAC: &str = "rbac.authorization.k8s.io";
const RBAC_V1: &str = "rbac.authorization.k8s.io/v1";
/// The Role in the one namespace of the jobs. Not [`OPERATOR`], since that namespace may be the
/// operator's own.
const JOBS: &str = "mxjob-operator-jobs";

/// The ServiceAccount, its roles and their bindings.
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

/// The rights in all namespaces.
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

/// The setting that adds a rule, for the chart, which renders rules under conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleCondition {
    Always,
    Webhook,
    Volcano,
    SchedulerPlugins,
}

/// The rules of one scope, as the settings have them.
fn rules(settings: &Settings, scope: Scope) -> Vec<Value> {
    let parts = Components {
        gang: settings.gang(),
        lease: Some(OPERATOR.to_owned()),
        webhook: settings
            .webhook
            .then(|| (WEBHOOK_SECRET.to_owned(), WEBHOOK_CONFIGURATION.to_owned())),
    };
    let base = permissions(&Components { lease: parts.lease.clone(), ..Components::default() });
    let all = permissions(&parts);
    // The unconditional rules come first, so that settings only add rules after them.
    let (always, more): (Vec<Permission>, Vec<Permission>) = all
        .into_iter()
        .filter(|permission| permission.scope == scope)
        .partition(|permission| base.contains(permission));
    let mut rules = merged(&always);
    rules.extend(merged(&more));
    rules
}

/// The same rules with the condition of each.
pub(super) fn rules_by_condition(scope: Scope) -> Vec<(RuleCondition, Vec<Value>)> {
    let with = |gang_scheduler: &str, webhook| {
        let gang_scheduler = gang_scheduler.to_owned();
        rules(&Settings { gang_scheduler, webhook, ..Settings::default() }, scope)
    };
    let always = with("none", false);
    let more = |gang: &str, webhook| with(gang, webhook).split_off(always.len());
    let reasons = [
        (RuleCondition::Webhook, more("none", true)),
        (RuleCondition::Volcano, more("volcano", false)),
        (RuleCondition::SchedulerPlugins, more("other", false)),
    ];
    let reasons = reasons.into_iter().filter(|(_, rules)| !rules.is_empty()).collect::<Vec<_>>();
    std::iter::once((RuleCondition::Always, always)).chain(reasons).collect()
}

/// Merges the resources of a group that have the same verbs into one rule.
fn merged(permissions: &[Permission]) -> Vec<Value> {
    let mut rules: Vec<(&Permission, Vec<&str>)> = Vec::new();
    for permission in permissions {
        let same = rules.iter_mut().find(|(first, _)| {
            (first.group, first.verbs, &first.name)
                == (permission.group, permission.verbs, &permission.name)
        });
        match same {
            Some((_, resources)) => resources.push(permission.resource),
            None => rules.push((permission, vec![permission.resource])),
        }
    }
    let rule = |(permission, resources): (&Permission, Vec<&str>)| {
        let mut rule = json!({ "apiGroups": [permission.group], "resources": resources, "verbs": permission.verbs });
        if let Some(name) = &permission.name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    };
    rules.into_iter().map(rule).collect()
}
