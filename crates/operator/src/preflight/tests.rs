use super::*;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use kube::client::Body;
use mxjob_access::identity::Identity;
use serde_json::json;
use tower_service::Service;

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
        let want = format!("The operator may not {want}; do this");
        assert_eq!(reviews::sentence(&need, place, verbs, "do this"), want);
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
        advice: "do this".to_owned(),
        lease_advice: "do that".to_owned(),
        health: Health::new(None, None, mxjob_controller::Standing::default()),
    }
}

#[tokio::test]
async fn whoever_may_do_nothing_is_told_each_right_and_is_told_no_more_when_they_are_granted() {
    let (api, _dir) = crate::testing::api_server().await;
    let as_user = |who| Client::new(api.connector(who, "test"), "default");
    let mut preflight = preflight(as_user(Identity::new("nobody", "", [])));
    assert_eq!(preflight.round().await, Found::Lacking);
    let said = preflight.health.hindrances();
    for want in [
        "create, delete, get, list or watch pods in the namespace team;",
        "patch mxjobs.kubeflow.org/status in the namespace team;",
        "update mxjobs.kubeflow.org/finalizers in the namespace team;",
        "create leases.coordination.k8s.io in the namespace leases; do that",
        "get or update leases.coordination.k8s.io \"mxjob-operator\" in the namespace leases; do that",
        "create secrets in the namespace system; do this",
    ] {
        let count = said.iter().filter(|line| line.contains(want)).count();
        assert_eq!(count, 1, "{want}: {said:#?}");
    }
    // The definition can be judged without being seen, by an operator for one namespace.
    assert!(!said.iter().any(|line| line.contains("customresourcedefinitions")), "{said:#?}");
    assert_eq!(said.len(), preflight.needs.len() - 1, "{said:#?}");
    preflight.jobs = None;
    assert_eq!(preflight.round().await, Found::Lacking);
    let said = preflight.health.hindrances();
    assert!(said.iter().any(|line| line.contains("get customresourcedefinitions")), "{said:#?}");
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

/// A server that has these pages and no others: paths, statuses, texts.
#[derive(Clone)]
struct Pages(Vec<(&'static str, u16, String)>);

impl Service<Request<Body>> for Pages {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let page = self.0.iter().find(|(path, ..)| *path == request.uri().path());
        let (code, text) = page.map_or((404, "no"), |(_, code, text)| (*code, text.as_str()));
        let response = Response::builder().status(code);
        ready(Ok(response.body(Full::new(Bytes::copy_from_slice(text.as_bytes()))).unwrap()))
    }
}

const DEFINITION_PATH: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mxjobs.kubeflow.org";
const DISCOVERY_PATH: &str = "/apis/kubeflow.org/v1";

async fn judged(pages: &[(&'static str, u16, String)]) -> Option<String> {
    definition::judge(&Client::new(Pages(pages.to_vec()), "default")).await.unwrap()
}

#[tokio::test]
async fn a_definition_is_judged_by_itself_where_it_can_be_seen() {
    let mut crd = mxjob_api::crd::crd();
    assert_eq!(judged(&[(DEFINITION_PATH, 200, crd.to_string())]).await, None);
    crd["metadata"]["annotations"] = serde_json::Value::Null;
    let said = judged(&[(DEFINITION_PATH, 200, crd.to_string())]).await.unwrap();
    assert!(
        said.starts_with("The definition mxjobs.kubeflow.org is not the one of mxjob"),
        "{said}"
    );
    assert!(said.contains(mxjob_api::crd::MENDING), "{said}");
}

#[tokio::test]
async fn where_it_cannot_be_seen_it_is_judged_by_what_the_server_says_it_serves() {
    let serves = |names: &[&str]| {
        let resources: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        (DISCOVERY_PATH, 200, json!({ "resources": resources }).to_string())
    };
    let hidden = (DEFINITION_PATH, 403, "no".to_owned());
    for (pages, want) in [
        (vec![serves(&["mxjobs", "mxjobs/status"])], None),
        (vec![hidden.clone(), serves(&["mxjobs", "mxjobs/status"])], None),
        (vec![serves(&["mxjobs"])], Some("it has no status subresource")),
        (vec![serves(&["tfjobs", "tfjobs/status"])], Some("The cluster knows no MXJobs")),
        (vec![hidden], Some("The cluster knows no MXJobs")),
        (vec![], Some("The cluster knows no MXJobs")),
    ] {
        let said = judged(&pages).await;
        match want {
            None => assert_eq!(said, None, "{pages:?}"),
            Some(want) => {
                let said = said.unwrap();
                assert!(said.contains(want) && said.contains(mxjob_api::crd::MENDING), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_in_trouble_says_nothing_about_the_definition() {
    for code in [401, 429, 500, 503] {
        let pages = Pages(vec![(DEFINITION_PATH, code, "no".to_owned())]);
        assert!(definition::judge(&Client::new(pages, "default")).await.is_err(), "{code}");
    }
}

#[tokio::test]
async fn a_right_that_could_not_be_asked_for_is_asked_for_again() {
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let definition = (DEFINITION_PATH, 200, mxjob_api::crd::crd().to_string());
    let allowed = |is: bool| json!({ "status": { "allowed": is } }).to_string();
    let mut preflight = preflight(Client::new(Pages(vec![]), "default"));
    for (code, text, want, obstacles) in [
        (503, "no".to_owned(), Found::Unsure, false),
        (401, "no".to_owned(), Found::Unsure, false),
        (429, "no".to_owned(), Found::Unsure, false),
        (404, "no".to_owned(), Found::Well, false),
        (403, "no".to_owned(), Found::Well, false),
        (200, allowed(false), Found::Lacking, true),
        // What was refused and cannot be asked for now is not granted by that.
        (500, "no".to_owned(), Found::Unsure, true),
        (200, allowed(true), Found::Well, false),
    ] {
        let pages = Pages(vec![definition.clone(), (REVIEWS, code, text)]);
        preflight.client = Client::new(pages, "default");
        assert_eq!(preflight.round().await, want, "{code}");
        assert_eq!(!preflight.health.hindrances().is_empty(), obstacles, "{code}");
    }
}
