//! Policy rules: which requests one allows, and whether a set of rules covers another (upstream's
//! `pkg/registry/rbac/validation`). Pure.

use std::collections::BTreeMap;
use std::fmt;

use mxjob_machinery::json::list;
use mxjob_machinery::names::ObjectName;
use serde_json::{Value, json};

use crate::authz::Attributes;

/// The wildcard.
const ALL: &str = "*";

/// A rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Verbs; `*` for all.
    pub verbs: Vec<String>,
    /// API groups; `*` for all, empty for the core group.
    pub groups: Vec<String>,
    /// `pods`, `pods/log`, `*/log`, `*`.
    pub resources: Vec<String>,
    /// Object names; empty for all objects.
    pub names: Vec<String>,
    /// Non-resource paths; `*` at the end for all paths with that prefix.
    pub urls: Vec<String>,
}

// === impl Rule ===

impl Rule {
    /// The rules of a stored role.
    pub fn of_role(role: &Value) -> Vec<Self> {
        list(role, "/rules").iter().map(Self::read).collect()
    }

    /// Reads a rule; a field that is not a list of strings counts as empty.
    pub fn read(rule: &Value) -> Self {
        let strings = |field: &str| {
            let items = rule.get(field).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        Self {
            verbs: strings("verbs"),
            groups: strings("apiGroups"),
            resources: strings("resources"),
            names: strings("resourceNames"),
            urls: strings("nonResourceURLs"),
        }
    }

    /// A rule on resources.
    pub fn on(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Self {
        Self {
            verbs: owned(verbs),
            groups: owned(groups),
            resources: owned(resources),
            ..Self::default()
        }
    }

    /// A rule on non-resource paths.
    pub fn on_paths(urls: &[&str], verbs: &[&str]) -> Self {
        Self { verbs: owned(verbs), urls: owned(urls), ..Self::default() }
    }

    /// The rule in JSON, without empty lists.
    pub fn to_json(&self) -> Value {
        let mut rule = json!({ "verbs": self.verbs });
        for (field, values) in [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ] {
            if !values.is_empty() {
                rule[field] = json!(values);
            }
        }
        rule
    }

    /// Whether the rule allows a request.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !has_or_all(&self.verbs, attributes.verb.as_str()) {
            return false;
        }
        if !attributes.is_resource() {
            return self.urls.iter().any(|pattern| covers_url(pattern, attributes.path));
        }
        has_or_all(&self.groups, attributes.group)
            && self.allows_resource(attributes.resource, attributes.subresource)
            && (self.names.is_empty()
                || has(&self.names, attributes.name.map_or("", ObjectName::as_str)))
    }

    fn allows_resource(&self, resource: &str, subresource: Option<&str>) -> bool {
        self.resources.iter().any(|own| {
            if own == ALL {
                return true;
            }
            match own.split_once('/') {
                None => subresource.is_none() && own == resource,
                Some((left, right)) => {
                    subresource == Some(right) && (left == ALL || left == resource)
                }
            }
        })
    }

    /// The rule as parts with one verb, one group, one resource and one name each.
    fn broken_down(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        for verb in &self.verbs {
            let verbs = || vec![verb.clone()];
            for url in &self.urls {
                parts.push(Self { verbs: verbs(), urls: vec![url.clone()], ..Self::default() });
            }
            for (group, resource) in self
                .groups
                .iter()
                .flat_map(|group| self.resources.iter().map(move |resource| (group, resource)))
            {
                let part = Self {
                    verbs: verbs(),
                    groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..Self::default()
                };
                if self.names.is_empty() {
                    parts.push(part);
                } else {
                    parts.extend(
                        self.names
                            .iter()
                            .map(|name| Self { names: vec![name.clone()], ..part.clone() }),
                    );
                }
            }
        }
        parts
    }

    /// Whether this rule allows everything that `part` (one part of a rule) allows.
    fn covers_part(&self, part: &Self) -> bool {
        all(&part.verbs, |verb| has_or_all(&self.verbs, verb))
            && all(&part.groups, |group| has_or_all(&self.groups, group))
            && all(&part.resources, |resource| self.covers_resource(resource))
            && all(&part.urls, |url| self.urls.iter().any(|own| covers_url(own, url)))
            && (self.names.is_empty()
                || !part.names.is_empty() && all(&part.names, |name| has(&self.names, name)))
    }

    fn covers_resource(&self, resource: &str) -> bool {
        has_or_all(&self.resources, resource)
            || resource
                .split_once('/')
                .is_some_and(|(_, subresource)| has(&self.resources, &format!("*/{subresource}")))
    }
}

/// The form in messages about missing rights.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        f.write_str("{")?;
        let mut first = true;
        for (label, values) in parts.into_iter().filter(|(_, values)| !values.is_empty()) {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{comma}{label}:{}", quoted(values))?;
        }
        f.write_str("}")
    }
}

/// A list of strings as Go prints it with `%q`.
pub fn quoted(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// The parts of `wanted` that `held` does not cover.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(Rule::broken_down);
    parts.filter(|part| !held.iter().any(|rule| rule.covers_part(part))).collect()
}

/// Merges the verbs of parts with equal resources, for messages.
pub fn compact(parts: Vec<Rule>) -> Vec<Rule> {
    let mut merged: BTreeMap<[Vec<String>; 3], Rule> = BTreeMap::new();
    let mut others = Vec::new();
    for part in parts {
        if !part.urls.is_empty() {
            others.push(part);
            continue;
        }
        let key = [part.groups.clone(), part.resources.clone(), part.names.clone()];
        match merged.get_mut(&key) {
            Some(rule) => rule.verbs.extend(
                part.verbs
                    .into_iter()
                    .filter(|verb| !rule.verbs.contains(verb))
                    .collect::<Vec<_>>(),
            ),
            None => drop(merged.insert(key, part)),
        }
    }
    merged.into_values().chain(others).collect()
}

/// Whether a pattern matches a path: exactly, or by the prefix before a trailing `*`.
fn covers_url(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|own| own == item)
}

fn has_or_all(list: &[String], item: &str) -> bool {
    list.iter().any(|own| own == ALL || own == item)
}

fn all(items: &[String], test: impl Fn(&str) -> bool) -> bool {
    items.iter().all(|item| test(item))
}

fn owned(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::Verb;
    use crate::identity::Identity;

    /// `verb group resource[/subresource] [name]` or `verb /path`.
    fn allows(rule: &Rule, request: &str) -> bool {
        let identity = Identity::new("ann", "", []);
        let words: Vec<&str> = request.split(' ').collect();
        let attributes = Attributes::new(&identity, Verb::parse(words[0]));
        let attributes = match words[1..] {
            [path] => Attributes { path, ..attributes },
            [group, resource, ref name @ ..] => {
                let (resource, subresource) = match resource.split_once('/') {
                    Some((resource, subresource)) => (resource, Some(subresource)),
                    None => (resource, None),
                };
                let group = group.trim_matches('-');
                let name = name.first().and_then(|name| ObjectName::new(name));
                Attributes { group, resource, subresource, name, ..attributes }
            }
            _ => panic!("{request}"),
        };
        rule.allows(&attributes)
    }

    fn named(rule: Rule, names: &[&str]) -> Rule {
        Rule { names: owned(names), ..rule }
    }

    #[test]
    fn rule_allows_only_what_it_names() {
        let check = |rule: &Rule, yes: &[&str], no: &[&str]| {
            yes.iter().for_each(|request| assert!(allows(rule, request), "{rule} {request}"));
            no.iter().for_each(|request| assert!(!allows(rule, request), "{rule} {request}"));
        };
        check(
            &Rule::on(&[""], &["pods"], &["get", "list"]),
            &["get - pods", "list - pods", "get - pods p"],
            &["watch - pods", "get - pods/log p", "get apps pods", "get - podsx", "get /pods"],
        );
        check(
            &Rule::on(&[""], &["pods/log"], &["get"]),
            &["get - pods/log p"],
            &["get - pods p", "get - pods/exec p"],
        );
        check(
            &Rule::on(&[""], &["*/status"], &["patch"]),
            &["patch - pods/status p", "patch - nodes/status n"],
            &["patch - pods p", "patch - pods/log p", "patch apps pods/status p"],
        );
        check(&Rule::on(&["*"], &["pods/*"], &["get"]), &[], &["get - pods p", "get - pods/log p"]);
        check(
            &Rule::on(&["*"], &["*"], &["*"]),
            &["get - pods", "x a b/c d", "deletecollection kubeflow.org mxjobs"],
            &["get /metrics"],
        );
        check(
            &named(Rule::on(&[""], &["configmaps"], &["get", "create", "list"]), &["a", "b"]),
            &["get - configmaps a", "get - configmaps b"],
            &["get - configmaps c", "create - configmaps", "list - configmaps"],
        );
        check(
            &Rule::on_paths(&["/healthz", "/api/*"], &["get"]),
            &["get /healthz", "get /api/v1", "get /api/"],
            &["get /healthz/ping", "get /api", "post /healthz", "get - healthz"],
        );
        check(&Rule::on_paths(&["*"], &["*"]), &["get /", "post /x/y"], &["get - pods"]);
        check(&Rule::default(), &[], &["get - pods", "get /x"]);
    }

    #[test]
    fn missing_rights_are_reported_part_by_part() {
        let check = |held: &[Rule], wanted: &[Rule], want: &[&str]| {
            let missing: Vec<String> =
                compact(missing(held, wanted)).iter().map(Rule::to_string).collect();
            assert_eq!(missing, want);
        };
        let pods = |verbs: &[&str]| Rule::on(&[""], &["pods"], verbs);
        check(&[pods(&["get", "list"])], &[pods(&["get"])], &[]);
        check(&[pods(&["get"]), pods(&["list"])], &[pods(&["get", "list"])], &[]);
        check(&[pods(&["*"])], &[pods(&["get", "x"])], &[]);
        check(&[Rule::on(&["*"], &["*"], &["*"])], &[pods(&["get"])], &[]);
        check(
            &[pods(&["get"])],
            &[pods(&["*"])],
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#],
        );
        check(
            &[pods(&["get"])],
            &[Rule::on(&["", "apps"], &["pods"], &["get", "list"])],
            &[
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
                r#"{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list"]}"#,
            ],
        );
        // Names restrict: a rule for all objects covers one for a name, but not the reverse.
        check(&[pods(&["get"])], &[named(pods(&["get"]), &["a"])], &[]);
        check(
            &[named(pods(&["get"]), &["a"])],
            &[named(pods(&["get"]), &["a", "b"])],
            &[r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}"#],
        );
        check(
            &[named(pods(&["get"]), &["a"])],
            &[pods(&["get"])],
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#],
        );
        check(
            &[Rule::on(&[""], &["*/log"], &["get"])],
            &[Rule::on(&[""], &["pods/log"], &["get"])],
            &[],
        );
        check(
            &[Rule::on_paths(&["/api/*"], &["get"])],
            &[Rule::on_paths(&["/api/v1", "/api/*"], &["get"])],
            &[],
        );
        check(
            &[Rule::on_paths(&["/api"], &["get"])],
            &[Rule::on_paths(&["*"], &["get"])],
            &[r#"{NonResourceURLs:["*"], Verbs:["get"]}"#],
        );
        check(
            &[Rule::on(&["*"], &["*"], &["*"])],
            &[Rule::on_paths(&["/x"], &["get"])],
            &[r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#],
        );
    }

    #[test]
    fn json_is_read_and_written() {
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
        assert_eq!(Rule::read(&rule).to_json(), rule);
        assert_eq!(Rule::read(&json!({"verbs": null, "nonResourceURLs": 3})), Rule::default());
        assert_eq!(Rule::of_role(&json!({"rules": null})), []);
    }
}
