//! The declared permissions are exactly the ones that are used: a scenario that exercises
//! everything that the controller does.

use std::collections::BTreeSet;
use std::time::Duration;

use mxjob_controller::{Gang, Options, PodGroups, nodes::Limits, rights::rights, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::server::Server;

/// What a role made of the permissions would allow, in the server's wording.
fn granted(gang: &Gang) -> BTreeSet<String> {
    let all = rights(gang);
    let requests = all
        .iter()
        .flat_map(|right| right.verbs.iter().map(|verb| format!("{verb} {}", right.resource)));
    requests.collect()
}

fn owner() -> Value {
    json!([{ "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "digits", "uid": "u1", "controller": true }])
}

async fn live(gang: Gang) -> BTreeSet<String> {
    let server = Server::new();
    let is_native = gang == Gang::Native;
    server.put(
        "nodes",
        &json!({
            "metadata": { "name": "machine", "namespace": "" },
            "status": {
                "allocatable": { "cpu": "4", "pods": "10" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        }),
    );
    // Objects of another owner under two of its names, and a group that is not marked as its own.
    for resource in ["pods", "services"] {
        let name = json!({ "name": "digits-worker-1", "namespace": "default" });
        server.put(resource, &json!({ "metadata": name, "status": { "phase": "Succeeded" } }));
    }
    server.put(
        "podgroups",
        &json!({
            "metadata": { "name": "digits", "namespace": "default", "ownerReferences": owner() },
            "spec": {}, "status": { "phase": "Inqueue" },
        }),
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let client = server.client();
    let controller = tokio::spawn(async move {
        let short = Duration::from_millis(100);
        let limits = Limits { unreachable_after: short, lost_after: short };
        let options = Options { gang, nodes: is_native.then_some(limits), ..Options::default() };
        run(client, options, async move { stopped.await.unwrap_or_default() }).await.unwrap();
    });
    let template = json!({ "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } });
    server.put("mxjobs", &json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
        "metadata": { "name": "digits", "namespace": "default", "uid": "u1" },
        "spec": {
            "cleanPodPolicy": "All", "ttlSecondsAfterFinished": 1,
            "mxReplicaSpecs": { "Worker": { "replicas": 2, "restartPolicy": "OnFailure", "template": template } },
        },
    }));
    server.wait_for("the request", |server| server.asked().contains("get services")).await;
    server.remove("services", "digits-worker-1");
    server.wait_for("the request", |server| server.asked().contains("get pods")).await;
    server.remove("pods", "digits-worker-1");
    let has_pod = |server: &Server| server.get("pods", "digits-worker-1").is_some();
    server.wait_for("its pods", has_pod).await;
    if is_native {
        server.change("pods", "digits-worker-0", |pod| {
            pod["spec"]["nodeName"] = json!("machine");
            pod["status"] = json!({ "phase": "Running" });
        });
        server.wait_for("a lost pod", |server| server.asked().contains("patch pods/status")).await;
        // This server treats both as pods of that node. They are replaced.
        let leaves = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
        let all_leave = |server: &Server| server.all("pods").iter().all(leaves);
        server.wait_for("their removal", all_leave).await;
        for index in 0..2 {
            server.remove("pods", &format!("digits-worker-{index}"));
        }
        let all_new = |server: &Server| {
            let pods = server.all("pods");
            pods.len() == 2 && !pods.iter().any(leaves)
        };
        server.wait_for("other pods", all_new).await;
    }
    for index in 0..2 {
        server.change("pods", &format!("digits-worker-{index}"), |pod| {
            pod["status"] = json!({ "phase": "Succeeded" });
        });
    }
    server.wait_for("its end", |server| server.get("mxjobs", "digits").is_none()).await;
    stop.send(()).unwrap();
    controller.await.unwrap();
    server.asked()
}

#[tokio::test]
async fn every_permission_is_used_and_no_other_is_requested() {
    // The server itself requires this before an object may block the deletion of its owner.
    let implied: BTreeSet<String> = ["update mxjobs/finalizers".to_owned()].into();
    for gang in [Gang::Off, Gang::Native, Gang::PodGroups(PodGroups::Volcano)] {
        let asked = live(gang.clone()).await;
        let unused: BTreeSet<String> = granted(&gang).difference(&asked).cloned().collect();
        assert_eq!(unused, implied, "{gang:?}: granted in vain");
        let lacking: BTreeSet<String> = asked.difference(&granted(&gang)).cloned().collect();
        assert_eq!(lacking, BTreeSet::new(), "{gang:?}: asked for without a right");
    }
}
