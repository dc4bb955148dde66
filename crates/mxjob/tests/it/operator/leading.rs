//! Two operators: one leads, and when it dies, goes or falls silent the other one goes on where it
//! was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mxjob_testkit::Record;
use mxjob_testkit::life::{role, terminal};
use serde_json::{Value, json};

use super::cluster::{Cluster, Operator};
use super::history::Wait as _;
use super::nodes::{Behavior, End};
use crate::support::{Place, wait_until};

/// Two operators, the leading one first.
async fn two(cluster: &Cluster<'_>) -> (Operator, Operator) {
    let first = cluster.operator("first").await;
    cluster.wait_for_leader(|_| true);
    let second = cluster.operator("second").await;
    wait_until("the second has read the lease", || {
        let records = second.proxy.records();
        records.iter().any(|record| record.request.is_lease()).then_some(())
    });
    (first, second)
}

fn is_work(record: &Record) -> bool {
    record.request.is_write() && !record.request.is_lease()
}

fn work(operator: &Operator) -> usize {
    operator.proxy.records().iter().filter(|record| is_work(record)).count()
}

/// Everything that was made by either, each once.
fn assert_created_once(cluster: &Cluster<'_>, operators: &[&Operator]) {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for operator in operators {
        for record in operator.proxy.records() {
            let creates = matches!(record.request.resource.as_str(), "pods" | "services");
            if record.request.verb == "create" && creates && record.is_done() {
                *made.entry(record.request.text()).or_default() += 1;
            }
        }
    }
    let doubled: Vec<_> = made.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    for resource in ["pods", "services"] {
        for (name, uids) in cluster.history.uids(resource) {
            assert_eq!(uids.len(), 1, "{resource} {name} was made again");
        }
    }
}

/// Pods that succeed after a while.
fn short_lives(pod: &Value) -> Behavior {
    let is_server = role(pod) == "server";
    let end = (Duration::from_millis(if is_server { 60_000 } else { 200 }), End::Code(0));
    Behavior { end: Some(end), ..Behavior::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_jobs_end_once_although_the_leader_is_killed() {
    let place = Place::new();
    let cluster = Cluster::with_behavior(&place, short_lives).await;
    let (mut first, second) = two(&cluster).await;
    let (leader, transitions) = cluster.lease().unwrap();
    let names: Vec<String> = (0..100).map(|number| format!("j{number}")).collect();
    for name in &names {
        let mut job = super::cluster::job(name, &[("Scheduler", 1), ("Server", 1), ("Worker", 1)]);
        job["spec"]["cleanPodPolicy"] = json!("None");
        cluster.create(&job).await;
        if name == "j60" {
            wait_until("half of them run", || {
                (cluster.history.of_resource("pods").len() > 60).then_some(())
            });
            first.kill();
        }
    }
    let (_, later) = cluster.wait_for_leader(|holder| holder != leader);
    assert_eq!(later, transitions + 1);
    for name in &names {
        cluster.history.wait_for_state(name, "Succeeded");
    }
    assert!(work(&first) > 0 && work(&second) > 0, "both did some of the work");
    assert_created_once(&cluster, &[&first, &second]);
    let mut events = BTreeMap::<String, usize>::new();
    for change in cluster.history.log() {
        if change.resource == "events" && !change.is_removed {
            let event = &change.object;
            let words =
                ["reason", "message"].map(|field| event[field].as_str().unwrap_or_default());
            *events
                .entry(format!("{} {}", event["involvedObject"]["name"], words.join(" ")))
                .or_default() += 1;
        }
    }
    let twice: Vec<_> = events.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    assert_statuses_only_grow(&cluster);
}

/// A finished job stays finished, regardless of who writes the status.
fn assert_statuses_only_grow(cluster: &Cluster<'_>) {
    let mut ended = BTreeSet::new();
    for change in cluster.history.log() {
        if change.resource == "mxjobs" {
            let name = change.object["metadata"]["name"].as_str().unwrap().to_owned();
            let has_ended = terminal(&change.object["status"]).is_some();
            assert!(has_ended || !ended.contains(&name), "{name} is no longer finished");
            if has_ended {
                ended.insert(name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_releases_its_lease_immediately() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let (mut first, second) = two(&cluster).await;
    cluster.submit("digits", &json!({})).await;
    cluster.history.wait_for_state("digits", "Running");
    let (leader, transitions) = cluster.lease().unwrap();
    first.signal("TERM");
    assert!(first.ended().success(), "{}", first.log());
    // It released the lease itself: nobody waited until it expired.
    let mut leases = cluster.history.log();
    leases.retain(|change| change.resource == "leases");
    let is_free =
        |lease: &Value| lease["spec"]["holderIdentity"].as_str().is_none_or(str::is_empty);
    let was_released = leases.iter().any(|change| is_free(&change.object));
    assert!(was_released, "{:#?}", cluster.lease());
    let (_, later) = cluster.wait_for_leader(|holder| holder != leader);
    assert_eq!(later, transitions + 1);
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        cluster.nodes.end(&format!("digits-{replica}"), End::Code(0));
    }
    cluster.history.wait_for_state("digits", "Succeeded");
    assert_created_once(&cluster, &[&first, &second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_suspended_beyond_its_lease_writes_nothing_when_it_continues() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let (mut first, second) = two(&cluster).await;
    cluster.submit("digits", &json!({})).await;
    cluster.history.wait_for_state("digits", "Running");
    // The last of its writes.
    cluster.history.wait_until("its events are recorded", |history| {
        let events = history.events_of("digits");
        let created = events.iter().filter(|event| event.starts_with("SuccessfulCreatePod"));
        created.count() == 4 && events.iter().any(|event| event.starts_with("MXJobRunning"))
    });
    let (leader, _) = cluster.lease().unwrap();
    first.signal("STOP");
    first.proxy.wait_until_idle();
    let before = work(&first);
    // Work for it at the moment that it continues.
    cluster.nodes.end("digits-worker-1", End::Code(3));
    cluster.submit("letters", &json!({})).await;
    let (next, _) = cluster.wait_for_leader(|holder| holder != leader);
    cluster.history.wait_for_state("digits", "Failed");
    cluster.history.wait_for_state("letters", "Running");
    let asked = first.proxy.records().len();
    first.signal("CONT");
    wait_until("it has read the lease, or has ended", || {
        let leases = first.proxy.records().split_off(asked);
        let has_asked = leases.iter().any(|record| record.request.is_lease());
        (has_asked || !first.is_running()).then_some(())
    });
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        cluster.nodes.end(&format!("letters-{replica}"), End::Code(0));
    }
    cluster.history.wait_for_state("letters", "Succeeded");
    assert_eq!(cluster.lease().unwrap().0, next);
    assert_eq!(work(&first), before, "{:#?}", first.proxy.records().split_off(asked));
    assert_created_once(&cluster, &[&first, &second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_leader_is_replaced_and_stands_by_afterwards() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let (first, second) = two(&cluster).await;
    cluster.submit("digits", &json!({})).await;
    cluster.history.wait_for_state("digits", "Running");
    let (leader, _) = cluster.lease().unwrap();
    first.proxy.set_down(true);
    first.proxy.wait_until_idle();
    let (next, _) = cluster.wait_for_leader(|holder| holder != leader);
    // Its requests reach nobody while it is disconnected; from here on they could.
    let before = work(&first);
    first.proxy.set_down(false);
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        cluster.nodes.end(&format!("digits-{replica}"), End::Code(0));
    }
    cluster.history.wait_for_state("digits", "Succeeded");
    assert_eq!(cluster.lease().unwrap().0, next);
    assert_eq!(work(&first), before);
    assert_created_once(&cluster, &[&first, &second]);
}
