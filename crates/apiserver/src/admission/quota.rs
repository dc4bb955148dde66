//! Quotas: usage of a namespace and its limits (upstream's `resourcequota` plug-in and controller).
//!
//! Usage is counted from the stored objects, so that it cannot drift: by the garbage collector when
//! objects are deleted or finish, and here before a create is rejected. A create updates the quota in
//! the same transaction, only if the quota is as it was read: two creates cannot both take the last
//! place, and the recorded usage is never below the real one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mxjob_machinery::quantity::Quantity;
use mxjob_store::{Entry, Expect, ListOptions, Op};
use serde_json::{Value, json};

use super::limits::{self, Amounts};
use super::{refused, stored};
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::server::Inner;
use mxjob_machinery::json::{list, text};

/// Kinds that are also counted by their bare names.
const BY_NAME: &[&str] =
    &["configmaps", "persistentvolumeclaims", "pods", "resourcequotas", "secrets", "services"];
/// Resources that every container must declare if a quota limits them.
const DECLARED: &[&str] =
    &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// The operations on quotas that go with the creation of an object; none where no quota counts it.
///
/// # Errors
/// 403 where a quota would be exceeded, or the pod does not declare a resource that a quota limits.
pub(crate) fn account(
    context: &Context<'_>,
    name: &str,
    object: &Value,
) -> Result<Vec<Op>, ApiError> {
    let mut operations = Vec::new();
    if !context.kind.namespaced {
        return Ok(operations);
    }
    // Read before the objects are counted: a concurrent create changes the quota.
    let quotas = stored(&context.server.store, "", "v1", "resourcequotas", context.namespace());
    for entry in quotas {
        let quota = document::decode(&entry.value);
        let hard = limits::amounts(quota.pointer("/spec/hard"));
        let delta = usage(context.kind, object, &hard, &quota, context.now);
        if delta.is_empty() {
            continue;
        }
        let quota_name = document::meta_str(&quota, "name").to_owned();
        if let Some(missing) = undeclared(context.kind, object, &hard) {
            return Err(refused(
                context.kind,
                name,
                &format!("failed quota: {quota_name}: must specify {missing}"),
            ));
        }
        // The recorded usage is never too low: objects are counted only if the create would exceed it.
        let (mut used, mut exceeded) = (recorded(&quota, &hard), BTreeSet::new());
        if used.as_ref().is_none_or(|used| !beyond(used, &delta, &hard).is_empty()) {
            let counted = count(context.server, context.namespace(), &hard, &quota, context.now);
            exceeded = beyond(&counted, &delta, &hard);
            used = Some(counted);
        }
        let used = used.unwrap_or_default();
        if !exceeded.is_empty() {
            let why = format!(
                "exceeded quota: {quota_name}, requested: {}, used: {}, limited: {}",
                listed(&delta, &exceeded),
                listed(&used, &exceeded),
                listed(&hard, &exceeded)
            );
            return Err(refused(context.kind, name, &why));
        }
        let mut total = used;
        limits::add(&mut total, &delta);
        operations.push(put(entry, quota, &hard, &total));
    }
    Ok(operations)
}

/// Whether the namespace has quotas, so that creates in it are serialized.
pub(crate) fn limits_namespace(context: &Context<'_>) -> bool {
    context.kind.namespaced
        && !stored(&context.server.store, "", "v1", "resourcequotas", context.namespace())
            .is_empty()
}

/// The resources of which there would be too much.
fn beyond<'a>(used: &Amounts, delta: &'a Amounts, hard: &Amounts) -> BTreeSet<&'a str> {
    let mut total = used.clone();
    limits::add(&mut total, delta);
    delta
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .filter(|(name, _)| total.get(*name) > hard.get(*name))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The recorded usage, if it covers all resources that the quota limits.
fn recorded(quota: &Value, hard: &Amounts) -> Option<Amounts> {
    let used = limits::amounts(quota.pointer("/status/used"));
    used.keys().eq(hard.keys()).then_some(used)
}

fn put(entry: Entry, mut quota: Value, hard: &Amounts, used: &Amounts) -> Op {
    if let Some(quota) = quota.as_object_mut() {
        quota.insert("status".to_owned(), status_of(hard, used));
    }
    Op::Put { key: entry.key, expect: Expect::At(entry.revision), value: document::encode(&quota) }
}

/// The status a quota should have; `None` where it has it.
pub(crate) fn fresh_status(server: &Inner, quota: &Value, now: Timestamp) -> Option<Value> {
    let hard = limits::amounts(quota.pointer("/spec/hard"));
    let used = count(server, document::meta_str(quota, "namespace"), &hard, quota, now);
    let status = status_of(&hard, &used);
    let old = |name: &str| limits::amounts(quota.pointer(&format!("/status/{name}")));
    (old("hard") != hard || old("used") != used).then_some(status)
}

fn status_of(hard: &Amounts, used: &Amounts) -> Value {
    let map = |amounts: &Amounts| -> BTreeMap<String, String> {
        amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string())).collect()
    };
    json!({"hard": map(hard), "used": map(used)})
}

fn listed(amounts: &Amounts, names: &BTreeSet<&str>) -> String {
    let parts = amounts.iter().filter(|(name, _)| names.contains(name.as_str()));
    parts.map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// The usage of a namespace, of the resources that a quota limits.
fn count(
    server: &Inner,
    namespace: &str,
    hard: &Amounts,
    quota: &Value,
    now: Timestamp,
) -> Amounts {
    let mut used: Amounts =
        hard.keys().map(|name| (name.clone(), Quantity::from_integer(0))).collect();
    let served = server.registry.served();
    for kind in served.resources().filter(|kind| kind.namespaced) {
        let counted = hard.keys().any(|name| concerns(kind, name));
        if !counted {
            continue;
        }
        let prefix = format!("{}{namespace}/", kind.prefix());
        let Ok(page) = server.store.list(&prefix, &ListOptions::default()) else { continue };
        if needs_content(kind) || !crate::kinds::quota::scopes(quota).is_empty() {
            for entry in &page.entries {
                limits::add(
                    &mut used,
                    &usage(kind, &document::decode(&entry.value), hard, quota, now),
                );
            }
        } else {
            let each = usage(kind, &Value::Null, hard, quota, now);
            let count = i64::try_from(page.entries.len()).unwrap_or(i64::MAX);
            let all = each.into_keys().map(|name| (name, Quantity::from_integer(count))).collect();
            limits::add(&mut used, &all);
        }
    }
    used
}

/// Kinds of which more than the number counts.
fn needs_content(kind: &Kind) -> bool {
    kind.strategy.runs_containers() || kind.strategy.exposes_ports()
}

/// Whether a kind's objects can use some of a resource.
fn concerns(kind: &Kind, resource: &str) -> bool {
    let pod = kind.strategy.runs_containers();
    if let Some(counted) = resource.strip_prefix("count/") {
        return counted == kind.qualified_resource();
    }
    if kind.group.is_empty()
        && (resource == kind.plural
            || resource.strip_prefix(kind.plural).is_some_and(|rest| rest.starts_with('.')))
    {
        return BY_NAME.contains(&kind.plural);
    }
    pod && (matches!(resource, "cpu" | "memory" | "ephemeral-storage")
        || resource.starts_with("requests.")
        || resource.starts_with("limits.")
        || resource.contains("hugepages-"))
}

/// The usage of one object, of the resources that a quota limits; empty if it does not count.
fn usage(kind: &Kind, object: &Value, hard: &Amounts, quota: &Value, now: Timestamp) -> Amounts {
    let one = Quantity::from_integer(1);
    let mut usage = Amounts::new();
    let pod = kind.strategy.runs_containers();
    let scopes = crate::kinds::quota::scopes(quota);
    let in_all = |(name, operator, values): &(&str, &str, Vec<&str>)| {
        in_scope(object, name, operator, values)
    };
    let scoped = pod && scopes.iter().all(in_all);
    if !scopes.is_empty() && !scoped {
        return usage;
    }
    usage.insert(format!("count/{}", kind.qualified_resource()), one);
    if pod {
        if !is_over(object, now) {
            usage.insert("pods".to_owned(), one);
            compute(object, &mut usage);
        }
    } else if kind.group.is_empty() && BY_NAME.contains(&kind.plural) {
        usage.insert(kind.plural.to_owned(), one);
        if kind.strategy.exposes_ports() {
            ports(object, &mut usage);
        }
    }
    usage.retain(|name, _| hard.contains_key(name));
    usage
}

/// Whether a pod has finished, or its deletion is overdue: then it only counts as an object.
fn is_over(pod: &Value, now: Timestamp) -> bool {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return true;
    }
    // The timestamp already includes the grace period; upstream adds it once more.
    let grace =
        pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let end = text(pod, "/metadata/deletionTimestamp").parse::<Timestamp>().ok();
    end.is_some_and(|end| now.as_second() > end.as_second().saturating_add(grace))
}

fn compute(pod: &Value, usage: &mut Amounts) {
    for (name, amount) in limits::pod_total(pod, "requests") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-")
        {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in limits::pod_total(pod, "limits") {
        usage.insert(format!("limits.{name}"), amount);
    }
}

fn ports(service: &Value, usage: &mut Amounts) {
    let kind = text(service, "/spec/type");
    let ports = i64::try_from(list(service, "/spec/ports").len()).unwrap_or(i64::MAX);
    if matches!(kind, "NodePort" | "LoadBalancer") {
        usage.insert("services.nodeports".to_owned(), Quantity::from_integer(ports));
    }
    if kind == "LoadBalancer" {
        usage.insert("services.loadbalancers".to_owned(), Quantity::from_integer(1));
    }
}

/// Resources that a pod must declare and does not: `limits.cpu for: a,b; requests.cpu for: a`.
fn undeclared(kind: &Kind, pod: &Value, hard: &Amounts) -> Option<String> {
    if !kind.strategy.runs_containers() {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in list(pod, "/spec/containers").iter().chain(list(pod, "/spec/initContainers")) {
        let (requests, limits) =
            (limits::of(container, "requests"), limits::of(container, "limits"));
        for name in DECLARED.iter().copied().filter(|name| hard.contains_key(*name)) {
            let declared = match name.split_once('.') {
                Some(("limits", resource)) => limits.contains_key(resource),
                Some((_, resource)) => requests.contains_key(resource),
                None => requests.contains_key(name),
            };
            if !declared {
                missing.entry(name).or_default().insert(text(container, "/name"));
            }
        }
    }
    let parts = missing.iter().map(|(name, containers)| {
        format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
    });
    (!missing.is_empty()).then(|| parts.collect::<Vec<_>>().join("; "))
}

/// Whether a pod is in a scope of a quota.
fn in_scope(pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    let deadline = pod
        .pointer("/spec/activeDeadlineSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|seconds| seconds >= 0);
    let best_effort = crate::kinds::pod::quality(pod) == "BestEffort";
    match scope {
        "Terminating" => deadline,
        "NotTerminating" => !deadline,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => {
            let class = text(pod, "/spec/priorityClassName");
            match operator {
                "In" => values.contains(&class),
                "NotIn" => !values.contains(&class),
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    fn check(kind: &str, object: &Value, spec: &Value, want: &str) {
        let kind = registry::built_in().iter().find(|row| row.kind == kind).expect("a kind");
        let quota = json!({"spec": spec});
        let hard = limits::amounts(quota.pointer("/spec/hard"));
        let usage = usage(kind, object, &hard, &quota, Timestamp::UNIX_EPOCH);
        assert_eq!(
            listed(&usage, &usage.keys().map(String::as_str).collect()),
            want,
            "{object} {quota}"
        );
    }

    fn pod() -> Value {
        json!({"spec": {"priorityClassName": "high", "containers": [
            {"name": "a", "resources": {"requests": {"cpu": "500m", "nvidia.com/gpu": 1}, "limits": {"cpu": 1}}},
            {"name": "b", "resources": {"requests": {"memory": "1Gi"}}},
        ]}})
    }

    #[test]
    fn objects_use_what_the_quota_names() {
        let all = json!({"hard": {"pods": 9, "count/pods": 9, "cpu": 9, "requests.cpu": 9, "limits.cpu": 9, "memory": "9Gi",
            "requests.nvidia.com/gpu": 9, "services": 9, "count/mxjobs.kubeflow.org": 9, "configmaps": 9}});
        check(
            "Pod",
            &pod(),
            &all,
            "count/pods=1,cpu=500m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=500m,requests.nvidia.com/gpu=1",
        );
        let mut ended = pod();
        ended["status"] = json!({"phase": "Failed"});
        check("Pod", &ended, &all, "count/pods=1");
        check("MXJob", &Value::Null, &all, "count/mxjobs.kubeflow.org=1");
        check("ConfigMap", &Value::Null, &all, "configmaps=1");
        check("Secret", &Value::Null, &all, "");
        let ports = json!({"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}});
        check(
            "Service",
            &ports,
            &json!({"hard": {"services.nodeports": 9, "services": 9}}),
            "services=1,services.nodeports=2",
        );
    }

    #[test]
    fn scopes_choose_pods() {
        let scoped = |scopes: &[&str]| json!({"hard": {"pods": 1}, "scopes": scopes});
        check("Pod", &pod(), &scoped(&["NotTerminating", "NotBestEffort"]), "pods=1");
        check("Pod", &pod(), &scoped(&["BestEffort"]), "");
        check("Pod", &pod(), &scoped(&["Terminating"]), "");
        let class = |operator: &str, values: &[&str]| {
            json!({"hard": {"pods": 1}, "scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        check("Pod", &pod(), &class("In", &["high"]), "pods=1");
        check("Pod", &pod(), &class("NotIn", &["high"]), "");
        check("Pod", &pod(), &class("Exists", &[]), "pods=1");
        check("Pod", &pod(), &class("DoesNotExist", &[]), "");
    }
}
