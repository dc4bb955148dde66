//! A bad line to the API server, and an API server that dies: what is done is done once, and
//! nothing is forgotten.

use serde_json::json;

use super::cluster::Cluster;
use super::nodes::End;
use super::trouble::{Fault, Trouble};
use crate::support::{Place, wait_until};

/// Whether every pod and service has been made exactly once.
fn assert_nothing_is_doubled(cluster: &Cluster<'_>) {
    for resource in ["pods", "services"] {
        for (name, uids) in cluster.history.uids(resource) {
            assert_eq!(uids.len(), 1, "{resource} {name} was made again");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_that_goes_wrong_is_made_good() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    for (request, fault) in [
        ("create services digits-scheduler-0", Fault::Refuse(500)),
        ("create services digits-server-0", Fault::LoseAnswer),
        ("create services digits-worker-0", Fault::Cut),
        ("create pods digits-scheduler-0", Fault::Refuse(429)),
        ("create pods digits-server-0", Fault::Refuse(503)),
        ("create pods digits-worker-0", Fault::LoseAnswer),
        ("create pods digits-worker-1", Fault::Refuse(409)),
        ("patch mxjobs/status digits", Fault::LoseAnswer),
        ("patch mxjobs/status digits", Fault::Refuse(409)),
        ("patch mxjobs/status digits", Fault::Refuse(500)),
        ("delete pods digits-scheduler-0", Fault::LoseAnswer),
        ("delete services digits-scheduler-0", Fault::Refuse(503)),
    ] {
        operator.proxy.rule(request, fault, 1);
    }
    cluster.submit("digits", &json!({ "successPolicy": "AllWorkers" })).await;
    cluster.history.wait_for_state("digits", "Running");
    for worker in ["digits-worker-0", "digits-worker-1"] {
        cluster.nodes.end(worker, End::Code(0));
    }
    cluster.history.wait_for_state("digits", "Succeeded");
    cluster.history.wait_until("only the workers are left", |history| {
        history.of("digits", "pods").len() == 2 && history.of("digits", "services").len() == 2
    });
    assert!(operator.proxy.rules_are_used_up());
    assert_nothing_is_doubled(&cluster);
    let told = cluster.history.told("digits");
    for once in ["MXJobRunning", "MXJobSucceeded"] {
        let count = told.iter().filter(|event| event.starts_with(once)).count();
        assert!(count <= 1, "{once}: {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_watches_are_broken_or_expired_is_seen_afterwards() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    for (name, have_expired) in [("broken", false), ("expired", true)] {
        cluster.submit(name, &json!({})).await;
        cluster.history.wait_for_state(name, "Running");
        let watches = operator.proxy.count("watch");
        if have_expired {
            operator.proxy.rule("watch", Fault::Refuse(410), 3);
        }
        operator.proxy.break_watches(have_expired);
        for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
            cluster.nodes.end(&format!("{name}-{replica}"), End::Code(0));
        }
        cluster.history.wait_for_state(name, "Succeeded");
        wait_until("something is watched again", || {
            (operator.proxy.count("watch") > watches).then_some(())
        });
    }
    assert_nothing_is_doubled(&cluster);
    wait_until("everything has been listed anew", || {
        let is_anew = |resource| operator.proxy.count(&format!("list {resource}")) > 1;
        ["mxjobs", "pods", "services"].into_iter().all(is_anew).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_dies_and_comes_back_finds_its_operator_at_work() {
    let place = Place::new();
    let mut cluster = Cluster::start(&place).await;
    let mut operator = cluster.operator("operator").await;
    let names: Vec<String> = (0..10).map(|number| format!("j{number}")).collect();
    for name in &names[..5] {
        cluster.submit(name, &json!({})).await;
    }
    cluster.history.wait_until("some are at it", |history| history.all("pods").len() > 6);
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
    assert_nothing_is_doubled(&cluster);
    assert!(operator.is_running(), "it stays through everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_was_cut_off_for_longer_than_its_lease_goes_on_afterwards() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    cluster.submit("digits", &json!({})).await;
    cluster.history.wait_for_state("digits", "Running");
    operator.proxy.set_down(true);
    operator.wait_for_log("lost the lease; standing by");
    // It says what it lacks, and stays in service: its webhook could still answer.
    let (code, page) = operator.ask("probes", "/readyz").await;
    assert!(code == 200 && page.contains("the lease default/mxjob-operator"), "{code} {page}");
    let before = operator.proxy.records().len();
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        cluster.nodes.end(&format!("digits-{replica}"), End::Code(0));
    }
    assert_eq!(operator.proxy.records().len(), before, "nothing gets through");
    operator.proxy.set_down(false);
    cluster.history.wait_for_state("digits", "Succeeded");
    operator.wait_until_ready_is(200).await;
    assert_nothing_is_doubled(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_api_server_slows_jobs_and_breaks_none() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let operator = cluster.operator("operator").await;
    operator.proxy.trouble(Trouble { latency: 800, ..Trouble::default() });
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
    assert_nothing_is_doubled(&cluster);
}
