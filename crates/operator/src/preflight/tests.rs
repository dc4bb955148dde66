use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use kube::client::Body;
use mxjob_testkit::{Identity, Server};
use serde_json::json;
use tower_service::Service;

use super::*;

#[test]
fn a_missing_right_is_reported_in_one_sentence_with_the_command_that_grants_it() {
    let permission = |group, resource, name: Option<&str>| Permission {
        group,
        resource,
        verbs: &[],
        scope: Scope::Jobs,
        name: name.map(str::to_owned),
    };
    let check = |permission: Permission, place: Option<&str>, verbs: &[&str], expected: &str| {
        let expected = format!("The operator may not {expected}; do this");
        assert_eq!(access_reviews::sentence(&permission, place, verbs, "do this"), expected);
    };
    check(permission("", "pods", None), Some(""), &["create"], "create pods in all namespaces");
    check(
        permission("kubeflow.org", "mxjobs/status", None),
        Some("team"),
        &["get", "list", "patch"],
        "get, list or patch mxjobs.kubeflow.org/status in the namespace team",
    );
    check(
        permission("apiextensions.k8s.io", "customresourcedefinitions", Some(CRD)),
        None,
        &["get"],
        "get customresourcedefinitions.apiextensions.k8s.io \"mxjobs.kubeflow.org\"",
    );
}

fn preflight(client: Client) -> Preflight {
    let webhook = Some(("certificate".to_owned(), "mxjob".to_owned()));
    let parts =
        Components { lease: Some("mxjob-operator".to_owned()), webhook, ..Components::default() };
    Preflight {
        client,
        url: "https://cluster".to_owned(),
        permissions: permissions(&parts),
        jobs: Some("team".to_owned()),
        own: "system".to_owned(),
        lease: Some("leases".to_owned()),
        advice: "do this".to_owned(),
        lease_advice: "do that".to_owned(),
        health: Health::new(None, None, mxjob_controller::Health::default()),
    }
}

#[tokio::test]
async fn each_missing_right_is_reported_until_it_is_granted() {
    let server = Server::new();
    let mut preflight = preflight(server.client_as(Identity::new("nobody", "", [])));
    assert_eq!(preflight.check().await, Outcome::Missing);
    let problems = preflight.health.problems();
    for expected in [
        "create, delete, get, list, patch or watch pods in the namespace team;",
        "patch mxjobs.kubeflow.org/status in the namespace team;",
        "update mxjobs.kubeflow.org/finalizers in the namespace team;",
        "create leases.coordination.k8s.io in the namespace leases; do that",
        "get or update leases.coordination.k8s.io \"mxjob-operator\" in the namespace leases; do that",
        "create secrets in the namespace system; do this",
    ] {
        let count = problems.iter().filter(|line| line.contains(expected)).count();
        assert_eq!(count, 1, "{expected}: {problems:#?}");
    }
    // An operator for one namespace can check the definition without reading it.
    assert!(
        !problems.iter().any(|line| line.contains("customresourcedefinitions")),
        "{problems:#?}"
    );
    assert_eq!(problems.len(), preflight.permissions.len() - 1, "{problems:#?}");
    preflight.jobs = None;
    assert_eq!(preflight.check().await, Outcome::Missing);
    let problems = preflight.health.problems();
    assert!(
        problems.iter().any(|line| line.contains("get customresourcedefinitions")),
        "{problems:#?}"
    );
    assert_eq!(problems.len(), preflight.permissions.len(), "{problems:#?}");

    preflight.client = server.client();
    assert_eq!(preflight.check().await, Outcome::Complete);
    assert_eq!(preflight.health.problems(), [""; 0]);
}

#[tokio::test]
async fn an_unreachable_server_is_one_problem() {
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let preflight = preflight(Client::try_from(nowhere).unwrap());
    assert_eq!(preflight.check().await, Outcome::Unreachable);
    let problems = preflight.health.problems();
    assert!(
        problems[0].starts_with("cannot reach the API server https://cluster: "),
        "{problems:?}"
    );
    assert_eq!(problems.len(), 1);
}

/// A server with these pages only: path, status, text.
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

async fn problem_of(pages: &[(&'static str, u16, String)]) -> Option<String> {
    definition::check(&Client::new(Pages(pages.to_vec()), "default")).await.unwrap()
}

#[tokio::test]
async fn a_readable_definition_is_compared() {
    let mut crd = mxjob_api::crd::crd();
    assert_eq!(problem_of(&[(DEFINITION_PATH, 200, crd.to_string())]).await, None);
    crd["metadata"]["annotations"] = serde_json::Value::Null;
    let problems = problem_of(&[(DEFINITION_PATH, 200, crd.to_string())]).await.unwrap();
    assert!(
        problems.starts_with("The definition mxjobs.kubeflow.org is not the one of mxjob"),
        "{problems}"
    );
    assert!(problems.contains(mxjob_api::crd::FIX_COMMAND), "{problems}");
}

#[tokio::test]
async fn an_unreadable_definition_is_checked_by_discovery() {
    let serves = |names: &[&str]| {
        let resources: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        (DISCOVERY_PATH, 200, json!({ "resources": resources }).to_string())
    };
    let hidden = (DEFINITION_PATH, 403, "no".to_owned());
    for (pages, expected) in [
        (vec![serves(&["mxjobs", "mxjobs/status"])], None),
        (vec![hidden.clone(), serves(&["mxjobs", "mxjobs/status"])], None),
        (vec![serves(&["mxjobs"])], Some("it has no status subresource")),
        (vec![serves(&["tfjobs", "tfjobs/status"])], Some("The cluster does not serve MXJobs")),
        (vec![hidden], Some("The cluster does not serve MXJobs")),
        (vec![], Some("The cluster does not serve MXJobs")),
    ] {
        let problems = problem_of(&pages).await;
        match expected {
            None => assert_eq!(problems, None, "{pages:?}"),
            Some(expected) => {
                let problems = problems.unwrap();
                assert!(
                    problems.contains(expected) && problems.contains(mxjob_api::crd::FIX_COMMAND),
                    "{problems}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_server_error_says_nothing_about_the_definition() {
    for code in [401, 429, 500, 503] {
        let pages = Pages(vec![(DEFINITION_PATH, code, "no".to_owned())]);
        assert!(definition::check(&Client::new(pages, "default")).await.is_err(), "{code}");
    }
}

#[tokio::test]
async fn a_right_that_could_not_be_reviewed_is_unknown() {
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let definition = (DEFINITION_PATH, 200, mxjob_api::crd::crd().to_string());
    let allowed = |is: bool| json!({ "status": { "allowed": is } }).to_string();
    let mut preflight = preflight(Client::new(Pages(vec![]), "default"));
    for (code, text, expected, has_problems) in [
        (503, "no".to_owned(), Outcome::Unknown, false),
        (401, "no".to_owned(), Outcome::Unknown, false),
        (429, "no".to_owned(), Outcome::Unknown, false),
        (404, "no".to_owned(), Outcome::Complete, false),
        (403, "no".to_owned(), Outcome::Complete, false),
        (200, allowed(false), Outcome::Missing, true),
        // A right that was denied and cannot be reviewed now stays reported.
        (500, "no".to_owned(), Outcome::Unknown, true),
        (200, allowed(true), Outcome::Complete, false),
    ] {
        let pages = Pages(vec![definition.clone(), (REVIEWS, code, text)]);
        preflight.client = Client::new(pages, "default");
        assert_eq!(preflight.check().await, expected, "{code}");
        assert_eq!(!preflight.health.problems().is_empty(), has_problems, "{code}");
    }
}
