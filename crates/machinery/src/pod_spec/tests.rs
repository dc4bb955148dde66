mod defaults_of_pods;
mod updates;
mod upstream;

use serde_json::json;

use super::*;

fn check(spec: &Value, expect: &[&str]) {
    let found: Vec<String> =
        validate(spec, &Path::new("spec")).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expect.len(), "{spec}: {found:#?}");
    for (found, expect) in found.iter().zip(expect) {
        assert!(found.starts_with(expect), "{spec}: {found}\nexpected {expect}");
    }
}

/// A spec with one good container and these members.
fn with(members: &Value) -> Value {
    let mut spec = json!({ "containers": [{ "name": "c", "image": "i" }] });
    spec.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    spec
}

/// A spec with a volume `v` and a container that mounts this.
fn mounting(mount: &Value) -> Value {
    json!({
        "volumes": [{ "name": "v", "emptyDir": {} }],
        "containers": [{ "name": "c", "image": "i", "volumeMounts": [mount] }],
    })
}

#[test]
fn plain_specs_pass() {
    for spec in [
        with(&json!({})),
        with(&json!({ "initContainers": null, "volumes": null, "ephemeralContainers": [] })),
        with(&json!({ "initContainers": [{ "name": "0", "image": "i" }] })),
        with(&json!({ "volumes": [{ "name": "c", "emptyDir": {} }] })),
        mounting(&json!({ "name": "v", "mountPath": "/m" })),
        mounting(&json!({ "name": "v", "mountPath": "/m", "subPath": "a/..b/./c" })),
        mounting(
            &json!({ "name": "v", "mountPath": "/m", "subPathExpr": "a/$(B)", "subPath": "" }),
        ),
    ] {
        check(&spec, &[]);
    }
}

#[test]
fn names_are_dns_labels() {
    const LABEL: &str = "a lowercase RFC 1123 label must consist of";
    let long = "a".repeat(64);
    for (name, rule) in [
        ("../other/c", LABEL),
        ("..", LABEL),
        (".", LABEL),
        ("/", LABEL),
        ("a/b", LABEL),
        ("a\0b", LABEL),
        ("A", LABEL),
        ("a_b", LABEL),
        (".volumes", LABEL),
        ("a.b", "must not contain dots"),
        (&long, "must be no more than 63 characters"),
    ] {
        let shown = Error::invalid(&Path::new("x"), name, rule).body();
        let named = json!([{ "name": name, "image": "i" }]);
        check(&json!({ "containers": named }), &[&format!("spec.containers[0].name: {shown}")]);
        for list in ["initContainers", "ephemeralContainers"] {
            check(&with(&json!({ list: named })), &[&format!("spec.{list}[0].name: {shown}")]);
        }
        let volumes = json!({ "volumes": [{ "name": "ok" }, { "name": name }] });
        check(&with(&volumes), &[&format!("spec.volumes[1].name: {shown}")]);
    }
}

#[test]
fn names_are_unique_in_all_lists_of_containers_and_among_volumes() {
    let one = |name: &str| json!({ "name": name, "image": "i" });
    check(
        &json!({ "containers": [one("a"), one("b"), one("a")] }),
        &["spec.containers[2].name: Duplicate value: \"a\""],
    );
    check(
        &json!({
            "containers": [one("a")],
            "initContainers": [one("b"), one("a"), one("b")],
            "ephemeralContainers": [one("c"), one("b"), one("a")],
        }),
        &[
            "spec.initContainers[1].name: Duplicate value: \"a\"",
            "spec.initContainers[2].name: Duplicate value: \"b\"",
            "spec.ephemeralContainers[1].name: Duplicate value: \"b\"",
            "spec.ephemeralContainers[2].name: Duplicate value: \"a\"",
        ],
    );
    check(
        &with(&json!({ "volumes": [{ "name": "v" }, { "name": "v" }] })),
        &["spec.volumes[1].name: Duplicate value: \"v\""],
    );
}

#[test]
fn what_is_missing_is_required() {
    check(&json!({}), &["spec.containers: Required value"]);
    check(&json!({ "containers": [] }), &["spec.containers: Required value"]);
    for container in [json!(null), json!({}), json!({ "name": "", "image": null })] {
        check(
            &json!({ "containers": [container] }),
            &[
                "spec.containers[0].name: Required value",
                "spec.containers[0].image: Required value",
            ],
        );
    }
    check(&with(&json!({ "volumes": [{}] })), &["spec.volumes[0].name: Required value"]);
    check(
        &mounting(&json!({})),
        &[
            "spec.containers[0].volumeMounts[0].name: Required value",
            "spec.containers[0].volumeMounts[0].name: Not found: \"\"",
            "spec.containers[0].volumeMounts[0].mountPath: Required value",
        ],
    );
    // Of a wrong type: for the schema to report.
    check(&json!({ "containers": [{ "name": 1, "image": [1] }, 2, "c"] }), &[]);
}

#[test]
fn a_mount_names_a_volume_and_stays_inside() {
    let mount = |more: Value| {
        let mut mount = json!({ "name": "v", "mountPath": "/m" });
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mounting(&mount)
    };
    let at = "spec.containers[0].volumeMounts";
    check(&mount(json!({ "name": "x" })), &[&format!("{at}[0].name: Not found: \"x\"")]);
    for (field, value, rule) in [
        ("subPath", "/abs", "must be a relative path"),
        ("subPath", "../x", "must not contain '..'"),
        ("subPath", "a/..", "must not contain '..'"),
        ("subPathExpr", "/$(A)", "must be a relative path"),
        ("subPathExpr", "$(A)/../b", "must not contain '..'"),
    ] {
        let expect = format!("{at}.{field}: Invalid value: \"{value}\": {rule}");
        check(&mount(json!({ field: value })), &[&expect]);
    }
    check(
        &mount(json!({ "subPath": "a", "subPathExpr": "b" })),
        &[&format!(
            "{at}[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive"
        )],
    );
    let mut twice = mount(json!({}));
    let mounts = twice.pointer_mut("/containers/0/volumeMounts").unwrap().as_array_mut().unwrap();
    mounts.push(json!({ "name": "v", "mountPath": "/m", "subPath": "a" }));
    check(&twice, &[&format!("{at}[1].mountPath: Invalid value: \"/m\": must be unique")]);
}

#[test]
fn files_of_volumes_stay_inside_too() {
    for source in ["configMap", "secret"] {
        let item = |path: &str| {
            with(
                &json!({ "volumes": [{ "name": "v", source: { "name": "n", "secretName": "n", "items": [{ "key": "k", "path": path }] } }] }),
            )
        };
        let at = format!("spec.volumes[0].{source}.items[0].path");
        check(&item("a/b"), &[]);
        check(&item(""), &[&format!("{at}: Required value")]);
        check(&item("/a"), &[&format!("{at}: Invalid value: \"/a\": must be a relative path")]);
        check(&item("../a"), &[&format!("{at}: Invalid value: \"../a\": must not contain '..'")]);
        check(&item("..a"), &[&format!("{at}: Invalid value: \"..a\": must not start with '..'")]);
    }
    let host =
        |path: &str| with(&json!({ "volumes": [{ "name": "v", "hostPath": { "path": path } }] }));
    let at = "spec.volumes[0].hostPath.path";
    check(&host("/data"), &[]);
    check(&host(""), &[&format!("{at}: Required value")]);
    check(&host("/a/../b"), &[&format!("{at}: Invalid value: \"/a/../b\": must not contain '..'")]);
}

#[test]
fn only_names_are_a_nodes_business() {
    let spec = json!({
        "volumes": [{ "name": "../v", "hostPath": { "path": ".." } }],
        "containers": [{ "name": "c", "volumeMounts": [{ "name": "x" }], "ports": [{ "containerPort": 0 }] }, { "name": "c" }],
    });
    let found = validate_names(&spec, &Path::new("spec")).to_string();
    assert!(found.starts_with("[spec.volumes[0].name: Invalid value: \"../v\""), "{found}");
    assert!(found.ends_with(", spec.containers[1].name: Duplicate value: \"c\"]"), "{found}");
    assert!(validate_names(&json!({}), &Path::new("spec")).is_empty());
}

#[test]
fn ports_are_between_1_and_65535() {
    let port = |number: Value| {
        with(
            &json!({ "initContainers": [{ "name": "p", "image": "i", "ports": [{ "containerPort": number }] }] }),
        )
    };
    for good in [json!(1), json!(65535), json!(80.0), json!("80"), json!(1.5), json!(1_i64 << 40)] {
        check(&port(good), &[]);
    }
    let at = "spec.initContainers[0].ports[0].containerPort";
    check(&port(json!(0)), &[&format!("{at}: Required value")]);
    for bad in [json!(-1), json!(65536)] {
        check(
            &port(bad.clone()),
            &[&format!("{at}: Invalid value: {bad}: must be between 1 and 65535, inclusive")],
        );
    }
}

#[test]
fn keys_are_names_of_files() {
    let found = validate_keys(&json!({ "a.txt": "", "../b": "", ".": "" }), &Path::new("data"));
    let paths: Vec<&str> = found.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["data[.]", "data[../b]", "data[../b]"]);
    assert!(validate_keys(&Value::Null, &Path::new("data")).is_empty());
}
