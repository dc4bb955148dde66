//! Faults between the operator and the API server, and an API server that is killed: everything is
//! done exactly once.

use mxjob_testkit::{Fault, Faults};
use serde_json::json;

use super::cluster::Cluster;
use super::history::Wait as _;
use super::nodes::End;
use crate::support::{Place, wait_until};

/// Asserts that every pod and service was created exactly once.
fn assert_created_once(cluster: &Cluster<'_>) {
    for resource in ["pods", "services"] {
        for (name, uids) in cluster.history.uids(resource) {
            assert_eq!(uids.len(), 1, "{resource} {name} was created again");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_failed_request_is_retried() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    for (request, fault) in [
        ("create services digits-scheduler-0", Fault::Refuse(500)),
        ("create services digits-server-0", Fault::LoseResponse),
        ("create services digits-worker-0", Fault::Cut),
        ("create pods digits-scheduler-0", Fault::Refuse(429)),
        ("create pods digits-server-0", Fault::Refuse(503)),
        ("create pods digits-worker-0", Fault::LoseResponse),
        ("create pods digits-worker-1", Fault::Refuse(409)),
        ("patch mxjobs/status digits", Fault::LoseResponse),
        ("patch mxjobs/status digits", Fault::Refuse(409)),
        ("patch mxjobs/status digits", Fault::Refuse(500)),
        ("delete pods digits-scheduler-0", Fault::LoseResponse),
        ("delete services digits-scheduler-0", Fault::Refuse(503)),
    ] {
        operator.proxy.add_rule(request, fault, 1);
    }
    cluster.submit("digits", &json!({ "successPolicy": "AllWorkers" })).await;
    cluster.history.wait_for_state("digits", "Running");
    for worker in ["digits-worker-0", "digits-worker-1"] {
        cluster.nodes.end(worker, End::Code(0));
    }
    cluster.history.wait_for_state("digits", "Succeeded");
    cluster.history.wait_until("only the workers are left", |history| {
        history.of_job("digits", "pods").len() == 2
            && history.of_job("digits", "services").len() == 2
    });
    assert!(operator.proxy.rules_are_used_up());
    assert_created_once(&cluster);
    let events = cluster.history.events_of("digits");
    for once in ["MXJobRunning", "MXJobSucceeded"] {
        let count = events.iter().filter(|event| event.starts_with(once)).count();
        assert!(count <= 1, "{once}: {events:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_during_broken_or_expired_watches_are_seen_afterwards() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    for (name, have_expired) in [("broken", false), ("expired", true)] {
        cluster.submit(name, &json!({})).await;
        cluster.history.wait_for_state(name, "Running");
        let watches = operator.proxy.count("watch");
        if have_expired {
            operator.proxy.add_rule("watch", Fault::Refuse(410), 3);
        }
        operator.proxy.break_watches(have_expired);
        for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
            cluster.nodes.end(&format!("{name}-{replica}"), End::Code(0));
        }
        cluster.history.wait_for_state(name, "Succeeded");
        wait_until("a watch is open again", || {
            (operator.proxy.count("watch") > watches).then_some(())
        });
    }
    assert_created_once(&cluster);
    wait_until("everything was listed again", || {
        let is_listed_again = |resource| operator.proxy.count(&format!("list {resource}")) > 1;
        ["mxjobs", "pods", "services"].into_iter().all(is_listed_again).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_continues_after_the_api_server_was_killed() {
    let place = Place::new();
    let mut cluster = Cluster::start(&place).await;
    let mut operator = cluster.operator("operator").await;
    let names: Vec<String> = (0..10).map(|number| format!("j{number}")).collect();
    for name in &names[..5] {
        cluster.submit(name, &json!({})).await;
    }
    cluster.history.wait_until("some pods exist", |history| history.of_resource("pods").len() > 6);
    cluster.restart_server();
    for name in &names[5..] {
        cluster.submit(name, &json!({})).await;
    }
    for name in &names {
        cluster.history.wait_for_state(name, "Running");
    }
    cluster.restart_server();
    for name in &names {
        for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
            cluster.nodes.end(&format!("{name}-{replica}"), End::Code(0));
        }
    }
    for name in &names {
        cluster.history.wait_for_state(name, "Succeeded");
    }
    assert_created_once(&cluster);
    assert!(operator.is_running(), "it keeps running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_disconnected_for_longer_than_its_lease_continues_afterwards() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    cluster.submit("digits", &json!({})).await;
    cluster.history.wait_for_state("digits", "Running");
    operator.proxy.set_down(true);
    operator.wait_for_log("lost the lease; standing by");
    // It reports the missing lease, and stays ready: its webhook can still answer.
    let (code, page) = operator.ask("probes", "/readyz").await;
    assert!(code == 200 && page.contains("the lease default/mxjob-operator"), "{code} {page}");
    let before = operator.proxy.records().len();
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        cluster.nodes.end(&format!("digits-{replica}"), End::Code(0));
    }
    assert_eq!(operator.proxy.records().len(), before, "no request arrives");
    operator.proxy.set_down(false);
    cluster.history.wait_for_state("digits", "Succeeded");
    operator.wait_until_ready_is(200).await;
    assert_created_once(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_api_server_delays_jobs_and_fails_none() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    operator.proxy.set_faults(Faults { latency: 800, ..Faults::default() });
    let names: Vec<String> = (0..6).map(|number| format!("j{number}")).collect();
    for name in &names {
        cluster.submit(name, &json!({})).await;
    }
    for name in &names {
        cluster.history.wait_for_state(name, "Running");
        for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
            cluster.nodes.end(&format!("{name}-{replica}"), End::Code(0));
        }
    }
    for name in &names {
        cluster.history.wait_for_state(name, "Succeeded");
    }
    assert_created_once(&cluster);
}
