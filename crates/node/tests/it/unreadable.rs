//! Unreadable objects: they do not affect others, and running pods keep running.

use mxjob_node::runtime::IsolationMode;
use mxjob_testkit::Server;
use serde_json::{Value, json};

use crate::{
    node::lives,
    site::{NODE, Site, block_on, folders_removed, pid_of, shell},
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

/// Makes the labels of a pod unreadable, or readable again.
fn set_labels(site: &Site, name: &str, labels: &Value) {
    site.spoil("pods", name, |pod| pod["metadata"]["labels"] = labels.clone());
}

fn reported(site: &Site, name: &str) -> usize {
    let events = site.server.all("events");
    let about =
        |event: &&Value| event["reason"] == "Unreadable" && event["involvedObject"]["name"] == name;
    events.iter().filter(about).count()
}

/// Runs a pod to its end. By then the agent has handled all earlier changes.
async fn another(site: &Site, name: &str) {
    site.create(name, shell("true"));
    site.phase(name, "Succeeded").await;
}

fn null_is_decoded_as_go_decodes_it() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("true");
        spec["nodeSelector"] = json!(null);
        spec["containers"][0]["args"] = json!([null]);
        let name = site.create_owned("p", None, json!({ "pipeline": null }), spec);
        site.phase(&name, "Succeeded").await;
    });
}

fn an_unreadable_pod_affects_no_other_and_is_reported_once() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        let mut spec = shell("true");
        spec["volumes"] = json!([5]);
        site.store("bad", json!({}), spec);
        site.store("worse", json!({ "x": 5 }), shell("true"));
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
        site.server.wait_for("both reports", |_| reported(&site, "bad") == 2).await;
        another(&site, "last").await;
        assert_eq!((reported(&site, "bad"), reported(&site, "worse")), (2, 2));
        assert_eq!(site.pod("bad")["spec"]["nodeName"], Value::Null);
    });
}

fn a_pod_that_becomes_unreadable_runs_until_its_deletion() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let name = site.create("p", shell("echo $$; exec sleep 600"));
        let pid = pid_of(&site, "p").await;
        set_labels(&site, &name, &json!(5));
        another(&site, "good").await;
        assert!(lives(pid));
        site.delete(&name, 30);
        site.gone(&name).await;
        assert!(!lives(pid));
    });
}

fn a_pod_that_a_new_agent_cannot_read_runs_until_its_deletion() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        for (name, grace) in [("told", 30), ("forced", 0)] {
            site.create(name, shell("echo $$; exec sleep 600"));
            let pid = pid_of(&site, name).await;
            site.stop().await;
            set_labels(&site, name, &json!(5));
            site.start();
            let after = format!("after-{name}");
            another(&site, &after).await;
            assert!(lives(pid), "{name}");
            site.delete(name, grace);
            site.gone(name).await;
            site.delete(&after, 0);
            folders_removed(&site).await;
            assert!(!lives(pid), "{name}");
        }
        // A pod that is readable again is handled as before.
        let name = site.create("healed", shell("echo $$; exec sleep 600"));
        let pid = pid_of(&site, "healed").await;
        site.stop().await;
        set_labels(&site, &name, &json!(5));
        site.start();
        another(&site, "good").await;
        set_labels(&site, &name, &json!({ "a": "b" }));
        another(&site, "better").await;
        assert!(lives(pid));
        site.delete(&name, 30);
        site.gone(&name).await;
        assert!(!lives(pid));
    });
}

fn an_unreadable_config_map_blocks_only_its_pod() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        for (name, value) in [("bad", json!(5)), ("null", Value::Null)] {
            let map = json!({ "metadata": { "name": name }, "data": { "a": value } });
            site.server.store("configmaps", &map);
        }
        let of = |name: &str, script: &str| {
            let mut spec = shell(script);
            spec["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": name } }]);
            spec
        };
        let waits = site.create("waits", of("bad", "test \"$a\" = 5"));
        let runs = site.create("runs", of("null", "test \"${a-x}\" = ''"));
        site.phase(&runs, "Succeeded").await;
        let names_the_map = |pod: &Value| {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            waiting["message"].as_str().is_some_and(|message| {
                message.contains("configmap \"bad\" cannot be read: ")
                    && message.contains("ConfigMap.data")
            })
        };
        site.until(&waits, names_the_map).await;
        site.spoil("configmaps", "bad", |map| map["data"]["a"] = json!("5"));
        site.phase(&waits, "Succeeded").await;
    });
}

fn an_unreadable_service_affects_no_other() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        for (name, selector) in [("bad", json!(5)), ("svc", json!({ "replica": "w" }))] {
            let spec = json!({ "selector": selector, "ports": [{ "port": 80 }] });
            site.server.store("services", &json!({ "metadata": { "name": name }, "spec": spec }));
        }
        let name = site.create_owned(
            "p",
            None,
            json!({ "replica": "w" }),
            shell("until getent hosts svc; do sleep 0.01; done"),
        );
        site.phase(&name, "Succeeded").await;
        assert_eq!(reported(&site, "bad"), 1);
    });
}

fn an_unreadable_node_is_registered_again() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        let is_ready = |server: &Server| {
            let node = server.get("nodes", NODE).unwrap_or_default();
            node.pointer("/status/conditions/0/type").is_some_and(|kind| kind == "Ready")
        };
        site.server.wait_for("the node", is_ready).await;
        site.stop().await;
        site.spoil("nodes", NODE, |node| {
            node["metadata"]["labels"] = json!([]);
            node["status"]["conditions"] = json!([5]);
        });
        site.start();
        site.server.wait_for("the node again", is_ready).await;
        let node = site.server.get("nodes", NODE).unwrap();
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
    });
}
