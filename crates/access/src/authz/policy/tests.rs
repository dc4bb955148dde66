use serde_json::json;

use super::*;
use crate::authz::Verb;

fn role(kind: &str, namespace: &str, name: &str, verbs: &[&str]) -> Value {
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": verbs});
    json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}, "rules": [rule]})
}

fn binding(namespace: &str, name: &str, role: &str, subjects: &Value) -> Value {
    let kind = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let (role_kind, role) = role.split_once('/').unwrap();
    json!({
        "kind": kind, "metadata": {"namespace": namespace, "name": name},
        "roleRef": {"kind": role_kind, "name": role}, "subjects": subjects,
    })
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    for object in [
        role("ClusterRole", "", "reader", &["get", "list"]),
        role("Role", "a", "writer", &["create"]),
        binding(
            "",
            "readers",
            "ClusterRole/reader",
            &json!([{"kind": "Group", "name": "readers"}]),
        ),
        binding("", "gone", "ClusterRole/gone", &json!([{"kind": "User", "name": "eve"}])),
        binding("a", "ann", "ClusterRole/reader", &json!([{"kind": "User", "name": "ann"}])),
        binding(
            "a",
            "writers",
            "Role/writer",
            &json!([
                {"kind": "Robot", "name": "ann"}, {"kind": "ServiceAccount", "name": "bot"},
                {"kind": "ServiceAccount", "name": "bot", "namespace": "b"},
            ]),
        ),
        binding("b", "writers", "Role/writer", &json!([{"kind": "User", "name": "ann"}])),
        binding(
            "",
            "bots",
            "ClusterRole/reader",
            &json!([{"kind": "ServiceAccount", "name": "bot"}]),
        ),
    ] {
        policy.put(&object);
    }
    policy
}

fn ask(policy: &Policy, user: &str, groups: &[&str], verb: &str, namespace: &str) -> String {
    let identity = Identity::new(user, "", groups.iter().map(|group| (*group).to_owned()));
    let attributes = Attributes {
        resource: "pods",
        namespace: Namespace::new(namespace),
        ..Attributes::new(&identity, Verb::parse(verb))
    };
    match policy.grant(&attributes) {
        Ok(grant) => grant.to_string(),
        Err(missing) => missing.iter().map(MissingRole::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[test]
fn bindings_give_roles_to_users_groups_and_service_accounts() {
    let policy = policy();
    let check = |user: &str, groups: &[&str], request: (&str, &str), want: &str| {
        let got = ask(&policy, user, groups, request.0, request.1);
        assert_eq!(
            got.strip_prefix("RBAC: allowed by ").unwrap_or(&got),
            want,
            "{user} {request:?}"
        );
    };
    let readers = r#"ClusterRoleBinding "readers" of ClusterRole "reader" to Group "readers""#;
    check("bob", &["readers"], ("get", ""), readers);
    check("bob", &["readers"], ("get", "z"), readers);
    check("bob", &["readers"], ("create", "a"), "");
    check("readers", &[], ("get", "a"), "");
    check("ann", &[], ("get", "a"), r#"RoleBinding "ann/a" of ClusterRole "reader" to User "ann""#);
    check("ann", &[], ("get", ""), "");
    check("ann", &[], ("get", "b"), r#"role.rbac.authorization.k8s.io "writer" not found"#);
    check("ann", &[], ("create", "a"), "");
    let writers = |namespace| {
        format!(r#"RoleBinding "writers/a" of Role "writer" to ServiceAccount "bot/{namespace}""#)
    };
    check("system:serviceaccount:a:bot", &[], ("create", "a"), &writers("a"));
    check("system:serviceaccount:b:bot", &[], ("create", "a"), &writers("b"));
    check("system:serviceaccount:c:bot", &[], ("create", "a"), "");
    // A service account without a namespace in a cluster-wide binding matches nobody.
    check("system:serviceaccount::bot", &[], ("get", ""), "");
    check("eve", &[], ("get", ""), r#"clusterrole.rbac.authorization.k8s.io "gone" not found"#);
}

#[test]
fn deleted_roles_grant_nothing_and_snapshots_do_not_change() {
    let mut policy = policy();
    let before = policy.clone();
    policy.remove(&binding("a", "ann", "ClusterRole/reader", &json!([])));
    policy.remove(&role("ClusterRole", "", "reader", &[]));
    assert_eq!(ask(&policy, "ann", &[], "get", "a"), "");
    assert_eq!(
        ask(&policy, "bob", &["readers"], "get", ""),
        r#"clusterrole.rbac.authorization.k8s.io "reader" not found"#
    );
    assert!(ask(&before, "ann", &[], "get", "a").starts_with("RBAC: allowed"));
}

#[test]
fn the_rules_of_a_caller_are_those_of_all_bindings() {
    let policy = policy();
    let bot = Identity::new("system:serviceaccount:a:bot", "", ["readers".to_owned()]);
    let rules = policy.rules_of(&bot, Namespace::new("a")).rules;
    let verbs: Vec<_> = rules.iter().map(|rule| rule.verbs.join(",")).collect();
    assert_eq!(verbs, ["get,list", "create"]);
    assert_eq!(policy.rules_of(&bot, None).rules.len(), 1);
}
