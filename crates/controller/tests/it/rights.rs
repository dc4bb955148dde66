//! The declared permissions are exactly the ones that are used: a scenario that exercises
//! everything that the controller does.

use std::collections::BTreeSet;

use mxjob_controller::{Gang, Options, PodGroups, rights::rights};
use mxjob_testkit::Server;
use serde_json::{Value, json};

use crate::cluster::{Cluster, foreign_pod, job, node};

/// What a role made of the permissions would allow, in the server's wording.
fn granted(gang: &Gang) -> BTreeSet<String> {
    let all = rights(gang);
    let requests = all
        .iter()
        .flat_map(|right| right.verbs.iter().map(|verb| format!("{verb} {}", right.resource)));
    requests.collect()
}

/// Objects of another owner under two of the job's names, and a group that is not marked as its
/// own.
fn create_obstacles(server: &Server, job: &Value) {
    server.create("pods", &foreign_pod("digits-worker-1"));
    let name = json!({ "name": "digits-worker-1" });
    let spec = json!({ "ports": [{ "port": 80 }] });
    server.create("services", &json!({ "metadata": name, "spec": spec }));
    let owner = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": "digits", "controller": true,
        "uid": job["metadata"]["uid"],
    });
    server.create(
        "podgroups",
        &json!({
            "metadata": { "name": "digits", "ownerReferences": [owner] },
            "spec": {}, "status": { "phase": "Inqueue" },
        }),
    );
}

/// The permissions that the controller uses in the life of a job.
async fn used(gang: Gang) -> BTreeSet<String> {
    let server = Server::new();
    server.create("nodes", &node());
    let mut job = job("digits", &[("Worker", 2)]);
    job["spec"]["backoffLimit"] = json!(0);
    job["spec"]["mxReplicaSpecs"]["Worker"]["restartPolicy"] = json!("OnFailure");
    let job = server.create("mxjobs", &job);
    create_obstacles(&server, &job);
    let deletions: Vec<String> = granted(&gang)
        .into_iter()
        .filter(|permission| permission.starts_with("delete ") && permission != "delete mxjobs")
        .collect();
    let options = Options { gang, ..Options::default() };
    let mut cluster = Cluster::on(server.clone(), options);
    for resource in ["services", "pods"] {
        let permission = format!("get {resource}");
        let is_used = |server: &Server| server.link().permissions().contains(&permission);
        server.wait_for(&permission, is_used).await;
        server.remove(resource, "digits-worker-1");
    }
    cluster.pods(2).await;
    // Its second creation is counted with the event about the first.
    server.remove("pods", "digits-worker-0");
    let is_counted = |server: &Server| server.link().permissions().contains("patch events");
    server.wait_for("a repeated event", is_counted).await;
    cluster.pods(2).await;
    // One pod is stopped and kept, the other one is deleted.
    let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    let crashed = json!({ "name": "mxnet", "state": waiting, "lastState": ended });
    let status = json!({ "phase": "Running", "containerStatuses": [crashed] });
    cluster.report("digits-worker-0", &status);
    for deletion in deletions {
        let is_done = |server: &Server| server.link().permissions().contains(&deletion);
        server.wait_for(&deletion, is_done).await;
    }
    // Only now, because nothing is tidied up for a job that is gone.
    server.change("mxjobs", "digits", |job| job["spec"]["ttlSecondsAfterFinished"] = json!(0));
    server.wait_for("its end", |server| server.get("mxjobs", "digits").is_none()).await;
    cluster.stop().await;
    server.link().permissions()
}

#[tokio::test]
async fn every_permission_is_used_and_no_other_is_requested() {
    // The server itself requires this before an object may block the deletion of its owner.
    let implied: BTreeSet<String> = ["update mxjobs/finalizers".to_owned()].into();
    for gang in [Gang::Off, Gang::Native, Gang::PodGroups(PodGroups::Volcano)] {
        let asked = used(gang.clone()).await;
        let unused: BTreeSet<String> = granted(&gang).difference(&asked).cloned().collect();
        assert_eq!(unused, implied, "{gang:?}: granted in vain");
        let lacking: BTreeSet<String> = asked.difference(&granted(&gang)).cloned().collect();
        assert_eq!(lacking, BTreeSet::new(), "{gang:?}: asked for without a right");
    }
}
