use serde_json::json;

use super::*;

fn pod(name: &str, owner: Option<&str>, labels: &serde_json::Value) -> Pod {
    let owners = owner.map(|uid| {
        json!([{ "apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true }])
    });
    let config = r#"{"cluster":{"scheduler":[{"url":"j-scheduler-0","port":9091}],"worker":[{"url":"j-worker-0"}]}}"#;
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": format!("uid-{name}"), "labels": labels,
            "ownerReferences": owners,
        },
        "spec": { "containers": [{ "name": "mxnet", "env": [{ "name": "MX_CONFIG", "value": config }] }] },
    }))
    .unwrap()
}

fn service(
    name: &str,
    owner: Option<&str>,
    cluster_ip: &str,
    selector: &serde_json::Value,
) -> Service {
    let owners = owner.map(|uid| {
        json!([{ "apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true }])
    });
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "ns", "ownerReferences": owners },
        "spec": { "clusterIP": cluster_ip, "selector": selector },
    }))
    .unwrap()
}

fn names() -> (tempfile::TempDir, Names) {
    let dir = tempfile::tempdir().unwrap();
    let names = Names::open(dir.path());
    (dir, names)
}

#[test]
fn peers_resolve_before_their_services_exist_and_keep_their_address() {
    let (_dir, names) = names();
    let worker = pod("j-worker-0", Some("job"), &json!({}));
    let (own, content) = names.of_pod(&worker).unwrap();
    let early = names.resolve(&worker, "j-scheduler-0").unwrap();
    assert!(content.contains(&format!("{early}\tj-scheduler-0 j-scheduler-0.ns ")), "{content}");
    assert_eq!(names.resolve(&worker, "j-worker-0.ns.svc"), Some(own));
    names.set_service(&service("j-scheduler-0", Some("job"), "None", &json!({ "a": "b" })));
    assert_eq!(names.resolve(&worker, "j-scheduler-0"), Some(early));
    let scheduler = pod("j-scheduler-0", Some("job"), &json!({ "a": "b" }));
    assert_eq!(names.of_pod(&scheduler).unwrap().0, early);
    assert_eq!(names.resolve(&worker, "j-scheduler-0"), Some(early));
}

#[test]
fn a_plain_service_resolves_to_the_pods_it_selects() {
    let (_dir, names) = names();
    let (a, b) = (pod("a", None, &json!({ "app": "x" })), pod("b", None, &json!({ "app": "y" })));
    let address = names.of_pod(&a).unwrap().0;
    names.of_pod(&b).unwrap();
    names.set_service(&service("svc", None, "10.0.0.1", &json!({ "app": "x" })));
    names.set_service(&service("none", None, "None", &json!({})));
    assert_eq!(names.resolve(&b, "svc"), Some(address));
    assert_eq!(names.resolve(&b, "none"), None);
    assert_eq!(names.resolve(&b, "j-scheduler-0"), None, "no controller, no peers");
}

#[test]
fn jobs_of_the_same_name_have_different_addresses() {
    let (_dir, names) = names();
    let first = names.of_pod(&pod("j-worker-0", Some("one"), &json!({}))).unwrap().0;
    names.remove_pod("uid-j-worker-0");
    let second = names.of_pod(&pod("j-worker-0", Some("two"), &json!({}))).unwrap().0;
    assert_ne!(first, second);
}
