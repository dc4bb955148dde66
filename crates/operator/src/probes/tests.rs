use super::*;

fn health(patience: Option<Duration>, webhook: Option<watch::Receiver<bool>>) -> Health {
    Health::new(patience, webhook, mxjob_controller::Standing::default())
}

fn page(health: &Health, path: &str) -> (u16, String) {
    let (status, _, text) = Pages::Probes(health.clone()).page(path);
    (status.as_u16(), text)
}

#[test]
fn ready_is_who_has_heard_of_the_cluster_and_can_answer_for_it() {
    let (webhook, ready) = watch::channel(false);
    let health = health(None, Some(ready));
    let text = "the API server has not answered yet\nthe webhook has no certificate yet\n";
    assert_eq!(page(&health, "/readyz"), (503, text.to_owned()));
    health.reached();
    webhook.send_replace(true);
    assert_eq!(page(&health, "/readyz"), (200, "ok\n".to_owned()));
    health.stopping();
    assert_eq!(page(&health, "/readyz"), (503, "the operator is stopping\n".to_owned()));
    assert_eq!(page(&health, "/livez").0, 200, "and is not to be started anew for that");
}

#[test]
fn what_is_in_the_way_is_named_a_line_each_and_is_no_reason_to_be_taken_out_of_service() {
    let health = health(None, None);
    health.reached();
    assert!(health.set_obstacle("pods", Some("may not create pods")));
    assert!(!health.set_obstacle("pods", Some("may not create pods")), "no news");
    assert!(health.set_obstacle("crd", Some("no definition")));
    assert_eq!(
        page(&health, "/readyz"),
        (200, "ok\nno definition\nmay not create pods\n".to_owned())
    );
    assert!(health.set_obstacle("pods", None));
    assert!(health.set_obstacle("crd", None));
    assert!(!health.set_obstacle("crd", None));
    assert_eq!(page(&health, "/readyz"), (200, "ok\n".to_owned()));
}

#[test]
fn alive_is_an_election_that_goes_round() {
    let health = health(Some(Duration::ZERO), None);
    while page(&health, "/livez").0 == 200 {
        std::hint::spin_loop();
    }
    for path in ["/livez", "/healthz"] {
        let (status, text) = page(&health, path);
        assert_eq!(status, 503);
        assert!(text.starts_with("the leader election has been stuck for "), "{text}");
    }
    let health = self::health(Some(Duration::from_secs(3600)), None);
    health.turned();
    assert_eq!(page(&health, "/livez"), (200, "ok\n".to_owned()));
}

#[test]
fn other_pages_are_not_there() {
    let health = health(None, None);
    for path in ["/", "/metrics", "/readyz/x", "/debug/pprof"] {
        assert_eq!(page(&health, path).0, 404, "{path}");
    }
    let metrics = Pages::Metrics(Arc::new(|| "# EOF\n".to_owned()));
    assert_eq!(metrics.page("/metrics").2, "# EOF\n");
    assert_eq!(metrics.page("/livez").0, http::StatusCode::NOT_FOUND);
}
