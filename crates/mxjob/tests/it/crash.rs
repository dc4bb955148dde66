//! `kill -9`: nothing acknowledged is lost, and nothing runs twice.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{Place, Server, until};

#[test]
fn running_job_finishes_after_a_kill_and_no_replica_runs_twice() {
    let place = Place::new();
    let server = Server::up(&place);
    let run = format!("echo ran >> \"$PLACE/$DMLC_ROLE$DMLC_WORKER_ID\"; {}", until("go"));
    server.create(&place.job("survivor", &run, &run, &run));
    server.wait_for("survivor", "Running");
    server.kill();

    let server = Server::up(&place);
    place.write("go", "");
    server.wait_for("survivor", "Succeeded");
    for replica in ["scheduler", "server", "worker0", "worker1"] {
        assert_eq!(fs::read_to_string(place.path().join(replica)).unwrap(), "ran\n", "{replica}");
    }
    assert_eq!(
        server.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].status.phase}"]),
        ["Succeeded"; 4].join(" ")
    );
}

#[test]
fn replicas_that_end_while_no_server_runs_are_not_run_again() {
    let place = Place::new();
    let server = Server::up(&place);
    let run = format!("echo ran >> \"$PLACE/$DMLC_ROLE$DMLC_WORKER_ID\"; {}", until("go"));
    server.create(&place.job(
        "orphans",
        &run,
        &run,
        &format!("{run}; echo last; exit $((3 * DMLC_WORKER_ID))"),
    ));
    server.wait_for("orphans", "Running");
    server.kill();
    place.write("go", "");
    crate::support::wait_until("no process is left", || place.processes().is_empty().then_some(()));

    let server = Server::up(&place);
    server.wait_for("orphans", "Failed");
    for replica in ["scheduler", "server", "worker0", "worker1"] {
        assert_eq!(fs::read_to_string(place.path().join(replica)).unwrap(), "ran\n", "{replica}");
    }
    assert!(server.kubectl(&["logs", "orphans-worker-1"]).contains("last"));
}

/// Number of concurrent writers: enough that a commit is always in progress.
const WRITERS: usize = 8;

#[tokio::test]
async fn every_acknowledged_object_survives_a_kill_during_writes() {
    let place = Place::new();
    let mut known = BTreeSet::new();
    for (round, enough) in [40, 73, 150].into_iter().enumerate() {
        let server = Server::start(&place, "apiserver", &[]);
        let objects = configmaps(&place).await;
        let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let reached = Arc::new(Notify::new());
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (objects, acknowledged, reached) =
                (objects.clone(), Arc::clone(&acknowledged), Arc::clone(&reached));
            writers.spawn(async move {
                for number in 0.. {
                    let name = format!("r{round}-w{writer}-{number}");
                    let object = serde_json::from_value(
                        json!({"metadata": {"name": name}, "data": {"a": "1"}}),
                    )
                    .unwrap();
                    // The server was killed.
                    if objects.create(&PostParams::default(), &object).await.is_err() {
                        return;
                    }
                    acknowledged.lock().unwrap().insert(format!("{name}=1"));
                    let patch = Patch::Merge(json!({"data": {"a": "2"}}));
                    if objects.patch(&name, &PatchParams::default(), &patch).await.is_err() {
                        return;
                    }
                    let mut acknowledged = acknowledged.lock().unwrap();
                    acknowledged.remove(&format!("{name}=1"));
                    acknowledged.insert(format!("{name}=2"));
                    if acknowledged.len() >= enough {
                        reached.notify_one();
                    }
                }
            });
        }
        reached.notified().await;
        server.kill();
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        known.append(&mut acknowledged.lock().unwrap());

        let server = Server::start(&place, "apiserver", &[]);
        let stored = configmaps(&place).await.list(&ListParams::default()).await.unwrap();
        let stored: BTreeSet<String> = stored
            .items
            .into_iter()
            .map(|object| {
                format!("{}={}", object.metadata.name.unwrap(), object.data.unwrap()["a"])
            })
            .collect();
        for object in &known {
            // A patch that was not acknowledged may be stored nevertheless.
            let later = object.replace("=1", "=2");
            assert!(
                stored.contains(object) || stored.contains(&later),
                "round {round}: {object} was acknowledged but is lost"
            );
        }
        drop(server);
    }
}

/// A client over TLS.
async fn configmaps(place: &Place) -> Api<ConfigMap> {
    let kubeconfig = Kubeconfig::read_from(place.data().join("kubeconfig")).unwrap();
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Api::default_namespaced(Client::try_from(config).unwrap())
}
