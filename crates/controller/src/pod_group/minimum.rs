//! The resources that a gang requests in total, where its job does not say.

use std::cmp::Reverse;

use mxjob_api::{Job, ReplicaSpec};
use mxjob_machinery::quantity::Quantity;
use mxjob_machinery::resources::{PODS, Resources, display};
use serde_json::{Map, Value, json};

/// The sum over the first `members` replicas: those of the highest priority (`priority` of the
/// template), and among equals a scheduler and servers before workers. Only containers count, by
/// their requests or else their limits: the rule of the older operators.
///
/// A template that sets only `priorityClassName` counts as priority 0: the value of the class is
/// not looked up.
///
/// `count` limits the replicas of each role.
pub(super) fn resources(
    job: &Job,
    members: u32,
    count: impl Fn(&ReplicaSpec) -> u32,
) -> Map<String, Value> {
    let mut replicas: Vec<&ReplicaSpec> = job.replicas.iter().collect();
    replicas.sort_by_key(|replica| Reverse(priority(replica)));
    let mut sum = Resources::default();
    let mut missing = members;
    for replica in replicas {
        let count = missing.min(count(replica));
        missing -= count;
        if count > 0 {
            sum.add(&of_containers(replica).times(count));
        }
    }
    sum.iter()
        .filter(|(name, _)| *name != PODS)
        .map(|(name, amount)| (name.to_owned(), format!("{}", display(name, amount)).into()))
        .collect()
}

/// Whether two resource lists are equal, in any notation: a scheduler that stores the object writes
/// them in its own way.
pub(super) fn are_equal(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return one == other;
    };
    let amount = |value: &Value| Quantity::from_value(value).ok();
    one.len() == other.len()
        && one.iter().all(|(name, value)| {
            other.get(name).is_some_and(|there| {
                value == there || amount(value).is_some_and(|it| Some(it) == amount(there))
            })
        })
}

fn priority(replica: &ReplicaSpec) -> i64 {
    replica.template.pointer("/spec/priority").and_then(Value::as_i64).unwrap_or(0)
}

fn of_containers(replica: &ReplicaSpec) -> Resources {
    let containers = replica.template.pointer("/spec/containers").cloned().unwrap_or_default();
    Resources::of_pod(&json!({ "containers": containers }))
}
