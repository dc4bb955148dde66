//! Where a pod may run: affinity, tolerations, spreading, gates; and label selectors.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::view::{Context, Rule, Table, View, of};
use crate::{labels, names};

const REQUIRED_TERMS: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED_TERMS: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `validateAffinity`.
pub(super) const AFFINITY: &[Table] = &[
    of(
        "validateNodeAffinity",
        &[(
            "nodeAffinity",
            Rule::Fields(&[
                of("ValidateNodeSelector", &[(REQUIRED_TERMS, Rule::If(check_node_selector))]),
                of(
                    "ValidatePreferredSchedulingTerms",
                    &[(PREFERRED_TERMS, Rule::Each(PREFERRED_NODES))],
                ),
            ]),
        )],
    ),
    of("validatePodAffinity", &[("podAffinity", Rule::Fields(POD_AFFINITY))]),
    of("validatePodAntiAffinity", &[("podAntiAffinity", Rule::Fields(POD_AFFINITY))]),
];

const POD_AFFINITY: &[Table] = &[
    of("validatePodAffinityTerms", &[(REQUIRED_TERMS, Rule::Each(POD_TERM))]),
    of("validateWeightedPodAffinityTerms", &[(PREFERRED_TERMS, Rule::Each(WEIGHTED_TERM))]),
];

const POD_TERM: &[Table] = &[of("validatePodAffinityTerm", &[("", Rule::Check(check_pod_term))])];
const WEIGHTED_TERM: &[Table] = &[of(
    "validateWeightedPodAffinityTerms",
    &[("weight", Rule::Check(check_weight)), ("podAffinityTerm", Rule::Check(check_pod_term))],
)];
const PREFERRED_NODES: &[Table] = &[of(
    "ValidatePreferredSchedulingTerms",
    &[("weight", Rule::Check(check_weight)), ("preference", Rule::Check(check_preference))],
)];

fn check_weight(weight: &View<'_, '_>, context: &mut Context<'_>) {
    let number = weight.int().unwrap_or_default();
    if !(1..=100).contains(&number) {
        weight.invalid_as(number, "must be in the range 1-100", context);
    }
}

// === Nodes ===

fn check_node_selector<'v>(selector: &View<'v, '_>, context: &mut Context<'v>) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        return terms.required("must have at least one node selector term", context);
    }
    terms.objects().for_each(|term| check_node_term(&term, true, context));
}

fn check_preference<'v>(term: &View<'v, '_>, context: &mut Context<'v>) {
    check_node_term(term, false, context);
}

/// `ValidateNodeSelectorTerm`. Values of preferences are not checked, as upstream does not.
fn check_node_term<'v>(term: &View<'v, '_>, checks_values: bool, context: &mut Context<'v>) {
    for requirement in term.get("matchExpressions").objects() {
        let values = requirement.get("values");
        match requirement.text("operator") {
            "Gt" | "Lt" => {
                if values.items().count() != 1 {
                    let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                    values.required(detail, context);
                }
            }
            _ => check_operator(&requirement, context),
        }
        requirement.get("key").check_text(names::qualified_name, context);
        if checks_values {
            values.items().for_each(|value| value.check_text(names::label_value, context));
        }
    }
    for requirement in term.get("matchFields").objects() {
        let (operator, values) = (requirement.get("operator"), requirement.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.items().count() != 1 => {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                values.required(detail, context);
            }
            "In" | "NotIn" => {}
            _ => operator.invalid_as(operator.str(), "not a valid selector operator", context),
        }
        let key = requirement.get("key");
        if key.str() == "metadata.name" {
            values.items().for_each(|name| name.check_text(names::dns1123_subdomain, context));
        } else {
            key.invalid_as(key.str(), "not a valid field selector key", context);
        }
    }
}

/// The operators that all selectors have, and whether values go with them.
fn check_operator(requirement: &View<'_, '_>, context: &mut Context<'_>) {
    let (operator, values) = (requirement.get("operator"), requirement.get("values"));
    match operator.str() {
        "In" | "NotIn" if values.is_empty() => {
            values.required("must be specified when `operator` is 'In' or 'NotIn'", context);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            values.forbidden(detail, context);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => operator.invalid_as(operator.str(), "not a valid selector operator", context),
    }
}

// === Labels ===

/// `ValidateLabels`: errors are those of the whole map.
pub(super) fn check_labels<'v>(labels: &View<'v, '_>, context: &mut Context<'v>) {
    for (key, value) in labels.entries() {
        for complaint in names::qualified_name(key) {
            labels.invalid_as(key, complaint, context);
        }
        labels.showing(value.value).check_text(names::label_value, context);
    }
}

/// `ValidateLabelSelector`.
pub(super) fn check_label_selector(selector: &View<'_, '_>, context: &mut Context<'_>) {
    if !selector.value.is_null() {
        context.errors.append(labels::validate_selector(selector.value, &selector.path()));
    }
}

/// `ValidateMatchLabelKeysAndMismatchLabelKeys`.
fn check_label_keys<'v>(term: &View<'v, '_>, context: &mut Context<'v>) {
    let (matching, others) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    let selector = term.given("labelSelector");
    for keys in [&matching, &others] {
        if selector.is_none() && !keys.is_empty() {
            keys.forbidden("must not be specified when labelSelector is not set", context);
        } else {
            keys.items().for_each(|key| key.check_text(names::qualified_name, context));
        }
    }
    if let Some(selector) = &selector {
        let index: HashMap<&str, usize> =
            matching.items().enumerate().map(|(index, key)| (key.str(), index)).collect();
        let labels = selector.get("matchLabels");
        let mut keys: HashSet<&str> = labels.entries().map(|(key, _)| key).collect();
        for requirement in selector.get("matchExpressions").objects() {
            let key = requirement.text("key");
            if let Some(index) = index.get(key).filter(|_| keys.contains(key)) {
                let error = crate::field::Error::invalid(
                    &term.path().index(*index),
                    key,
                    "exists in both matchLabelKeys and labelSelector",
                );
                context.errors.push(error);
            }
            keys.insert(key);
        }
    }
    let others: HashSet<&str> = others.items().map(|key| key.str()).collect();
    for key in matching.items().filter(|key| others.contains(key.str())) {
        key.invalid("exists in both matchLabelKeys and mismatchLabelKeys", context);
    }
}

// === Pods ===

/// `validatePodAffinityTerm`.
fn check_pod_term<'v>(term: &View<'v, '_>, context: &mut Context<'v>) {
    check_label_selector(&term.get("labelSelector"), context);
    check_label_selector(&term.get("namespaceSelector"), context);
    for name in term.get("namespaces").items() {
        term.get("namespace").showing(name.value).check_text(names::dns1123_label, context);
    }
    check_label_keys(term, context);
    let key = term.get("topologyKey");
    if key.is_empty() {
        key.required("can not be empty", context);
    }
    key.check_text(names::qualified_name, context);
}

/// `validateTopologySpreadConstraints`.
pub(super) fn check_spreading<'v>(constraints: &View<'v, '_>, context: &mut Context<'v>) {
    const ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];
    const POLICIES: &[Table] = &[of(
        "validateNodeInclusionPolicy",
        &[
            ("nodeAffinityPolicy", Rule::OneOf(&["Honor", "Ignore"])),
            ("nodeTaintsPolicy", Rule::OneOf(&["Honor", "Ignore"])),
        ],
    )];
    let id = |constraint: &View<'v, '_>| {
        (constraint.text("topologyKey"), constraint.text("whenUnsatisfiable"))
    };
    let mut left: HashMap<_, usize> = HashMap::new();
    for constraint in constraints.objects() {
        *left.entry(id(&constraint)).or_default() += 1;
    }
    for constraint in constraints.objects() {
        check_positive(&constraint.get("maxSkew"), context);
        let (key, action) = (constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if key.is_empty() {
            key.required("can not be empty", context);
        }
        if !ACTIONS.contains(&action.str()) {
            action.not_supported(ACTIONS, context);
        }
        // Reported at each but the last.
        let left = left.entry(id(&constraint)).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            let shown = format!("{{{}, {}}}", key.str(), action.str());
            constraint.get("{topologyKey, whenUnsatisfiable}").duplicate(&shown, context);
        }
        let domains = constraint.get("minDomains");
        if !domains.value.is_null() {
            check_positive(&domains, context);
            if action.str() != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    action.str()
                );
                domains.invalid(detail, context);
            }
        }
        constraint.check(POLICIES, context);
        check_label_keys(&constraint, context);
        check_label_selector(&constraint.get("labelSelector"), context);
    }
}

fn check_positive(number: &View<'_, '_>, context: &mut Context<'_>) {
    let given = number.int().unwrap_or_default();
    if given <= 0 {
        number.invalid_as(given, "must be greater than zero", context);
    }
}

/// `ValidateTolerations`.
pub(super) fn check_tolerations<'v>(tolerations: &View<'v, '_>, context: &mut Context<'v>) {
    for toleration in tolerations.objects() {
        let (key, operator) = (toleration.get("key"), toleration.get("operator"));
        let effect = toleration.get("effect");
        if !key.is_empty() {
            key.check_text(names::qualified_name, context);
        } else if operator.str() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            operator.invalid_as(operator.str(), detail, context);
        }
        if toleration.given("tolerationSeconds").is_some() && effect.str() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            effect.invalid_as(effect.str(), detail, context);
        }
        let value = toleration.text("value");
        match operator.str() {
            "" | "Equal" => {
                let complaints = names::label_value(value);
                if !complaints.is_empty() {
                    operator.invalid_as(value, complaints.join(";"), context);
                }
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                operator.invalid_as(value, detail, context);
            }
            "Exists" => {}
            _ => operator.not_supported(&["Equal", "Exists"], context),
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effect.is_empty() && !effects.contains(&effect.str()) {
            effect.not_supported(&effects, context);
        }
    }
}

/// `validateSchedulingGates`: names are reported at their item.
pub(super) fn check_gates<'v>(gates: &View<'v, '_>, context: &mut Context<'v>) {
    let mut seen = HashSet::new();
    for gate in gates.objects() {
        let name = gate.text("name");
        for complaint in names::qualified_name(name) {
            gate.invalid_as(name, complaint, context);
        }
        if !seen.insert(name) {
            gate.duplicate(name, context);
        }
    }
}

/// `validateReadinessGates`.
pub(super) const READINESS_GATES: &[Table] =
    &[of("validateReadinessGates", &[("conditionType", Rule::Text(names::qualified_name))])];

/// `validateOnlyAddedTolerations`, without the rules of the tolerations themselves: only
/// `tolerationSeconds` of one that is there may change.
pub(super) fn check_kept_tolerations<'v>(
    old: &View<'v, '_>,
    new: &View<'v, '_>,
    context: &mut Context<'v>,
) {
    let identity = |toleration: View<'v, '_>| {
        ["key", "operator", "value", "effect"].map(|field| toleration.text(field))
    };
    let new_ones: HashSet<[&str; 4]> = new.objects().map(identity).collect();
    for kept in old.objects() {
        if !new_ones.contains(&identity(kept)) {
            let detail = "existing toleration can not be modified except its tolerationSeconds";
            new.forbidden(detail, context);
        }
    }
}

/// `validateOnlyDeletedSchedulingGates`.
pub(super) fn check_kept_gates<'v>(
    old: &View<'v, '_>,
    new: &View<'v, '_>,
    context: &mut Context<'v>,
) {
    let known: HashSet<&str> = old.objects().map(|gate| gate.text("name")).collect();
    for gate in new.objects().filter(|gate| !known.contains(gate.text("name"))) {
        let detail = format!(
            "only deletion is allowed, but found new scheduling gate '{}'",
            gate.text("name")
        );
        gate.get("name").forbidden(&detail, context);
    }
}

/// `validateNodeSelectorMutation`: a gated pod may only be narrowed.
pub(super) fn check_narrowed_selector<'v>(
    old: &View<'v, '_>,
    new: &View<'v, '_>,
    context: &mut Context<'v>,
) {
    for (key, value) in old.entries() {
        if new.value.get(key) != Some(value.value) {
            let detail =
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            new.invalid(detail, context);
        }
    }
}

/// `validateNodeAffinityMutation`: of `affinity.nodeAffinity`.
pub(super) fn check_narrowed_affinity<'v>(
    old: &View<'v, '_>,
    new: &View<'v, '_>,
    context: &mut Context<'v>,
) {
    let (old, new) = (old.get(REQUIRED_TERMS), new.get(REQUIRED_TERMS));
    let (old, new) = (old.get("nodeSelectorTerms"), new.get("nodeSelectorTerms"));
    if !old.is_empty() && old.items().count() != new.items().count() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return new.invalid(detail, context);
    }
    for (old, new) in old.items().zip(new.items()) {
        let lists = ["matchExpressions", "matchFields"];
        let list = |term: &View<'v, '_>, name: &str| {
            term.value.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
        };
        let was_empty = lists.iter().all(|name| list(&old, name).is_empty());
        let is_kept = |name: &&str| list(&new, name).starts_with(list(&old, name));
        let is_empty = lists.iter().all(|name| list(&new, name).is_empty());
        if (was_empty && !is_empty) || !lists.iter().all(is_kept) {
            new.invalid("only additions are allowed (no mutations or deletions)", context);
        }
    }
}
