//! What pods ask for and nodes have, by resource name, as whole numbers that can be summed and
//! compared.
//!
//! CPU is counted in thousandths, everything else in units; fractions count as the next whole one,
//! as the scheduler of Kubernetes does. Reading is total: what does not parse counts as nothing,
//! because admission has refused it where it matters.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::quantity::Quantity;

/// The name of the CPU resource.
pub const CPU: &str = "cpu";
/// The name of the memory resource.
pub const MEMORY: &str = "memory";
/// The name under which a node says how many pods it takes; every pod asks for one.
pub const PODS: &str = "pods";

/// Amounts by resource name. A name that is missing is an amount of nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(BTreeMap<String, i64>);

// === impl Resources ===

impl Resources {
    /// Reads a ResourceList (`{"cpu": "500m", "memory": "1Gi"}`), as nodes and containers have.
    pub fn from_list(list: Option<&Value>) -> Self {
        let list = list.and_then(Value::as_object).into_iter().flatten();
        let amounts = list.filter_map(|(name, amount)| {
            let quantity = Quantity::from_value(amount).ok()?;
            let amount = if name == CPU { quantity.milli_value() } else { quantity.value() };
            Some((name.clone(), amount))
        });
        Self(amounts.collect())
    }

    /// What a pod of that spec asks for, and one place for a pod.
    ///
    /// The rule is Kubernetes': the containers together, or the largest moment of the init
    /// containers if that is more (an init container runs beside the sidecars before it), and the
    /// overhead on top. What is limited and not requested is requested as limited. Requests of the
    /// pod as a whole, if any, take the place of the sums.
    pub fn of_pod(spec: &Value) -> Self {
        let mut asked = Self::together(spec, Self::of_container);
        asked.0.insert(PODS.to_owned(), 1);
        asked
    }

    /// What a pod of that spec may use. A resource that a container uses without a limit has no
    /// limit for the pod either, unless the pod as a whole has one.
    pub fn limits_of_pod(spec: &Value) -> Self {
        let mut limits = Self::together(spec, Self::limits_of_container);
        let whole = Self::limits_of_container(spec);
        let containers =
            ["containers", "initContainers"].into_iter().flat_map(|member| list(spec, member));
        limits.0.retain(|name, _| {
            whole.get(name) > 0
                || containers.clone().all(|one| Self::limits_of_container(one).get(name) > 0)
        });
        limits
    }

    /// Requests of a container, or of a pod as a whole, which has the same member.
    pub fn of_container(container: &Value) -> Self {
        let mut asks = Self::limits_of_container(container);
        asks.0.extend(Self::from_list(container.pointer("/resources/requests")).0);
        asks
    }

    /// Limits of a container, or of a pod as a whole.
    pub fn limits_of_container(container: &Value) -> Self {
        Self::from_list(container.pointer("/resources/limits"))
    }

    /// The sum over the containers of a pod, or the largest moment of the init containers.
    fn together(spec: &Value, of_container: impl Fn(&Value) -> Self) -> Self {
        let mut together = Self::default();
        for container in list(spec, "containers") {
            together.add(&of_container(container));
        }
        let mut sidecars = Self::default();
        let mut highest = Self::default();
        for container in list(spec, "initContainers") {
            let asks = of_container(container);
            if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
                sidecars.add(&asks);
                highest.raise_to(&sidecars);
            } else {
                let mut moment = sidecars.clone();
                moment.add(&asks);
                highest.raise_to(&moment);
            }
        }
        together.add(&sidecars);
        together.raise_to(&highest);
        together.0.extend(of_container(spec).0);
        together.add(&Self::from_list(spec.get("overhead")));
        together
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Sets the amount of one resource.
    pub fn set(&mut self, name: &str, amount: i64) {
        self.0.insert(name.to_owned(), amount);
    }

    /// Adds amounts.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes amounts away; what is left may be below nothing.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let rest = self.0.entry(name.clone()).or_default();
            *rest = rest.saturating_sub(*amount);
        }
    }

    /// The same amounts that many times.
    #[must_use]
    pub fn times(&self, count: u32) -> Self {
        let amounts = self.0.iter();
        Self(
            amounts
                .map(|(name, amount)| (name.clone(), amount.saturating_mul(count.into())))
                .collect(),
        )
    }

    /// The names of what is asked for here and not there in that amount, in order. Asking for
    /// nothing never lacks anything.
    pub fn lacking<'a>(&'a self, free: &'a Self) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(|(name, amount)| **amount > 0 && **amount > free.get(name))
            .map(|(name, _)| name.as_str())
    }

    /// Whether all of it is there.
    pub fn fits(&self, free: &Self) -> bool {
        self.lacking(free).next().is_none()
    }

    /// All amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// Prints `1500m` for CPU, the largest binary unit that is exact for memory, and plain numbers
/// else.
pub fn display(name: &str, amount: i64) -> impl fmt::Display + use<> {
    const BINARY: [(&str, i64); 4] =
        [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    if name == CPU && amount % 1000 == 0 {
        return (amount / 1000).to_string();
    }
    if name == CPU {
        return format!("{amount}m");
    }
    let is_bytes = name == MEMORY || name == "ephemeral-storage" || name.starts_with("hugepages-");
    let unit = BINARY.iter().find(|(_, unit)| is_bytes && amount != 0 && amount % unit == 0);
    unit.map_or_else(|| amount.to_string(), |(suffix, unit)| format!("{}{suffix}", amount / unit))
}

fn list<'a>(spec: &'a Value, member: &str) -> &'a [Value] {
    spec.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(spec: &Value) -> String {
        let asks = Resources::of_pod(spec);
        let words = asks.iter().map(|(name, amount)| format!("{name}={}", display(name, amount)));
        words.collect::<Vec<_>>().join(" ")
    }

    fn container(resources: &Value) -> Value {
        json!({ "resources": resources })
    }

    #[test]
    fn a_pod_asks_for_its_containers_together_and_for_its_place() {
        let half = container(&json!({ "requests": { "cpu": "500m", "memory": "1Gi" } }));
        for (spec, expect) in [
            (json!({}), "pods=1"),
            (json!({ "containers": [{}] }), "pods=1"),
            (json!({ "containers": [half, half] }), "cpu=1 memory=2Gi pods=1"),
            (
                json!({ "containers": [half], "overhead": { "cpu": "100m" } }),
                "cpu=600m memory=1Gi pods=1",
            ),
            (
                json!({ "containers": [half], "resources": { "requests": { "cpu": 3 } } }),
                "cpu=3 memory=1Gi pods=1",
            ),
        ] {
            assert_eq!(asked(&spec), expect, "{spec}");
        }
    }

    #[test]
    fn what_is_limited_and_not_requested_is_requested_as_limited() {
        let spec = json!({ "containers": [container(&json!({
            "limits": { "cpu": "2", "memory": "64Mi", "nvidia.com/gpu": 1 },
            "requests": { "cpu": "1" },
        }))] });
        assert_eq!(asked(&spec), "cpu=1 memory=64Mi nvidia.com/gpu=1 pods=1");
    }

    #[test]
    fn a_pod_is_limited_where_each_container_is() {
        let limited = container(&json!({ "limits": { "cpu": "1", "memory": "1Gi" } }));
        let half = container(&json!({ "limits": { "cpu": "1" }, "requests": { "memory": "1Gi" } }));
        for (spec, cpu, memory) in [
            (json!({ "containers": [limited, limited] }), 2000, 2 << 30),
            (json!({ "containers": [limited, half] }), 2000, 0),
            (json!({ "containers": [limited], "initContainers": [half] }), 1000, 0),
            (json!({ "containers": [limited], "initContainers": [{}] }), 0, 0),
            (
                json!({ "containers": [{}], "resources": { "limits": { "memory": "3Gi" } } }),
                0,
                3 << 30,
            ),
        ] {
            let limits = Resources::limits_of_pod(&spec);
            assert_eq!((limits.get(CPU), limits.get(MEMORY)), (cpu, memory), "{spec}");
        }
    }

    #[test]
    fn init_containers_count_where_their_largest_moment_is_more() {
        let cpu = |amount: &str| container(&json!({ "requests": { "cpu": amount } }));
        let sidecar = |amount: &str| {
            let mut sidecar = cpu(amount);
            sidecar["restartPolicy"] = "Always".into();
            sidecar
        };
        for (init, expect) in [
            (json!([cpu("1"), cpu("3")]), "cpu=3 pods=1"),
            (json!([cpu("1")]), "cpu=2 pods=1"),
            (json!([sidecar("1")]), "cpu=3 pods=1"),
            (json!([sidecar("1"), cpu("4")]), "cpu=5 pods=1"),
            (json!([cpu("4"), sidecar("1")]), "cpu=4 pods=1"),
        ] {
            let spec = json!({ "containers": [cpu("2")], "initContainers": init });
            assert_eq!(asked(&spec), expect, "{spec}");
        }
    }

    #[test]
    fn what_lacks_is_named_and_nothing_is_never_lacking() {
        let read = |list: Value| Resources::from_list(Some(&list));
        let free = read(json!({ "cpu": "1", "memory": "-1" }));
        for (asks, expect) in [
            (json!({ "cpu": "1" }), vec![]),
            (json!({ "cpu": "1001m", "gpu": 1 }), vec!["cpu", "gpu"]),
            (json!({ "memory": 0, "gpu": 0 }), vec![]),
        ] {
            assert_eq!(read(asks.clone()).lacking(&free).collect::<Vec<_>>(), expect, "{asks}");
        }
    }

    #[test]
    fn what_does_not_parse_is_nothing() {
        for list in [json!(3), json!({ "cpu": "many" }), json!({ "cpu": [] })] {
            assert_eq!(Resources::from_list(Some(&list)), Resources::default(), "{list}");
        }
    }
}
