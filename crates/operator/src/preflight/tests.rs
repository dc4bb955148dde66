use super::*;

use std::sync::Arc;

use mxjob_apiserver::authn::{Authenticator, Identity};
use mxjob_apiserver::environment::System;
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::tokens::Tokens;
use mxjob_apiserver::{ApiServer, Config};

#[test]
fn a_missing_right_is_named_in_one_sentence_with_the_command_that_grants_it() {
    let need = |group, resource, name: Option<&str>| Need {
        group,
        resource,
        verbs: &[],
        scope: Scope::Jobs,
        name: name.map(str::to_owned),
    };
    let check = |need: Need, place: Option<&str>, verbs: &[&str], want: &str| {
        let want = format!(
            "the operator may not {want}; `mxjob manifests | kubectl apply -f -` grants what it needs"
        );
        assert_eq!(reviews::sentence(&need, place, verbs), want);
    };
    check(need("", "pods", None), Some(""), &["create"], "create pods in all namespaces");
    check(
        need("kubeflow.org", "mxjobs/status", None),
        Some("team"),
        &["get", "list", "patch"],
        "get, list or patch mxjobs.kubeflow.org/status in the namespace team",
    );
    check(
        need("apiextensions.k8s.io", "customresourcedefinitions", Some(CRD)),
        None,
        &["get"],
        "get customresourcedefinitions.apiextensions.k8s.io \"mxjobs.kubeflow.org\"",
    );
}

fn preflight(client: Client) -> Preflight {
    let webhook = Some(("certificate".to_owned(), "mxjob".to_owned()));
    let parts = Parts { lease: Some("mxjob-operator".to_owned()), webhook, ..Parts::default() };
    Preflight {
        client,
        url: "https://cluster".to_owned(),
        needs: rights(&parts),
        jobs: Some("team".to_owned()),
        own: "system".to_owned(),
        lease: Some("leases".to_owned()),
        health: Health::new(None, None, mxjob_controller::Standing::default()),
    }
}

#[tokio::test]
async fn whoever_may_do_nothing_is_told_each_right_and_is_told_no_more_when_they_are_granted() {
    let dir = tempfile::tempdir().unwrap();
    let store = mxjob_store::Store::open(dir.path(), mxjob_store::Options::default()).unwrap();
    let api = ApiServer::new(Config {
        store,
        environment: Arc::new(System),
        authenticator: Authenticator::new(Tokens::default()),
        readiness: Readiness::new(),
    });
    api.bootstrap().await.unwrap();
    let as_user = |who| Client::new(api.connector(who, "test"), "default");
    let mut preflight = preflight(as_user(Identity::new("nobody", "", [])));
    assert_eq!(preflight.round().await, Found::Lacking);
    let said = preflight.health.hindrances();
    for want in [
        "create, delete, get, list or watch pods in the namespace team;",
        "patch mxjobs.kubeflow.org/status in the namespace team;",
        "update mxjobs.kubeflow.org/finalizers in the namespace team;",
        "create leases.coordination.k8s.io in the namespace leases;",
        "get or update leases.coordination.k8s.io \"mxjob-operator\" in the namespace leases;",
        "create secrets in the namespace system;",
    ] {
        let count = said.iter().filter(|line| line.contains(want)).count();
        assert_eq!(count, 1, "{want}: {said:#?}");
    }
    assert_eq!(said.len(), preflight.needs.len(), "{said:#?}");

    preflight.client = as_user(Identity::admin());
    assert_eq!(preflight.round().await, Found::Well);
    assert_eq!(preflight.health.hindrances(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_once_and_asked_again() {
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let preflight = preflight(Client::try_from(nowhere).unwrap());
    assert_eq!(preflight.round().await, Found::Unreached);
    let said = preflight.health.hindrances();
    assert!(said[0].starts_with("https://cluster cannot be asked: "), "{said:?}");
    assert_eq!(said.len(), 1);
}
