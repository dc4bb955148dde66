use serde_json::json;

use super::*;

fn pod(name: &str, owner: Option<&str>, labels: &serde_json::Value) -> Pod {
    let owners = owner.map(|uid| {
        json!([{ "apiVersion": "v1", "kind": "X", "name": "j", "uid": uid, "controller": true }])
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
        json!([{ "apiVersion": "v1", "kind": "X", "name": "j", "uid": uid, "controller": true }])
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
    let early = names.resolve("uid-j-worker-0", "j-scheduler-0").unwrap();
    assert!(content.contains(&format!("{early}\tj-scheduler-0 j-scheduler-0.ns ")), "{content}");
    assert_eq!(names.resolve("uid-j-worker-0", "j-worker-0.ns.svc"), Some(own));
    names.set_service(&service("j-scheduler-0", Some("job"), "None", &json!({ "a": "b" })));
    assert_eq!(names.resolve("uid-j-worker-0", "j-scheduler-0"), Some(early));
    let scheduler = pod("j-scheduler-0", Some("job"), &json!({ "a": "b" }));
    assert_eq!(names.of_pod(&scheduler).unwrap().0, early);
    assert_eq!(names.resolve("uid-j-worker-0", "j-scheduler-0"), Some(early));
}

#[test]
fn a_plain_service_resolves_to_the_pods_it_selects() {
    let (_dir, names) = names();
    let (a, b) = (pod("a", None, &json!({ "app": "x" })), pod("b", None, &json!({ "app": "y" })));
    let address = names.of_pod(&a).unwrap().0;
    names.of_pod(&b).unwrap();
    names.set_service(&service("svc", None, "10.0.0.1", &json!({ "app": "x" })));
    names.set_service(&service("none", None, "None", &json!({})));
    assert_eq!(names.resolve("uid-b", "svc"), Some(address));
    assert_eq!(names.resolve("uid-b", "none"), None);
    assert_eq!(names.resolve("uid-b", "j-scheduler-0"), None, "no controller, no peers");
}

#[test]
fn services_with_pods_and_without_a_job_have_variables() {
    let (_dir, names) = names();
    let address = names.of_pod(&pod("a", None, &json!({ "app": "x" }))).unwrap().0;
    let with_ports = |name: &str, cluster_ip: &str, app: &str| {
        let mut service = service(name, None, cluster_ip, &json!({ "app": app }));
        service.spec.as_mut().unwrap().ports = serde_json::from_value(json!([
            { "name": "sql", "port": 80, "targetPort": 5432 },
            { "port": 9, "protocol": "UDP", "targetPort": "name" },
            { "port": 70_000 },
        ]))
        .unwrap();
        names.set_service(&service);
    };
    with_ports("db", "", "x");
    with_ports("headless", "None", "x");
    with_ports("without-pods", "", "y");
    names.set_service(&service("without-ports", None, "", &json!({ "app": "x" })));
    let port = |name: &str, port, protocol: &str| ServicePort {
        name: name.to_owned(),
        port,
        protocol: protocol.to_owned(),
    };
    let expected = ServiceLink {
        name: "db".to_owned(),
        host: address.to_string(),
        ports: vec![port("sql", 5432, "TCP"), port("", 9, "UDP")],
    };
    assert_eq!(names.links("ns"), [expected]);
    assert_eq!(names.links("other"), []);
}

#[test]
fn jobs_of_the_same_name_have_different_addresses() {
    let (_dir, names) = names();
    let first = names.of_pod(&pod("j-worker-0", Some("one"), &json!({}))).unwrap().0;
    names.remove_pod("uid-j-worker-0");
    let second = names.of_pod(&pod("j-worker-0", Some("two"), &json!({}))).unwrap().0;
    assert_ne!(first, second);
}

/// A replica of a job whose `MX_CONFIG` has these names.
fn replica(name: &str, owner: &str, peers: impl Iterator<Item = String>) -> Pod {
    let replicas: Vec<_> = peers.map(|name| json!({ "url": name, "port": 9091 })).collect();
    let mut pod = pod(name, Some(owner), &json!({ "index": name }));
    let env = pod.spec.as_mut().unwrap().containers[0].env.as_mut().unwrap();
    env[0].value = Some(json!({ "cluster": { "worker": replicas } }).to_string());
    pod
}

fn workers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|index| format!("j-worker-{index}"))
}

/// Which file has the addresses, and when it was written.
fn file(dir: &tempfile::TempDir) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(dir.path().join("addresses.log")).unwrap();
    (file.ino(), file.mtime(), file.mtime_nsec())
}

#[test]
fn the_addresses_of_a_job_are_saved_once() {
    let (dir, names) = names();
    let replicas: Vec<Pod> = workers(500).map(|name| replica(&name, "job", workers(500))).collect();
    names.of_pod(&replicas[0]).unwrap();
    let saved = file(&dir);
    for (pod, name) in replicas.iter().zip(workers(500)) {
        names.set_pod(pod, true).unwrap();
        names.set_service(&service(&name, Some("job"), "None", &json!({ "index": name })));
        names.resolve(&pod.uid().unwrap(), "j-worker-1").unwrap();
    }
    names.refresh();
    assert_eq!(file(&dir), saved, "nothing was assigned, so nothing was written");
    // All of them share one list.
    let table = names.lock();
    let lists: HashSet<_> =
        table.pods.values().map(|pod| Arc::as_ptr(&pod.peers).cast::<u8>()).collect();
    assert_eq!((table.pods.len(), lists.len()), (500, 1));
    drop(table);
    let (_, content) = names.of_pod(&replicas[7]).unwrap();
    assert_eq!(content.lines().filter(|line| line.contains(".svc.cluster.local")).count(), 500);
}

#[test]
fn addresses_that_no_pod_uses_yet_are_saved_together() {
    let (dir, names) = names();
    let pods: Vec<Pod> = (0..100).map(|n| pod(&format!("p{n}"), None, &json!({}))).collect();
    for pod in &pods {
        names.set_pod(pod, true).unwrap();
    }
    assert!(!dir.path().join("addresses.log").exists());
    let (first, _) = names.of_pod(&pods[0]).unwrap();
    let saved = file(&dir);
    for pod in &pods {
        names.of_pod(pod).unwrap();
    }
    assert_eq!(file(&dir), saved);
    drop(names);
    // The next agent knows it.
    assert_eq!(Names::open(dir.path()).of_pod(&pods[0]).unwrap().0, first);
}

#[test]
fn addresses_are_released_when_nothing_exists_that_uses_them() {
    let (_dir, names) = names();
    let existing = pod("here", None, &json!({}));
    // The worker of a pod looks it up after the agent has seen its deletion.
    for pod in
        [&existing, &pod("gone", None, &json!({})), &pod("j-worker-0", Some("job"), &json!({}))]
    {
        names.of_pod(pod).unwrap();
    }
    names.set_service(&service("j-worker-0", Some("job"), "None", &json!({})));
    let owners = || {
        let mut uids: Vec<_> =
            names.lock().addresses.owners().into_iter().map(|owner| owner.uid).collect();
        uids.sort_unstable();
        uids
    };
    let exists = |uid: &str| uid == "uid-here";
    names.release_unused(exists);
    assert_eq!(names.lock().pods.len(), 3, "nothing is decided before all services are known");
    names.handle_service(watcher::Event::Init);
    let listed = service("j-worker-0", Some("job"), "None", &json!({}));
    names.handle_service(watcher::Event::InitApply(Lenient(Ok(listed))));
    names.handle_service(watcher::Event::InitDone);
    names.release_unused(exists);
    assert_eq!(
        owners(),
        ["job", "uid-gone", "uid-here"],
        "owners keep their addresses for a while"
    );
    for since in names.lock().unused_since.values_mut() {
        *since = since.checked_sub(ADDRESS_RETENTION).unwrap();
    }
    names.release_unused(exists);
    assert_eq!(owners(), ["job", "uid-here"], "the service of the job still exists");
}

#[test]
fn only_names_that_replicas_of_the_job_can_have_are_peers() {
    let (_dir, names) = names();
    let evil = ["other-worker-0", "j", "j-a b", "j-x\n10.0.0.1 bank", "j-a.b", "j-worker-0"];
    let worker = replica("j-worker-1", "job", evil.into_iter().map(str::to_owned));
    let (_, content) = names.of_pod(&worker).unwrap();
    assert_eq!(content.lines().filter(|line| line.contains(".svc.cluster.local")).count(), 1);
    assert!(content.contains("\tj-worker-0 ") && !content.contains("bank"), "{content}");
}

#[test]
fn more_peers_than_a_job_can_have_are_reported_and_get_no_address() {
    let (_dir, names) = names();
    let worker = replica("j-worker-0", "job", workers(MAX_PEERS + 1));
    let error = names.set_pod(&worker, true).unwrap_err();
    assert!(error.to_string().starts_with("MX_CONFIG names 10001 peers; at most 10000"), "{error}");
    names.set_pod(&worker, true).unwrap();
    let (_, content) = names.of_pod(&worker).unwrap();
    assert_eq!(content.matches("j-worker-").count(), 1, "its own name");
    assert!(names.set_pod(&replica("j-worker-1", "job", workers(MAX_PEERS)), true).is_ok());
}

#[test]
fn a_service_selects_by_all_of_its_labels_and_has_a_limited_number_of_addresses() {
    let (_dir, names) = names();
    let first = pod("p0", None, &json!({ "app": "x", "tier": "front" }));
    let address = names.of_pod(&first).unwrap().0;
    for n in 1..200 {
        names.set_pod(&pod(&format!("p{n}"), None, &json!({ "app": "x" })), true).unwrap();
    }
    names.set_service(&service("all", None, "None", &json!({ "app": "x" })));
    names.set_service(&service("one", None, "None", &json!({ "app": "x", "tier": "front" })));
    names.set_service(&service("none", None, "None", &json!({ "app": "x", "tier": "back" })));
    assert_eq!(names.resolve("uid-p0", "one"), Some(address));
    assert_eq!(names.resolve("uid-p0", "none"), None);
    assert_eq!(names.services_of("ns")["all"].len(), hosts::MAX_ADDRESSES);
}
