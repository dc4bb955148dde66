//! ClusterRoles that are composed of other ClusterRoles.

use serde_json::Value;

use crate::json::list;
use crate::labels::Selector;
use crate::object;

/// The rules that an aggregating role should have, from all cluster roles in the order of their
/// names; `None` if the role does not aggregate.
#[must_use]
pub fn rules(role: &Value, all: &[&Value]) -> Option<Vec<Value>> {
    role.get("aggregationRule").filter(|rule| !rule.is_null())?;
    let own = object::meta_str(role, "name");
    let mut rules: Vec<Value> = Vec::new();
    for selector in list(role, "/aggregationRule/clusterRoleSelectors") {
        // An unreadable selector can only come from an object stored before selectors were
        // validated; it selects nothing.
        let Some(selector) = Selector::from_object(selector) else { continue };
        let parts = all
            .iter()
            .filter(|part| object::meta_str(part, "name") != own && matches(&selector, part));
        for rule in parts.flat_map(|part| list(part, "/rules")) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

fn matches(selector: &Selector, role: &Value) -> bool {
    let labels = object::metadata(role).and_then(|meta| meta.get("labels")?.as_object());
    selector.matches(|key| labels.and_then(|labels| labels.get(key)?.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::text;

    fn part(name: &str, labels: &Value, resource: &str) -> Value {
        json!({"metadata": {"name": name, "labels": labels}, "rules": [{"resources": [resource]}]})
    }

    #[test]
    fn an_aggregating_role_has_the_rules_of_the_selected_roles() {
        let parts = [
            part("a", &json!({"to": "edit"}), "pods"),
            part("b", &json!({"to": "view"}), "services"),
            part("c", &json!({"to": "edit", "x": "y"}), "pods"),
            part("whole", &json!({"to": "edit"}), "secrets"),
        ];
        let check = |selectors: &Value, want: Option<&[&str]>| {
            let role = json!({"metadata": {"name": "whole"}, "aggregationRule": {"clusterRoleSelectors": selectors}});
            let rules = rules(&role, &parts.iter().collect::<Vec<_>>());
            let resources = rules.map(|rules| {
                rules.iter().map(|rule| text(rule, "/resources/0").to_owned()).collect::<Vec<_>>()
            });
            assert_eq!(
                resources,
                want.map(|want| want.iter().map(|one| (*one).to_owned()).collect()),
                "{selectors}"
            );
        };
        check(&json!([{"matchLabels": {"to": "edit"}}]), Some(&["pods"]));
        check(
            &json!([{"matchLabels": {"to": "view"}}, {"matchLabels": {"to": "edit"}}]),
            Some(&["services", "pods"]),
        );
        check(&json!([{}]), Some(&["pods", "services"]));
        check(&json!([]), Some(&[]));
        check(
            &json!([{"matchExpressions": [{"key": "to", "operator": "In", "values": ["view", "none"]}]}]),
            Some(&["services"]),
        );
        check(
            &json!([{"matchExpressions": [{"key": "x", "operator": "Exists"}]}]),
            Some(&["pods"]),
        );
        check(
            &json!([{"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}, {"key": "to", "operator": "NotIn", "values": ["edit"]}]}]),
            Some(&["services"]),
        );
        check(&json!([{"matchExpressions": [{"key": "x", "operator": "Nope"}]}]), Some(&[]));
        assert_eq!(super::rules(&parts[0], &parts.iter().collect::<Vec<_>>()), None);
    }
}
