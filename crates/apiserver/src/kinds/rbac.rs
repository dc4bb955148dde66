//! Roles and bindings: rows, defaults and rules (upstream's `pkg/apis/rbac/validation`).
//! [`mxjob_access::authz`] evaluates them.

use std::sync::Arc;

use mxjob_access::authz::policy::GROUP;
use mxjob_machinery::json::{list, text};
use mxjob_machinery::metadata::NameRule;
use mxjob_machinery::{field, labels, names};
use serde_json::{Value, json};

use super::default_to;
use crate::kind::{AGE, NAME, computed};
use crate::kind::{Cell, Column, Kind};
use crate::strategy::{Grant, Strategy};

/// Roles show when they were made, not how long ago: they have no printer of their own upstream.
const ROLE_COLUMNS: &[Column] = &[
    NAME,
    Column::new(
        "Created At",
        "date",
        "When the role was created.",
        0,
        Cell::Computed(|object, _| text(object, "/metadata/creationTimestamp").into()),
    ),
];

const BINDING_COLUMNS: &[Column] = &[
    NAME,
    computed("Role", 0, |object, _| {
        format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name")).into()
    }),
    AGE,
    computed("Users", 1, |object, _| subjects(object, "User")),
    computed("Groups", 1, |object, _| subjects(object, "Group")),
    computed("ServiceAccounts", 1, |object, _| subjects(object, "ServiceAccount")),
];

pub(super) fn kinds() -> Vec<Kind> {
    let role =
        |namespaced, kind: &'static str, plural: &'static str, singular: &'static str| Kind {
            namespaced,
            columns: ROLE_COLUMNS.to_vec(),
            create_on_update: true,
            strategy: Arc::new(Role { namespaced }),
            ..Kind::new(GROUP, kind, plural, singular)
        };
    let binding = |namespaced, kind, plural, singular| Kind {
        columns: BINDING_COLUMNS.to_vec(),
        strategy: Arc::new(Binding { namespaced }),
        ..role(namespaced, kind, plural, singular)
    };
    vec![
        binding(false, "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding"),
        role(false, "ClusterRole", "clusterroles", "clusterrole"),
        binding(true, "RoleBinding", "rolebindings", "rolebinding"),
        role(true, "Role", "roles", "role"),
    ]
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let own = list(binding, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
    let names: Vec<String> = own
        .map(|subject| match (kind, text(subject, "/namespace"), text(subject, "/name")) {
            ("ServiceAccount", namespace, name) => format!("{namespace}/{name}"),
            (_, _, name) => name.to_owned(),
        })
        .collect();
    names.join(", ").into()
}

/// The rules of a role.
#[derive(Debug)]
struct Role {
    namespaced: bool,
}

/// The rules of a binding.
#[derive(Debug)]
struct Binding {
    namespaced: bool,
}

impl Strategy for Role {
    fn grant(&self) -> Option<Grant> {
        Some(Grant::Role)
    }

    fn name_rule(&self) -> NameRule {
        path_segment
    }

    fn prepare_create(&self, object: &mut Value) {
        default_to(object, "rules", Value::Null);
    }

    fn prepare_update(&self, _old: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn validate(&self, role: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        let path = field::Path::new("rules");
        for (index, rule) in list(role, "/rules").iter().enumerate() {
            self.validate_rule(rule, &path.index(index), &mut errors);
        }
        let Some(aggregation) =
            role.get("aggregationRule").filter(|rule| !self.namespaced && !rule.is_null())
        else {
            return errors;
        };
        let path = field::Path::new("aggregationRule").child("clusterRoleSelectors");
        let selectors = list(aggregation, "/clusterRoleSelectors");
        if selectors.is_empty() {
            let rule = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(field::Error::required(&path, rule));
        }
        for (index, selector) in selectors.iter().enumerate() {
            errors.append(labels::validate_selector(selector, &path.index(index)));
        }
        errors
    }
}

impl Role {
    fn validate_rule(&self, rule: &Value, path: &field::Path, errors: &mut field::Errors) {
        let is_empty =
            |field: &str| rule.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty);
        if is_empty("verbs") {
            errors.push(field::Error::required(
                &path.child("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !is_empty("nonResourceURLs") {
            let path = path.child("nonResourceURLs");
            let urls = || rule["nonResourceURLs"].clone();
            if self.namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(field::Error::invalid(&path, &urls(), detail));
            }
            if !(is_empty("apiGroups") && is_empty("resources") && is_empty("resourceNames")) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(field::Error::invalid(&path, &urls(), detail));
            }
            return;
        }
        for (field, detail) in [
            ("apiGroups", "resource rules must supply at least one api group"),
            ("resources", "resource rules must supply at least one resource"),
        ] {
            if is_empty(field) {
                errors.push(field::Error::required(&path.child(field), detail));
            }
        }
    }
}

impl Strategy for Binding {
    fn grant(&self) -> Option<Grant> {
        Some(Grant::Binding)
    }

    fn name_rule(&self) -> NameRule {
        path_segment
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(role) = object.get_mut("roleRef") {
            default_group(role, GROUP);
        }
        for subject in
            object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten()
        {
            if matches!(text(subject, "/kind"), "User" | "Group") {
                default_group(subject, GROUP);
            }
        }
    }

    fn prepare_update(&self, _old: &Value, new: &mut Value) {
        self.prepare_create(new);
    }

    fn validate(&self, binding: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        let path = field::Path::new("roleRef");
        let (group, kind, name) = (
            text(binding, "/roleRef/apiGroup"),
            text(binding, "/roleRef/kind"),
            text(binding, "/roleRef/name"),
        );
        if group != GROUP {
            errors.push(field::Error::not_supported(&path.child("apiGroup"), group, &[GROUP]));
        }
        let kinds: &[&str] =
            if self.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
        if !kinds.contains(&kind) {
            errors.push(field::Error::not_supported(&path.child("kind"), kind, kinds));
        }
        if name.is_empty() {
            errors.push(field::Error::required(&path.child("name"), ""));
        } else {
            for error in path_segment(name) {
                errors.push(field::Error::invalid(&path.child("name"), name, error));
            }
        }
        let path = field::Path::new("subjects");
        for (index, subject) in list(binding, "/subjects").iter().enumerate() {
            self.validate_subject(subject, &path.index(index), &mut errors);
        }
        errors
    }

    fn validate_update(&self, old: &Value, new: &Value) -> field::Errors {
        let mut errors = field::Errors::default();
        if old.get("roleRef") != new.get("roleRef") {
            let role = new.get("roleRef").cloned().unwrap_or_default();
            errors.push(field::Error::invalid(
                &field::Path::new("roleRef"),
                &role,
                "cannot change roleRef",
            ));
        }
        errors
    }
}

impl Binding {
    fn validate_subject(&self, subject: &Value, path: &field::Path, errors: &mut field::Errors) {
        let (kind, name, group) =
            (text(subject, "/kind"), text(subject, "/name"), text(subject, "/apiGroup"));
        if name.is_empty() {
            errors.push(field::Error::required(&path.child("name"), ""));
        }
        match kind {
            "ServiceAccount" => {
                if !name.is_empty() {
                    for error in names::dns1123_subdomain(name) {
                        errors.push(field::Error::invalid(&path.child("name"), name, error));
                    }
                }
                if !group.is_empty() {
                    errors.push(field::Error::not_supported(&path.child("apiGroup"), group, &[""]));
                }
                if !self.namespaced && text(subject, "/namespace").is_empty() {
                    errors.push(field::Error::required(&path.child("namespace"), ""));
                }
            }
            "User" | "Group" => {
                if group != GROUP {
                    errors.push(field::Error::not_supported(
                        &path.child("apiGroup"),
                        group,
                        &[GROUP],
                    ));
                }
            }
            _ => {
                let kinds = &["ServiceAccount", "User", "Group"];
                errors.push(field::Error::not_supported(&path.child("kind"), kind, kinds));
            }
        }
    }
}

fn default_group(reference: &mut Value, group: &str) {
    if text(reference, "/apiGroup").is_empty() && reference.is_object() {
        reference["apiGroup"] = json!(group);
    }
}

/// Names of roles and bindings may be anything that is one segment of a path: `system:node` is one.
fn path_segment(name: &str) -> Vec<String> {
    match name {
        "." => return vec!["may not be '.'".to_owned()],
        ".." => return vec!["may not be '..'".to_owned()],
        _ => {}
    }
    let bad = ['/', '%'].into_iter().filter(|letter| name.contains(*letter));
    bad.map(|letter| format!("may not contain '{letter}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(kind: &str, object: &Value) -> Vec<String> {
        let kinds = kinds();
        let kind = kinds.iter().find(|row| row.kind == kind).unwrap();
        let mut object = object.clone();
        kind.strategy.prepare_create(&mut object);
        kind.strategy.validate(&object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_must_say_what_they_allow_on_what() {
        let check = |kind: &str, rule: Value, want: &[&str]| {
            assert_eq!(errors_of(kind, &json!({"rules": [rule]})), want);
        };
        check("Role", json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}), &[]);
        check("ClusterRole", json!({"verbs": ["get"], "nonResourceURLs": ["/x"]}), &[]);
        check(
            "Role",
            json!({}),
            &[
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        );
        check(
            "Role",
            json!({"verbs": ["get"], "nonResourceURLs": ["/x"]}),
            &[
                r#"rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs"#,
            ],
        );
        check(
            "ClusterRole",
            json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]}),
            &[
                r#"rules[0].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs"#,
            ],
        );
        assert_eq!(errors_of("ClusterRole", &json!({"rules": null})), [""; 0]);
        assert_eq!(
            errors_of("ClusterRole", &json!({"aggregationRule": {}})),
            [
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
            ]
        );
    }

    #[test]
    fn bindings_must_name_a_role_and_subjects() {
        let role = |kind: &str| json!({"kind": kind, "name": "r"});
        let check = |kind: &str, role: &Value, subject: Value, want: &[&str]| {
            assert_eq!(errors_of(kind, &json!({"roleRef": role, "subjects": [subject]})), want);
        };
        check("RoleBinding", &role("Role"), json!({"kind": "User", "name": "system:x"}), &[]);
        check(
            "ClusterRoleBinding",
            &role("ClusterRole"),
            json!({"kind": "ServiceAccount", "name": "a", "namespace": "b"}),
            &[],
        );
        check(
            "ClusterRoleBinding",
            &role("Role"),
            json!({"kind": "ServiceAccount", "name": "a"}),
            &[
                r#"roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole""#,
                "subjects[0].namespace: Required value",
            ],
        );
        check(
            "RoleBinding",
            &json!({"apiGroup": "x", "kind": "Role", "name": "a/b"}),
            json!({"kind": "Robot"}),
            &[
                r#"roleRef.apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io""#,
                r#"roleRef.name: Invalid value: "a/b": may not contain '/'"#,
                "subjects[0].name: Required value",
                r#"subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group""#,
            ],
        );
    }
}
