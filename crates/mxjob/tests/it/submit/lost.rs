//! Lost requests and answers, by a proxy in front of the API server.

use mxjob_testkit::Fault;
use serde_json::json;

use super::{endless, objects, settings, submit};
use crate::operator::cluster::token;
use crate::operator::proxy::Proxy;
use crate::support::{Place, Server, Text as _};

/// A proxy to the server of a place, and a kubeconfig for it.
pub(crate) async fn proxy(place: &Place) -> (Proxy, String) {
    let proxy = Proxy::to(&place.data().join("kubeconfig"), 0).await;
    let kubeconfig = place.write("proxy.kubeconfig", &proxy.kubeconfig(&token(place)));
    (proxy, kubeconfig)
}

#[tokio::test(flavor = "multi_thread")]
async fn created_object_is_found_after_its_answer_was_lost() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let (proxy, kubeconfig) = proxy(&place).await;
    let mut job = endless(&place, "x");
    for meta in [json!({"name": "fixed"}), json!({"generateName": "run-"})] {
        job["metadata"] = meta;
        proxy.add_rule("create mxjobs", Fault::LoseResponse, 1);
        let done = submit(&place, &[job.clone()], &["--kubeconfig", &kubeconfig, "--detach"]);
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        let created = server.kubectl(&["get", "mxjobs", "-o", "name"]);
        assert_eq!(done.stdout, format!("{} created\n", created.trim()));
        server.kubectl(&["delete", "mxjobs", "--all"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_server_is_retried() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let (proxy, kubeconfig) = proxy(&place).await;
    let mut job = endless(&place, "x");
    job["metadata"] = json!({"generateName": "run-"});
    for code in [429, 503] {
        proxy.add_rule("create mxjobs", Fault::Refuse(code), 1);
        let done = submit(&place, &[job.clone()], &["--kubeconfig", &kubeconfig, "--detach"]);
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
    }
    assert_eq!(server.kubectl(&["get", "mxjobs", "-o", "name"]).lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn unconfirmed_creation_is_reported_with_a_command_to_check() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let (proxy, kubeconfig) = proxy(&place).await;
    let detached = || {
        let job = endless(&place, "slow");
        submit(&place, &[settings("a"), job], &["--kubeconfig", &kubeconfig, "--detach"])
    };
    proxy.add_rule("create mxjobs", Fault::Cut, 1);
    let done = detached();
    assert_eq!(done.code(), Some(3), "{}", done.stderr);
    done.stderr.must_start_with("mxjob: cannot create MXJob slow: ");
    assert!(!done.stderr.contains("may have been"), "{}", done.stderr);
    assert_eq!(objects(&server), "");

    proxy.add_rule("create mxjobs", Fault::LoseResponse, 1);
    proxy.add_rule("get mxjobs slow", Fault::Refuse(403), 1);
    let done = detached();
    assert_eq!(done.code(), Some(3), "{}", done.stderr);
    let want =
        "; it may have been created nevertheless: check with `kubectl -n default get mxjob slow`\n";
    done.stderr.must_end_with(want);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_is_retried() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let (proxy, kubeconfig) = proxy(&place).await;
    for fault in [Fault::Refuse(500), Fault::Refuse(429), Fault::LoseResponse] {
        proxy.add_rule("delete mxjobs slow", fault, 2);
        let submitted = [settings("a"), endless(&place, "slow")];
        let done = submit(&place, &submitted, &["--kubeconfig", &kubeconfig, "--timeout", "1s"]);
        assert_eq!(done.code(), Some(124), "{fault:?}: {}", done.stderr);
        assert_eq!(objects(&server), "", "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_cannot_be_deleted_keeps_its_config_maps() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let (proxy, kubeconfig) = proxy(&place).await;
    proxy.add_rule("delete mxjobs slow", Fault::Refuse(403), 1);
    let submitted = [settings("a"), endless(&place, "slow")];
    let done = submit(&place, &submitted, &["--kubeconfig", &kubeconfig, "--timeout", "1s"]);
    assert_eq!(done.code(), Some(3), "{}", done.stderr);
    let want = "mxjob: could not be deleted: job slow: injected: delete mxjobs slow is refused; configmap/settings was kept for it\n";
    done.stderr.must_end_with(want);
    assert_eq!(objects(&server), "mxjob.kubeflow.org/slow configmap/settings");
}
