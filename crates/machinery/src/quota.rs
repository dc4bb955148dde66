//! What objects use of a resource quota (upstream's quota evaluators), and the amounts of pods that
//! quotas and limit ranges count. Admission and the quota controller share these rules.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::json::{list, text};
use crate::quantity::Quantity;

/// A resource of the API, by group and plural name; the core group is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// API group.
    pub group: &'a str,
    /// Name in paths.
    pub plural: &'a str,
}

/// Amounts by resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// Kinds that are also counted by their bare names.
const BY_NAME: &[&str] =
    &["configmaps", "persistentvolumeclaims", "pods", "resourcequotas", "secrets", "services"];

/// What all claims together ask for.
const STORAGE: &str = "requests.storage";
/// Between the name of a storage class and what a quota limits of it.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Scopes of a quota, plain ones and those of its selector: name, operator, values.
#[must_use]
pub fn scopes(quota: &Value) -> Vec<(&str, &str, Vec<&str>)> {
    let plain = list(quota, "/spec/scopes").iter().filter_map(Value::as_str);
    let plain = plain.map(|name| (name, "Exists", Vec::new()));
    let selected = list(quota, "/spec/scopeSelector/matchExpressions").iter().map(|expression| {
        let values = list(expression, "/values").iter().filter_map(Value::as_str).collect();
        (text(expression, "/scopeName"), text(expression, "/operator"), values)
    });
    plain.chain(selected).collect()
}

/// What a quota limits, by resource name.
#[must_use]
pub fn hard(quota: &Value) -> Amounts {
    amounts(quota.pointer("/spec/hard"))
}

/// What the status of a quota records as used.
#[must_use]
pub fn recorded_usage(quota: &Value) -> Amounts {
    amounts(quota.pointer("/status/used"))
}

/// The status of a quota.
#[must_use]
pub fn status(hard: &Amounts, used: &Amounts) -> Value {
    let map = |amounts: &Amounts| -> BTreeMap<String, String> {
        amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string())).collect()
    };
    json!({"hard": map(hard), "used": map(used)})
}

/// The status that a quota should have; `None` where it has it.
#[must_use]
pub fn changed_status(quota: &Value, used: &Amounts) -> Option<Value> {
    let hard = hard(quota);
    let is_current =
        amounts(quota.pointer("/status/hard")) == hard && recorded_usage(quota) == *used;
    (!is_current).then(|| status(&hard, used))
}

/// Counts objects for a quota, resource by resource.
#[derive(Debug)]
pub struct Counter<'a> {
    quota: &'a Value,
    now: Timestamp,
    hard: Amounts,
    used: Amounts,
}

// === impl Counter ===

impl<'a> Counter<'a> {
    /// Begins with nothing used of what the quota limits.
    #[must_use]
    pub fn new(quota: &'a Value, now: Timestamp) -> Self {
        let hard = hard(quota);
        let used = hard.keys().map(|name| (name.clone(), Quantity::from_integer(0))).collect();
        Self { quota, now, hard, used }
    }

    /// Whether objects of this resource can count.
    #[must_use]
    pub fn counts(&self, resource: Resource<'_>) -> bool {
        self.hard.keys().any(|name| resource.uses(name))
    }

    /// Whether the content of objects of this resource matters, and not only their number.
    #[must_use]
    pub fn needs_content(&self, resource: Resource<'_>) -> bool {
        resource.group.is_empty()
            && matches!(resource.plural, "persistentvolumeclaims" | "pods" | "services")
            || !scopes(self.quota).is_empty()
    }

    /// Counts one object.
    pub fn add(&mut self, resource: Resource<'_>, object: &Value) {
        add(&mut self.used, &usage(resource, object, self.quota, self.now));
    }

    /// Counts objects of a resource whose content does not matter.
    pub fn add_number(&mut self, resource: Resource<'_>, number: usize) {
        let each = usage(resource, &Value::Null, self.quota, self.now);
        let number = Quantity::from_integer(i64::try_from(number).unwrap_or(i64::MAX));
        add(&mut self.used, &each.into_keys().map(|name| (name, number)).collect());
    }

    /// What all counted objects use.
    #[must_use]
    pub fn into_used(self) -> Amounts {
        self.used
    }
}

// === impl Resource ===

impl Resource<'_> {
    fn is_pods(self) -> bool {
        self.group.is_empty() && self.plural == "pods"
    }

    /// Whether objects can use some of what a quota limits under `name`.
    #[must_use]
    pub fn uses(self, name: &str) -> bool {
        if let Some(counted) = name.strip_prefix("count/") {
            return counted == self.to_string();
        }
        if self.group.is_empty()
            && name
                .strip_prefix(self.plural)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        {
            return BY_NAME.contains(&self.plural);
        }
        if self.group.is_empty() && self.plural == "persistentvolumeclaims" {
            return name == STORAGE || name.contains(OF_CLASS);
        }
        self.is_pods()
            && (matches!(name, "cpu" | "memory" | "ephemeral-storage")
                || name.starts_with("requests.")
                || name.starts_with("limits.")
                || name.contains("hugepages-"))
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// What one object uses of what a quota limits; empty where the quota does not count it.
#[must_use]
pub fn usage(resource: Resource<'_>, object: &Value, quota: &Value, now: Timestamp) -> Amounts {
    let one = Quantity::from_integer(1);
    let mut usage = Amounts::new();
    let pod = resource.is_pods();
    let scopes = scopes(quota);
    let in_all = |(name, operator, values): &(&str, &str, Vec<&str>)| {
        in_scope(object, name, operator, values)
    };
    let scoped = pod && scopes.iter().all(in_all);
    if !scopes.is_empty() && !scoped {
        return usage;
    }
    usage.insert(format!("count/{}", resource), one);
    if pod {
        if !is_over(object, now) {
            usage.insert("pods".to_owned(), one);
            compute(object, &mut usage);
        }
    } else if resource.group.is_empty() && BY_NAME.contains(&resource.plural) {
        usage.insert(resource.plural.to_owned(), one);
        match resource.plural {
            "services" => ports(object, &mut usage),
            "persistentvolumeclaims" => storage(object, &mut usage),
            _ => {}
        }
    }
    let hard = hard(quota);
    usage.retain(|name, _| hard.contains_key(name));
    usage
}

/// Whether a pod has ended, or should have gone by now: then it uses nothing but its place among
/// all pods.
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
    for (name, amount) in pod_total(pod, "requests") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-")
        {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in pod_total(pod, "limits") {
        usage.insert(format!("limits.{name}"), amount);
    }
}

/// The storage that a claim asks for, in all and of its class.
fn storage(claim: &Value, usage: &mut Amounts) {
    let class = text(claim, "/spec/storageClassName");
    let requests = amounts(claim.pointer("/spec/resources/requests"));
    if let Some(size) = requests.get("storage") {
        usage.insert(STORAGE.to_owned(), *size);
        if !class.is_empty() {
            usage.insert(format!("{class}{OF_CLASS}{STORAGE}"), *size);
        }
    }
    if !class.is_empty() {
        let name = format!("{class}{OF_CLASS}persistentvolumeclaims");
        usage.insert(name, Quantity::from_integer(1));
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

/// Whether a pod is in a scope of a quota.
fn in_scope(pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    let deadline = pod
        .pointer("/spec/activeDeadlineSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|seconds| seconds >= 0);
    let best_effort = quality_of_service(pod) == "BestEffort";
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

/// The quality of service class (upstream's `ComputePodQOS`): by cpu and memory alone.
#[must_use]
pub fn quality_of_service(pod: &Value) -> &'static str {
    let all = ["/spec/containers", "/spec/initContainers"].map(|group| list(pod, group)).concat();
    let amount = |container: &Value, kind: &str, resource: &str| {
        let value = container.pointer(&format!("/resources/{kind}/{resource}"))?;
        Quantity::from_value(value).ok().filter(|number| !number.is_zero())
    };
    let (mut any, mut guaranteed) = (false, true);
    for container in &all {
        for resource in ["cpu", "memory"] {
            let (request, limit) =
                (amount(container, "requests", resource), amount(container, "limits", resource));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The amounts in a map of quantities; what is no quantity is left out.
#[must_use]
pub fn amounts(map: Option<&Value>) -> Amounts {
    let map: Option<&Map<String, Value>> = map.and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

/// `requests` or `limits` of a container.
#[must_use]
pub fn of_container(container: &Value, kind: &str) -> Amounts {
    amounts(container.get("resources").and_then(|resources| resources.get(kind)))
}

/// Adds amounts.
pub fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        total
            .entry(name.clone())
            // A sum is written as its first part that is not zero.
            .and_modify(|sum| *sum = if sum.is_zero() { *amount } else { sum.plus(amount) })
            .or_insert(*amount);
    }
}

/// What a whole pod requests, or is limited to: its containers together, or its hungriest init
/// container (upstream's `PodRequests` and `PodLimits`).
#[must_use]
pub fn pod_total(pod: &Value, kind: &str) -> Amounts {
    let mut total = Amounts::new();
    for container in list(pod, "/spec/containers") {
        add(&mut total, &of_container(container, kind));
    }
    let (mut sidecars, mut highest) = (Amounts::new(), Amounts::new());
    for container in list(pod, "/spec/initContainers") {
        let mut here = of_container(container, kind);
        if text(container, "/restartPolicy") == "Always" {
            add(&mut total, &here);
            add(&mut sidecars, &here);
            here.clone_from(&sidecars);
        } else {
            add(&mut here, &sidecars);
        }
        for (name, amount) in here {
            highest.entry(name).and_modify(|high| *high = (*high).max(amount)).or_insert(amount);
        }
    }
    for (name, amount) in highest {
        total.entry(name).and_modify(|sum| *sum = (*sum).max(amount)).or_insert(amount);
    }
    for (name, amount) in amounts(pod.pointer("/spec/overhead")) {
        let counted = kind == "requests" || total.get(&name).is_some_and(|limit| !limit.is_zero());
        if counted {
            add(&mut total, &Amounts::from([(name, amount)]));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: Resource<'_> = Resource { group: "", plural: "pods" };

    fn check(resource: Resource<'_>, object: &Value, spec: &Value, want: &str) {
        let quota = json!({"spec": spec});
        let usage = usage(resource, object, &quota, Timestamp::UNIX_EPOCH);
        let shown: Vec<String> =
            usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        assert_eq!(shown.join(","), want, "{object} {quota}");
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
            PODS,
            &pod(),
            &all,
            "count/pods=1,cpu=500m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=500m,requests.nvidia.com/gpu=1",
        );
        let mut ended = pod();
        ended["status"] = json!({"phase": "Failed"});
        check(PODS, &ended, &all, "count/pods=1");
        check(
            Resource { group: "kubeflow.org", plural: "mxjobs" },
            &Value::Null,
            &all,
            "count/mxjobs.kubeflow.org=1",
        );
        check(Resource { group: "", plural: "configmaps" }, &Value::Null, &all, "configmaps=1");
        check(Resource { group: "", plural: "secrets" }, &Value::Null, &all, "");
        let ports = json!({"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}});
        check(
            Resource { group: "", plural: "services" },
            &ports,
            &json!({"hard": {"services.nodeports": 9, "services": 9}}),
            "services=1,services.nodeports=2",
        );
    }

    #[test]
    fn scopes_choose_pods() {
        let scoped = |scopes: &[&str]| json!({"hard": {"pods": 1}, "scopes": scopes});
        check(PODS, &pod(), &scoped(&["NotTerminating", "NotBestEffort"]), "pods=1");
        check(PODS, &pod(), &scoped(&["BestEffort"]), "");
        check(PODS, &pod(), &scoped(&["Terminating"]), "");
        let class = |operator: &str, values: &[&str]| {
            json!({"hard": {"pods": 1}, "scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        check(PODS, &pod(), &class("In", &["high"]), "pods=1");
        check(PODS, &pod(), &class("NotIn", &["high"]), "");
        check(PODS, &pod(), &class("Exists", &[]), "pods=1");
        check(PODS, &pod(), &class("DoesNotExist", &[]), "");
    }

    #[test]
    fn a_pod_needs_what_its_containers_need_together_or_its_hungriest_init_container() {
        let cpu = |amount: &str| json!({"name": "c", "resources": {"requests": {"cpu": amount}}});
        let mut sidecar = cpu("3");
        sidecar["restartPolicy"] = json!("Always");
        for (pod, want) in [
            (json!({"spec": {"containers": [cpu("1"), cpu("500m")]}}), "1500m"),
            (
                json!({"spec": {"containers": [cpu("1")], "initContainers": [cpu("2"), cpu("1")]}}),
                "2",
            ),
            (
                json!({"spec": {"containers": [cpu("1")], "initContainers": [sidecar, cpu("2")]}}),
                "5",
            ),
            (json!({"spec": {"containers": [cpu("1")], "overhead": {"cpu": "10m"}}}), "1010m"),
        ] {
            assert_eq!(pod_total(&pod, "requests")["cpu"].to_string(), want, "{pod}");
        }
    }
}
