//! Tokens of service accounts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::server::{Clock, Server};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/bot/token";
const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const OWN: &str = "https://kubernetes.default.svc.cluster.local";

async fn start() -> (Server, Arc<Clock>) {
    let clock = Clock::new();
    let server = Server::start_in(Arc::<Clock>::clone(&clock)).await;
    server.make(ACCOUNTS, &json!({"metadata": {"name": "bot"}})).await;
    (server, clock)
}

async fn issue(server: &Server, spec: Value) -> String {
    let answer = server.make(TOKEN, &json!({"spec": spec})).await;
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// The code and the body that somebody with this token gets who asks who they are.
async fn ask(server: &Server, token: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer = server.raw("POST", WHO_AM_I, &headers, b"{}").await;
    (answer.code, answer.json()["status"]["userInfo"].clone())
}

#[tokio::test]
async fn a_token_makes_its_bearer_the_service_account() {
    let (server, _) = start().await;
    let answer = server.make(TOKEN, &json!({})).await;
    assert_eq!(answer["kind"], "TokenRequest");
    assert_eq!(answer["apiVersion"], "authentication.k8s.io/v1");
    assert_eq!(answer["metadata"]["name"], "bot");
    assert_eq!(answer["spec"]["audiences"], json!([OWN]));
    assert_eq!(answer["spec"]["expirationSeconds"], 3600);
    assert_eq!(answer["status"]["expirationTimestamp"], "2027-01-15T09:00:00Z");
    let (code, user) = ask(&server, answer["status"]["token"].as_str().unwrap()).await;
    assert_eq!(code, 201);
    let account = server.get(&format!("{ACCOUNTS}/bot")).await.1;
    assert_eq!(user["username"], "system:serviceaccount:default:bot");
    assert_eq!(user["uid"], account["metadata"]["uid"]);
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert!(
        user["extra"]["authentication.kubernetes.io/credential-id"][0]
            .as_str()
            .unwrap()
            .starts_with("JTI=")
    );
}

#[tokio::test]
async fn a_token_ends_with_its_time() {
    let (server, clock) = start().await;
    let token = issue(&server, json!({"expirationSeconds": 600})).await;
    for (after, code) in
        [(0, 201), (599, 201), (600, 401), (100_000, 401), (-30, 201), (-3600, 401)]
    {
        clock.0.store(1_800_000_000 + after, Ordering::Relaxed);
        assert_eq!(ask(&server, &token).await.0, code, "{after}");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_no_login_but_can_be_reviewed() {
    let (server, _) = start().await;
    let token = issue(&server, json!({"audiences": ["vault", "other"]})).await;
    assert_eq!(ask(&server, &token).await.0, 401);
    let review = async |audiences: Value| {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        server.make("/apis/authentication.k8s.io/v1/tokenreviews", &body).await["status"].clone()
    };
    let status = review(json!(["vault", "x"])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    let status = review(json!([])).await;
    assert_eq!(status["authenticated"], Value::Null);
    assert_eq!(
        status["error"],
        format!(
            r#"invalid bearer token, token audiences ["vault", "other"] is invalid for the target audiences ["{OWN}"]"#
        )
    );
    let both = issue(&server, json!({"audiences": ["vault", OWN]})).await;
    assert_eq!(ask(&server, &both).await.0, 201);
}

#[tokio::test]
async fn a_token_dies_with_its_account_and_the_next_of_that_name_does_not_wake_it() {
    let (server, _) = start().await;
    let token = issue(&server, json!({})).await;
    server.delete(&format!("{ACCOUNTS}/bot")).await;
    assert_eq!(ask(&server, &token).await.0, 401);
    server.make(ACCOUNTS, &json!({"metadata": {"name": "bot"}})).await;
    assert_eq!(ask(&server, &token).await.0, 401);
    let token = issue(&server, json!({})).await;
    assert_eq!(ask(&server, &token).await.0, 201);
}

#[tokio::test]
async fn a_token_bound_to_a_pod_dies_with_the_pod() {
    let (server, _) = start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, account: &str| json!({"metadata": {"name": name}, "spec": {"serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]}});
    let made = server.make(pods, &pod("p", "bot")).await;
    server.make(pods, &pod("q", "default")).await;
    let reference = |name: &str, uid: &Value| json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}});
    let token = issue(&server, reference("p", &made["metadata"]["uid"])).await;
    let (code, user) = ask(&server, &token).await;
    assert_eq!(
        (code, &user["extra"]["authentication.kubernetes.io/pod-name"]),
        (201, &json!(["p"]))
    );
    let refused = async |spec: Value, want: u16| {
        let (code, answer) = server.post(TOKEN, &json!({"spec": spec})).await;
        assert_eq!(code, want, "{answer}");
    };
    refused(reference("p", &json!("other")), 409).await;
    refused(reference("gone", &Value::Null), 404).await;
    refused(reference("q", &Value::Null), 400).await;
    refused(json!({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "p"}}), 400)
        .await;
    server.delete(&format!("{pods}/p?gracePeriodSeconds=0")).await;
    assert_eq!(ask(&server, &token).await.0, 401);
}

#[tokio::test]
async fn a_request_for_a_token_is_checked() {
    let (server, _) = start().await;
    let check = async |path: &str, body: Value, code: u16, want: &str| {
        let (got, answer) = server.post(path, &body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(got, code, "{body} {answer}");
        assert!(message.contains(want), "{body} {message}");
    };
    check(
        TOKEN,
        json!({"spec": {"expirationSeconds": 599}}),
        422,
        "may not specify a duration less than 10 minutes",
    )
    .await;
    check(
        TOKEN,
        json!({"spec": {"expirationSeconds": 1_i64 << 33}}),
        422,
        "larger than 2^32 seconds",
    )
    .await;
    check(TOKEN, json!({"kind": "Pod"}), 400, "TokenRequest").await;
    check(TOKEN, json!({"metadata": {"name": "other"}}), 400, "name").await;
    check(TOKEN, json!([]), 400, "").await;
    check(
        &format!("{ACCOUNTS}/nobody/token"),
        json!({}),
        404,
        r#"serviceaccounts "nobody" not found"#,
    )
    .await;
    // Nothing is signed for a dry run.
    let answer = server.make(&format!("{TOKEN}?dryRun=All"), &json!({})).await;
    assert_eq!(answer["status"]["token"], "");
}
