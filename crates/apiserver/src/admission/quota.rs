//! Quotas: usage of a namespace and its limits (upstream's `resourcequota` plug-in and controller).
//!
//! Usage is counted from the stored objects, so that it cannot drift: by the manager when objects
//! are deleted or finish, and here before a create is rejected. A create updates the quota in the
//! same transaction, only if the quota is as it was read: two creates cannot both take the last
//! place, and the recorded usage is never below the real one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::names::Namespace;
use mxjob_machinery::quota::{self, Amounts, Counter, Resource, add, of_container, usage};
use mxjob_store::{Entry, Expect, ListOptions, Op};
use serde_json::Value;

use super::{refused, stored};
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::server::Services;

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
    let quotas =
        stored(&context.services.store, "", "v1", "resourcequotas", context.path.namespace);
    for entry in quotas {
        let quota = document::decode(&entry.value);
        let hard = quota::hard(&quota);
        let delta = usage(resource(context.kind), object, &quota, context.now);
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
        // The recorded usage is never too low: objects are counted only if the create would exceed
        // it.
        let (mut used, mut exceeded) = (recorded(&quota, &hard), BTreeSet::new());
        if used.as_ref().is_none_or(|used| !beyond(used, &delta, &hard).is_empty()) {
            let counted = count(context.services, context.path.namespace, &quota, context.now);
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
        add(&mut total, &delta);
        operations.push(put(entry, quota, &hard, &total));
    }
    Ok(operations)
}

/// Whether the namespace has quotas, so that creates in it are serialized.
pub(crate) fn limits_namespace(context: &Context<'_>) -> bool {
    context.kind.namespaced
        && !stored(&context.services.store, "", "v1", "resourcequotas", context.path.namespace)
            .is_empty()
}

/// The resources of which there would be too much.
fn beyond<'a>(used: &Amounts, delta: &'a Amounts, hard: &Amounts) -> BTreeSet<&'a str> {
    let mut total = used.clone();
    add(&mut total, delta);
    delta
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .filter(|(name, _)| total.get(*name) > hard.get(*name))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The recorded usage, if it covers all resources that the quota limits.
fn recorded(quota: &Value, hard: &Amounts) -> Option<Amounts> {
    let used = quota::recorded_usage(quota);
    used.keys().eq(hard.keys()).then_some(used)
}

fn put(entry: Entry, mut quota: Value, hard: &Amounts, used: &Amounts) -> Op {
    if let Some(quota) = quota.as_object_mut() {
        quota.insert("status".to_owned(), quota::status(hard, used));
    }
    Op::Put { key: entry.key, expect: Expect::At(entry.revision), value: document::encode(&quota) }
}

fn listed(amounts: &Amounts, names: &BTreeSet<&str>) -> String {
    let parts = amounts.iter().filter(|(name, _)| names.contains(name.as_str()));
    parts.map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// The usage of a namespace, of the resources that a quota limits.
fn count(
    services: &Services,
    namespace: Option<Namespace<'_>>,
    quota: &Value,
    now: Timestamp,
) -> Amounts {
    let mut counter = Counter::new(quota, now);
    let served = services.registry.served();
    for kind in served.resources().filter(|kind| kind.namespaced) {
        let resource = resource(kind);
        if !counter.counts(resource) {
            continue;
        }
        let prefix = kind.prefix_in(namespace);
        let Ok(page) = services.store.list(&prefix, &ListOptions::default()) else { continue };
        if counter.needs_content(resource) {
            for entry in &page.entries {
                counter.add(resource, &document::decode(&entry.value));
            }
        } else {
            counter.add_number(resource, page.entries.len());
        }
    }
    counter.into_used()
}

fn resource(kind: &Kind) -> Resource<'_> {
    Resource { group: &kind.group, plural: &kind.plural }
}

/// Resources that a pod must declare and does not: `limits.cpu for: a,b; requests.cpu for: a`.
fn undeclared(kind: &Kind, pod: &Value, hard: &Amounts) -> Option<String> {
    if !kind.strategy.runs_containers() {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in list(pod, "/spec/containers").iter().chain(list(pod, "/spec/initContainers")) {
        let (requests, limits) =
            (of_container(container, "requests"), of_container(container, "limits"));
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
