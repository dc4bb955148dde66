//! A gang scheduler that is not installed.

use serde_json::json;

use super::cluster::{Cluster, Operator, token};
use super::history::Wait as _;
use crate::support::{Place, wait_until};

/// The definition of Volcano's `PodGroup`.
fn definition() -> serde_json::Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "podgroups.scheduling.volcano.sh" },
        "spec": {
            "group": "scheduling.volcano.sh", "scope": "Namespaced",
            "names": {
                "plural": "podgroups", "singular": "podgroup", "kind": "PodGroup", "listKind": "PodGroupList",
            },
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                } },
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_gang_scheduler_is_reported_on_the_waiting_jobs() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let args = ["--leader-elect-namespace", "default", "--gang-scheduler", "volcano"];
    let mut operator = Operator::start(&place, "operator", &token(&place), &args).await;
    cluster.submit("digits", &json!({})).await;
    let sentence = "the server does not serve podgroups.scheduling.volcano.sh/v1beta1: install Volcano or start with --gang-scheduler none";
    operator.wait_for_log(sentence);
    cluster.history.wait_until("the job reports what it waits for", |history| {
        history.events_of("digits").iter().any(|event| event.contains(sentence))
            && history
                .last_condition("digits")
                .is_some_and(|last| last.to_string().contains(sentence))
    });
    assert!(cluster.history.of_job("digits", "pods").is_empty());

    cluster.server().create(&definition());
    wait_until("the PodGroup is created", || {
        (operator.proxy.count("create podgroups digits") == 1).then_some(())
    });
    let admitted = json!({ "status": { "phase": "Inqueue" } }).to_string();
    let name = "podgroups.scheduling.volcano.sh/digits";
    cluster.server().kubectl(&[
        "patch",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &admitted,
    ]);
    cluster.history.wait_for_state("digits", "Running");
    assert!(operator.is_running());
}
