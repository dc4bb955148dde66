//! Which nodes a pod accepts: its selector and its required node affinity. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

type Labels = BTreeMap<String, String>;

/// Why a pod does not accept a node, in the wording of Kubernetes' scheduler. Preferences decide
/// nothing where there is only one node.
pub(super) fn mismatch(spec: &PodSpec, name: &str, labels: &Labels) -> Option<String> {
    const MESSAGE: &str = "1 node(s) didn't match Pod's node affinity/selector";
    let selector = spec.node_selector.iter().flatten();
    let missing: Vec<String> = selector
        .filter(|(key, value)| labels.get(*key) != Some(*value))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !missing.is_empty() {
        return Some(format!("{MESSAGE} ({})", missing.join(", ")));
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let matches = required.node_selector_terms.iter().any(|term| matches(term, name, labels));
    (!matches).then(|| MESSAGE.to_owned())
}

/// One term of several has to match, with all that it requires. An empty one matches nothing.
fn matches(term: &NodeSelectorTerm, name: &str, labels: &Labels) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |requirement: &NodeSelectorRequirement| {
        let value = (requirement.key == "metadata.name").then_some(name);
        fulfils(requirement, value)
    };
    let label = |requirement: &NodeSelectorRequirement| {
        fulfils(requirement, labels.get(&requirement.key).map(String::as_str))
    };
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(label)
        && fields.iter().all(field)
}

fn fulfils(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_listed = || value.is_some_and(|value| values.iter().any(|one| one == value));
    // Both are whole numbers, else nothing matches.
    let numbers = || {
        let limit: i64 = values.first()?.parse().ok()?;
        Some((value?.parse::<i64>().ok()?, limit))
    };
    match requirement.operator.as_str() {
        "In" => is_listed(),
        "NotIn" => !is_listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, limit)| value > limit),
        "Lt" => numbers().is_some_and(|(value, limit)| value < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn accepts(affinity: &Value) -> bool {
        let labels = [("disk", "fast"), ("cores", "8")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let spec = json!({ "containers": [], "affinity": { "nodeAffinity": affinity } });
        let spec = serde_json::from_value(spec).unwrap();
        mismatch(&spec, "node-1", &labels.into()).is_none()
    }

    #[test]
    fn required_terms_decide_and_preferred_ones_do_not() {
        let expression = |key: &str, operator: &str, values: &[&str]| json!({ "key": key, "operator": operator, "values": values });
        let required = |terms: Value| json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } });
        for (requirement, expect) in [
            (expression("disk", "In", &["slow", "fast"]), true),
            (expression("disk", "In", &["slow"]), false),
            (expression("disk", "NotIn", &["slow"]), true),
            (expression("rack", "NotIn", &["a"]), true),
            (expression("disk", "Exists", &[]), true),
            (expression("disk", "DoesNotExist", &[]), false),
            (expression("cores", "Gt", &["7"]), true),
            (expression("cores", "Lt", &["8"]), false),
            (expression("disk", "Gt", &["1"]), false),
            (expression("disk", "Unknown", &["fast"]), false),
        ] {
            let term = json!([{ "matchExpressions": [requirement] }]);
            assert_eq!(accepts(&required(term)), expect, "{requirement}");
        }
        let fast = expression("disk", "Exists", &[]);
        let slow = expression("disk", "In", &["slow"]);
        let name = |name: &str| json!([expression("metadata.name", "In", &[name])]);
        for (terms, expect) in [
            (json!([{ "matchExpressions": [slow] }, { "matchExpressions": [fast] }]), true),
            (json!([{ "matchExpressions": [slow, fast] }]), false),
            (json!([{ "matchFields": name("node-1") }]), true),
            (json!([{ "matchFields": name("node-2") }]), false),
            (json!([{}]), false),
            (json!([]), false),
        ] {
            assert_eq!(accepts(&required(terms.clone())), expect, "{terms}");
        }
        let preferred = json!({ "preferredDuringSchedulingIgnoredDuringExecution":
            [{ "weight": 1, "preference": { "matchExpressions": [slow] } }] });
        assert!(accepts(&preferred) && accepts(&json!({})));
    }
}
