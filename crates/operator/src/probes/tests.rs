use super::*;

fn health(election_timeout: Option<Duration>, webhook: Option<watch::Receiver<bool>>) -> Health {
    Health::new(election_timeout, webhook, mxjob_controller::Health::default())
}

fn page(health: &Health, path: &str) -> (u16, String) {
    let (status, _, text) = Pages::Probes(health.clone()).page(path);
    (status.as_u16(), text)
}

#[test]
fn ready_needs_an_answer_of_the_api_server_and_a_certificate() {
    let (webhook, ready) = watch::channel(false);
    let health = health(None, Some(ready));
    let text = "the API server has not answered yet\nthe webhook has no certificate yet\n";
    assert_eq!(page(&health, "/readyz"), (503, text.to_owned()));
    health.api_server_reached();
    webhook.send_replace(true);
    assert_eq!(page(&health, "/readyz"), (200, "ok\n".to_owned()));
    health.stopping();
    assert_eq!(page(&health, "/readyz"), (503, "the operator is stopping\n".to_owned()));
    assert_eq!(page(&health, "/livez").0, 200, "stopping is no reason for a restart");
}

#[test]
fn problems_are_listed_one_a_line_and_do_not_make_the_replica_unready() {
    let health = health(None, None);
    health.api_server_reached();
    assert!(health.set_problem("pods", Some("may not create pods")));
    assert!(!health.set_problem("pods", Some("may not create pods")), "unchanged");
    assert!(health.set_problem("crd", Some("no definition")));
    assert_eq!(
        page(&health, "/readyz"),
        (200, "ok\nno definition\nmay not create pods\n".to_owned())
    );
    assert!(health.set_problem("pods", None));
    assert!(health.set_problem("crd", None));
    assert!(!health.set_problem("crd", None));
    assert_eq!(page(&health, "/readyz"), (200, "ok\n".to_owned()));
}

#[test]
fn live_needs_progress_of_the_election() {
    let health = health(Some(Duration::ZERO), None);
    while page(&health, "/livez").0 == 200 {
        std::hint::spin_loop();
    }
    for path in ["/livez", "/healthz"] {
        let (status, text) = page(&health, path);
        assert_eq!(status, 503);
        assert!(text.starts_with("the leader election has made no progress for "), "{text}");
    }
    let health = self::health(Some(Duration::from_secs(3600)), None);
    health.election_progressed();
    assert_eq!(page(&health, "/livez"), (200, "ok\n".to_owned()));
}

#[test]
fn other_paths_are_not_found() {
    let health = health(None, None);
    for path in ["/", "/metrics", "/readyz/x", "/debug/pprof"] {
        assert_eq!(page(&health, path).0, 404, "{path}");
    }
    let metrics = Pages::Metrics(Arc::new(|| "# EOF\n".to_owned()));
    assert_eq!(metrics.page("/metrics").2, "# EOF\n");
    assert_eq!(metrics.page("/livez").0, http::StatusCode::NOT_FOUND);
}
