//! Unreadable objects: they do not affect others, and running pods keep running.

use mxjob_node::runtime::IsolationMode;
use serde_json::{Value, json};

use crate::{
    node::lives,
    site::{PODS, Site, block_on, folders_removed, pid_of, shell},
};

crate::tests!("unreadable":
    null_is_decoded_as_go_decodes_it,
    an_unreadable_pod_affects_no_other_and_is_reported_once,
    a_pod_that_becomes_unreadable_runs_until_its_deletion,
    a_pod_that_a_new_agent_cannot_read_runs_until_its_deletion,
    an_unreadable_config_map_blocks_only_its_pod,
    an_unreadable_service_affects_no_other,
    an_unreadable_node_is_registered_again,
);

/// Makes an object unreadable, or readable again.
fn put(site: &Site, path: &str, field: &str, value: Value) {
    site.server.merge(path, &json!({ "metadata": { field: value } })).unwrap();
}

fn reported(site: &Site, name: &str) -> usize {
    let events = site.server.list("/api/v1/namespaces/ns/events");
    let about =
        |event: &&Value| event["reason"] == "Unreadable" && event["involvedObject"]["name"] == name;
    events.iter().filter(about).count()
}

/// Runs a pod to its end. By then the agent has handled all earlier changes.
async fn another(site: &Site, name: &str) {
    let path = site.create(name, shell("true"));
    site.phase(&path, "Succeeded").await;
}

fn null_is_decoded_as_go_decodes_it() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("true");
        spec["nodeSelector"] = json!(null);
        spec["containers"][0]["args"] = json!([null]);
        let path = site.create_owned("p", None, json!({ "pipeline": null }), spec);
        site.phase(&path, "Succeeded").await;
    });
}

fn an_unreadable_pod_affects_no_other_and_is_reported_once() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        let mut spec = shell("true");
        spec["volumes"] = json!([5]);
        site.create("bad", spec);
        site.create_owned("worse", None, json!({ "x": 5 }), shell("true"));
        another(&site, "good").await;
        let event = site.event("Unreadable").await;
        let message = event["message"].as_str().unwrap();
        assert!(
            message.contains("PodSpec.spec.volumes")
                || message.contains("ObjectMeta.metadata.labels"),
            "{message}"
        );
        assert_eq!(event["type"], "Warning");
        site.stop().await;
        site.start();
        another(&site, "later").await;
        // Each agent reports it once.
        site.server.until("", |_| reported(&site, "bad") == 2).await;
        another(&site, "last").await;
        assert_eq!((reported(&site, "bad"), reported(&site, "worse")), (2, 2));
        assert_eq!(
            site.server.get(&format!("{PODS}/bad")).unwrap()["spec"]["nodeName"],
            Value::Null
        );
    });
}

fn a_pod_that_becomes_unreadable_runs_until_its_deletion() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let path = site.create("p", shell("echo $$; exec sleep 600"));
        let pid = pid_of(&site, "p").await;
        put(&site, &path, "labels", json!(5));
        another(&site, "good").await;
        assert!(lives(pid));
        site.server.delete(&path, 30);
        site.server.until(&path, |pod| pod.is_none()).await;
        assert!(!lives(pid));
    });
}

fn a_pod_that_a_new_agent_cannot_read_runs_until_its_deletion() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        for (name, grace) in [("told", 30), ("forced", 0)] {
            let path = site.create(name, shell("echo $$; exec sleep 600"));
            let pid = pid_of(&site, name).await;
            site.stop().await;
            put(&site, &path, "labels", json!(5));
            site.start();
            let after = format!("after-{name}");
            another(&site, &after).await;
            assert!(lives(pid), "{name}");
            site.server.delete(&path, grace);
            site.server.until(&path, |pod| pod.is_none()).await;
            site.server.delete(&format!("{PODS}/{after}"), 0);
            folders_removed(&site).await;
            assert!(!lives(pid), "{name}");
        }
        // A pod that is readable again is handled as before.
        let path = site.create("healed", shell("echo $$; exec sleep 600"));
        let pid = pid_of(&site, "healed").await;
        site.stop().await;
        put(&site, &path, "labels", json!(5));
        site.start();
        another(&site, "good").await;
        put(&site, &path, "labels", json!({ "a": "b" }));
        another(&site, "better").await;
        assert!(lives(pid));
        site.server.delete(&path, 30);
        site.server.until(&path, |pod| pod.is_none()).await;
        assert!(!lives(pid));
    });
}

fn an_unreadable_config_map_blocks_only_its_pod() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let maps = "/api/v1/namespaces/ns/configmaps";
        site.server.create(maps, json!({ "metadata": { "name": "bad" }, "data": { "a": 5 } }));
        site.server.create(maps, json!({ "metadata": { "name": "null" }, "data": { "a": null } }));
        let of = |name: &str, script: &str| {
            let mut spec = shell(script);
            spec["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": name } }]);
            spec
        };
        let waits = site.create("waits", of("bad", "test \"$a\" = 5"));
        let runs = site.create("runs", of("null", "test \"${a-x}\" = ''"));
        site.phase(&runs, "Succeeded").await;
        site.server
            .until(&waits, |pod| {
                let waiting =
                    pod.map(|pod| &pod["status"]["containerStatuses"][0]["state"]["waiting"]);
                let message = waiting.and_then(|waiting| waiting["message"].as_str());
                message.is_some_and(|message| {
                    message.contains("configmap \"bad\" cannot be read: ")
                        && message.contains("ConfigMap.data")
                })
            })
            .await;
        site.server.merge(&format!("{maps}/bad"), &json!({ "data": { "a": "5" } })).unwrap();
        site.phase(&waits, "Succeeded").await;
    });
}

fn an_unreadable_service_affects_no_other() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let services = "/api/v1/namespaces/ns/services";
        let service = |name: &str, spec: Value| json!({ "metadata": { "name": name, "namespace": "ns" }, "spec": spec });
        site.server.create(services, service("bad", json!({ "selector": 5 })));
        site.server.create(services, service("svc", json!({ "selector": { "replica": "w" } })));
        let path = site.create_owned(
            "p",
            None,
            json!({ "replica": "w" }),
            shell("until getent hosts svc; do sleep 0.01; done"),
        );
        site.phase(&path, "Succeeded").await;
        assert_eq!(reported(&site, "bad"), 1);
    });
}

fn an_unreadable_node_is_registered_again() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        let path = "/api/v1/nodes/node-1";
        let is_ready = |node: Option<&Value>| {
            node.is_some_and(|node| node["status"]["conditions"][0]["type"] == "Ready")
        };
        site.server.until(path, is_ready).await;
        site.stop().await;
        let spoilt = json!({ "metadata": { "labels": [] }, "status": { "conditions": [5] } });
        site.server.merge(path, &spoilt).unwrap();
        site.start();
        let node = site.server.until(path, is_ready).await;
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
    });
}
