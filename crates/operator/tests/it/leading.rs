use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::world::{LEASE, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_leads_and_hands_over_when_it_stops() {
    let world = World::start().await;
    let first = world.operator(|_| {});
    until(true, async || first.leads().await).await;
    let second = world.operator(|_| {});
    until((200, "ok\n".to_owned()), async || second.probe("/readyz").await).await;
    assert!(!second.leads().await, "it stands by, but is ready");
    assert_eq!(world.holder().await, first.identity);

    world.submit("digits").await;
    until(3, async || world.pods().await.len()).await;
    let begun = Instant::now();
    first.stop().await;
    until(true, async || second.leads().await).await;
    // One read and one write; an expiry would take three seconds.
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    let lease = world.lease().await;
    assert_eq!(lease["spec"]["holderIdentity"], second.identity);
    assert_eq!(lease["spec"]["leaseTransitions"], 1, "a release is no transition");
    world.submit("more-digits").await;
    until(6, async || world.pods().await.len()).await;
    assert!(second.metric("mxjob_leader_start_seconds").await > 0.0);

    second.stop().await;
    assert_eq!(world.holder().await, "", "released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_leader_is_replaced_after_its_lease_expired() {
    let world = World::start().await;
    let first = world.operator(|_| {});
    until(true, async || first.leads().await).await;
    let second = world.operator(|_| {});
    until(200, async || second.probe("/readyz").await.0).await;
    first.kill();
    let begun = Instant::now();
    until(true, async || second.leads().await).await;
    let took = begun.elapsed();
    // Its last renewal was at most a retry period before, plus delays of a busy machine.
    assert!(took > Duration::from_millis(2_000), "the leader could have been alive: {took:?}");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_loses_the_lease_stands_by_and_leads_again() {
    let world = World::start().await;
    let operator = world.operator(|_| {});
    until(true, async || operator.leads().await).await;
    // Another holder takes it by force.
    let theft = json!({ "spec": { "holderIdentity": "thief", "leaseDurationSeconds": 5 } });
    world.ask(Method::PATCH, LEASE, Some(&theft)).await;
    until(false, async || operator.leads().await).await;
    world.submit("digits").await;
    assert_eq!(operator.probe("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(world.holder().await, "thief", "it is not taken back by force");
    assert!(world.pods().await.is_empty(), "no pod is created without the lease");
    until(true, async || operator.leads().await).await;
    until(3, async || world.pods().await.len()).await;
    assert!(operator.metric("mxjob_leader_terms_total").await > 1.0);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_standby_does_not_touch_the_lease() {
    let world = World::start().await;
    let leader = world.operator(|_| {});
    until(true, async || leader.leads().await).await;
    let other = world.operator(|_| {});
    until(200, async || other.probe("/readyz").await.0).await;
    other.stop().await;
    assert_eq!(world.holder().await, leader.identity);
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_election_it_leads_immediately_and_uses_no_lease() {
    let world = World::start().await;
    let operator = world.operator(|config| config.election = None);
    world.submit("digits").await;
    until(3, async || world.pods().await.len()).await;
    assert!(operator.leads().await);
    assert_eq!(operator.probe("/livez").await.0, 200);
    operator.stop().await;
    assert!(world.lease().await.is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_operator_is_unready_while_its_webhook_is_still_served() {
    let world = World::start().await;
    let mut operator = world.operator_with(true, |_| {});
    until((200, "ok\n".to_owned()), async || {
        let (status, text) = operator.probe("/readyz").await;
        // Only the webhook configuration is missing here.
        (status, text.lines().take(1).map(|line| format!("{line}\n")).collect())
    })
    .await;
    until(true, async || operator.leads().await).await;
    operator.ask_to_stop();
    until(String::new(), async || world.holder().await).await;
    let (status, text) = operator.probe("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.starts_with("the operator is stopping\n"), "{text}");
    assert_eq!(operator.probe("/livez").await.0, 200);
    operator.stop().await;
}
