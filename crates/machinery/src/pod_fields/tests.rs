use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::pod_spec::defaults;
use crate::schema::{Entries, Schema, kubernetes};

/// The leaves of the schema of a pod's spec, without the indexes of lists.
fn leaves() -> Vec<Vec<String>> {
    fn walk(schema: Schema<'_>, place: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        // A list or a map of plain values is a leaf; one of structs has leaves.
        let schema = match (schema.item(), &schema.node().entries) {
            (Some(item), _) => item,
            (None, Entries::None | Entries::Any) => schema,
            (None, Entries::Of(_)) => schema.member("any key").unwrap(),
        };
        if schema.node().fields.is_empty() {
            found.push(place.clone());
        }
        for name in schema.node().fields.keys() {
            place.push(name.clone());
            walk(schema.member(name).unwrap(), place, found);
            place.pop();
        }
    }
    let pod = kubernetes::kind("", "v1", "Pod").unwrap();
    let mut found = Vec::new();
    walk(pod.member("spec").unwrap(), &mut Vec::new(), &mut found);
    assert!(found.len() > 800, "{}", found.len());
    found
}

/// The row of a place, and whether it names the place itself.
fn row_of(place: &[String]) -> Option<(&'static Row, bool)> {
    let mut at = &*TABLE;
    for (index, name) in place.iter().enumerate() {
        at = at.fields.get(name.as_str())?;
        if let Some(row) = at.row {
            return Some((row, index + 1 == place.len()));
        }
    }
    None
}

#[test]
fn every_leaf_of_a_pod_has_a_row() {
    let without: Vec<String> = leaves()
        .into_iter()
        .filter(|leaf| row_of(leaf).is_none())
        .map(|leaf| leaf.join("."))
        .collect();
    assert!(without.is_empty(), "add rows for {without:#?}");
}

#[test]
fn every_row_has_a_leaf_and_no_row_covers_another() {
    let prefixes: BTreeSet<Vec<String>> = leaves()
        .into_iter()
        .flat_map(|leaf| (1..=leaf.len()).map(move |count| leaf[..count].to_vec()))
        .collect();
    let mut known = BTreeSet::new();
    for row in rows::all() {
        for place in row.places() {
            let place: Vec<String> = place.into_iter().map(str::to_owned).collect();
            assert!(prefixes.contains(&place), "{}: {place:?} is no field", row.path);
            let (found, is_its_own) = row_of(&place).unwrap();
            assert!(is_its_own && std::ptr::eq(found, row), "{} and {}", row.path, found.path);
            assert!(known.insert(place), "{}", row.path);
        }
    }
}

#[test]
fn honoured_rows_name_leaves() {
    for leaf in leaves() {
        let (row, is_its_own) = row_of(&leaf).unwrap();
        // A new field of Kubernetes must not count as honoured.
        let counts_as_honoured =
            row.verdict == Verdict::Honoured || matches!(row.values, Values::Only(_));
        assert!(is_its_own || !counts_as_honoured, "{} is for {}", row.path, leaf.join("."));
    }
}

#[test]
fn rows_have_a_reason_unless_the_field_is_honoured() {
    for row in rows::all() {
        assert_eq!(row.reason.is_empty(), row.verdict == Verdict::Honoured, "{}", row.path);
        assert!(!row.reason.ends_with('.') && !row.reason.contains("  "), "{}", row.reason);
    }
}

/// The paths of the findings in a spec.
fn found(spec: &Value) -> (Vec<String>, Vec<String>) {
    let findings = check(spec, &Path::new("spec"));
    let refused = findings.refused.iter().map(|error| error.path.to_string());
    let warned = findings.warned.iter().map(|warning| warning.path.to_string());
    (refused.collect(), warned.collect())
}

#[test]
fn defaults_have_no_findings() {
    let container = json!({
        "name": "c",
        "image": "i",
        "ports": [{ "containerPort": 80, "hostPort": 0 }],
        "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
        "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
    });
    for host_network in [false, true] {
        let mut pod = json!({ "metadata": { "name": "p" }, "spec": {
            "hostNetwork": host_network,
            "containers": [container],
            "initContainers": [container],
            "volumes": [
                { "name": "v", "emptyDir": {} },
                { "name": "s", "secret": { "secretName": "s" } },
                { "name": "h", "hostPath": { "path": "/" } },
            ],
        } });
        defaults::fill_pod(&mut pod);
        defaults::tolerate_lost_nodes(&mut pod);
        assert_eq!(found(&pod["spec"]), (Vec::new(), Vec::new()), "{pod:#}");
    }
}

#[test]
fn the_value_decides_where_a_row_says_so() {
    for (spec, refused) in [
        (json!({ "hostUsers": true }), &[][..]),
        (json!({ "hostUsers": false }), &["spec.hostUsers"]),
        (json!({ "hostUsers": null, "runtimeClassName": "", "os": {} }), &[]),
        (json!({ "os": { "name": "linux" } }), &[]),
        (json!({ "os": { "name": "windows" } }), &["spec.os.name"]),
        (
            json!({ "tolerations": [{ "operator": "Exists" }, { "operator": "Lt" }] }),
            &["spec.tolerations[1].operator"],
        ),
        (json!({ "volumes": [{ "emptyDir": { "medium": "Memory" } }] }), &[]),
        (
            json!({ "volumes": [{ "emptyDir": { "medium": "HugePages-2Mi" } }] }),
            &["spec.volumes[0].emptyDir.medium"],
        ),
        (
            json!({ "initContainers": [{ "volumeDevices": [{ "name": "a" }] }] }),
            &["spec.initContainers[0].volumeDevices"],
        ),
        (json!({ "volumes": [{ "nfs": { "server": "s" } }] }), &["spec.volumes[0].nfs"]),
    ] {
        assert_eq!(found(&spec).0, refused, "{spec}");
    }
    let ports = json!({ "containers": [{ "ports": [
        { "containerPort": 1, "hostPort": 1 },
        { "containerPort": 1, "hostPort": 2 },
    ] }] });
    assert_eq!(found(&ports).1, ["spec.containers[0].ports[1].hostPort"]);
}

#[test]
fn findings_about_a_large_pod_are_bounded() {
    let container = json!({ "volumeDevices": [{}], "ports": [{ "hostPort": 1 }] });
    let spec = json!({ "containers": vec![container; 5_000] });
    let mut findings = check(&spec, &Path::new("spec"));
    assert_eq!(findings.refused.len(), Errors::MAX);
    assert_eq!(findings.warned.len(), MAX_WARNINGS);
    findings.append(findings.clone());
    assert_eq!(findings.warned.len(), MAX_WARNINGS);
}

#[test]
fn a_summary_names_as_many_fields_as_have_room() {
    let summary = |spec: Value| check(&spec, &Path::new("spec")).summary();
    assert_eq!(summary(json!({})), None);
    let two = json!({
        "schedulerName": "a", "containers": [{ "securityContext": { "procMount": "Unmasked" } }],
    });
    let two = summary(two).unwrap();
    assert!(two.starts_with("this node does not honour spec."), "{two}");
    assert_eq!(two.matches("); ").count(), 1, "{two}");
    for field in ["spec.schedulerName (", "spec.containers[0].securityContext.procMount ("] {
        assert!(two.contains(field), "{two}");
    }
    let container = json!({ "ports": [{ "hostPort": 1 }] });
    let many = summary(json!({ "containers": vec![container; 50] })).unwrap();
    assert!(many.ends_with(" more fields") && many.len() < 1_000, "{many}");
}

#[test]
fn values_of_any_shape_are_walked() {
    for spec in [
        json!(null),
        json!([[{ "hostUsers": false }]]),
        json!({ "containers": [[{ "volumeDevices": [1] }], 1, null], "os": 1, "volumes": "a" }),
    ] {
        assert_eq!(found(&spec), (Vec::new(), Vec::new()), "{spec}");
    }
}
