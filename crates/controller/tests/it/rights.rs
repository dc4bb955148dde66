//! The declared permissions are exactly the ones that are used: a scenario that exercises
//! everything that the controller does.

use std::collections::BTreeSet;

use mxjob_controller::{Gang, Options, PodGroups, rights::rights, run};
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
        let options = Options { gang, ..Options::default() };
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
