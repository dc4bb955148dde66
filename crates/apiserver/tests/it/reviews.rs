//! Reviews and impersonation over the API.

use http::Method;
use mxjob_access::identity::Identity;
use serde_json::{Value, json};

use crate::server::{JOBS, JSON, Server};

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
const AUTHENTICATION: &str = "/apis/authentication.k8s.io/v1";

async fn viewer(server: &Server) -> mxjob_apiserver::client::Connector {
    let binding = json!({
        "metadata": {"name": "ann"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "ann"}],
    });
    server
        .make("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", &binding)
        .await;
    server.api.connector(Identity::new("ann", "7", []), "test")
}

#[tokio::test]
async fn one_asks_what_oneself_may_do() {
    let server = Server::start().await;
    let ann = viewer(&server).await;
    let check = async |spec: Value, allowed: bool, reason: &str| {
        let body = json!({"spec": spec});
        let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
        let (code, answer) = ann.send(Method::POST, &path, JSON, Some(&body)).await;
        assert_eq!(code, 201, "{answer}");
        assert_eq!(
            (
                answer["status"]["allowed"].as_bool(),
                answer["status"]["reason"].as_str().unwrap_or_default()
            ),
            (Some(allowed), reason),
            "{spec}"
        );
        assert_eq!(answer["kind"], "SelfSubjectAccessReview");
        assert_eq!(answer["spec"], spec);
    };
    let on = |verb: &str, namespace: &str| json!({"resourceAttributes": {"group": "kubeflow.org", "resource": "mxjobs", "verb": verb, "namespace": namespace}});
    check(
        on("list", "default"),
        true,
        r#"RBAC: allowed by RoleBinding "ann/default" of ClusterRole "view" to User "ann""#,
    )
    .await;
    check(on("create", "default"), false, "").await;
    check(on("list", ""), false, "").await;
    check(json!({"nonResourceAttributes": {"path": "/api", "verb": "get"}}), true, r#"RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#).await;
    check(json!({"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}), false, "").await;
}

#[tokio::test]
async fn the_administrator_asks_about_others() {
    let server = Server::start().await;
    viewer(&server).await;
    let check = async |path: &str, spec: Value, code: u16, want: &str| {
        let (got, answer) =
            server.post(&format!("{AUTHORIZATION}/{path}"), &json!({"spec": spec})).await;
        let text = match answer["status"]["allowed"].as_bool() {
            Some(allowed) => allowed.to_string(),
            None => answer["message"].as_str().unwrap_or_default().to_owned(),
        };
        assert_eq!(got, code, "{spec} {answer}");
        assert!(text.contains(want), "{spec} {text}");
    };
    let list = json!({"resource": "pods", "verb": "list", "namespace": "default"});
    let all = "subjectaccessreviews";
    check(all, json!({"user": "ann", "resourceAttributes": list}), 201, "true").await;
    check(all, json!({"user": "bob", "resourceAttributes": list}), 201, "false").await;
    check(all, json!({"groups": ["system:masters"], "resourceAttributes": list}), 201, "true")
        .await;
    check(
        all,
        json!({"user": "x", "nonResourceAttributes": {"path": "/api", "verb": "get"}}),
        201,
        "false",
    )
    .await;
    check(
        all,
        json!({"user": "ann"}),
        422,
        "exactly one of nonResourceAttributes or resourceAttributes must be specified",
    )
    .await;
    check(
        all,
        json!({"resourceAttributes": list}),
        422,
        "at least one of user or group must be specified",
    )
    .await;
    check(
        all,
        json!({"user": "ann", "resourceAttributes": list, "nonResourceAttributes": {}}),
        422,
        "cannot be specified in combination",
    )
    .await;
    let local = "namespaces/default/localsubjectaccessreviews";
    check(local, json!({"user": "ann", "resourceAttributes": list}), 201, "true").await;
    check(
        local,
        json!({"user": "ann", "resourceAttributes": {"namespace": "n"}}),
        422,
        "must match metadata.namespace",
    )
    .await;
    let (code, answer) = server.get(&format!("{AUTHORIZATION}/{all}")).await;
    assert_eq!(code, 405, "{answer}");
}

#[tokio::test]
async fn one_asks_for_all_of_ones_rules_and_who_one_is() {
    let server = Server::start().await;
    let ann = viewer(&server).await;
    let path = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
    let (code, answer) =
        ann.send(Method::POST, &path, JSON, Some(&json!({"spec": {"namespace": "default"}}))).await;
    assert_eq!(code, 201);
    let status = &answer["status"];
    assert_eq!(status["incomplete"], false);
    let rules = status["resourceRules"].as_array().unwrap();
    assert!(rules.contains(&json!({"apiGroups": ["kubeflow.org"], "resources": ["mxjobs"], "verbs": ["get", "list", "watch"]})), "{status:#}");
    assert!(!status["nonResourceRules"].as_array().unwrap().is_empty());
    let (code, _) = ann.send(Method::POST, &path, JSON, Some(&json!({}))).await;
    assert_eq!(code, 400);
    let path = format!("{AUTHENTICATION}/selfsubjectreviews");
    let (code, answer) = ann.send(Method::POST, &path, JSON, Some(&json!({}))).await;
    assert_eq!(code, 201);
    assert_eq!(
        answer["status"]["userInfo"],
        json!({"username": "ann", "uid": "7", "groups": ["system:authenticated"]})
    );
}

#[tokio::test]
async fn a_token_is_reviewed() {
    let server = Server::start().await;
    let check = async |spec: Value, want: Value| {
        let path = format!("{AUTHENTICATION}/tokenreviews");
        let (code, answer) = server.post(&path, &json!({"spec": spec})).await;
        assert_eq!((code, &answer["status"]), (201, &want), "{spec}");
    };
    let user = json!({"username": "limited", "groups": ["system:authenticated"]});
    let own = "https://kubernetes.default.svc.cluster.local";
    check(
        json!({"token": "limited"}),
        json!({"authenticated": true, "user": user, "audiences": [own]}),
    )
    .await;
    check(
        json!({"token": "limited", "audiences": ["x", own]}),
        json!({"authenticated": true, "user": user, "audiences": [own]}),
    )
    .await;
    check(json!({"token": "nope"}), json!({"user": {}, "error": "invalid bearer token"})).await;
    let (code, _) =
        server.post(&format!("{AUTHENTICATION}/tokenreviews"), &json!({"spec": {}})).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn acting_as_somebody_else_takes_the_right_to() {
    let server = Server::start().await;
    viewer(&server).await;
    let role = json!({"metadata": {"name": "mask"}, "rules": [
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["ann"]},
        {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"], "resourceNames": ["dev"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scope"], "verbs": ["impersonate"], "resourceNames": ["a"]},
    ]});
    server.make("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await;
    let binding = json!({
        "metadata": {"name": "mask"}, "roleRef": {"kind": "ClusterRole", "name": "mask"},
        "subjects": [{"kind": "User", "name": "limited"}],
    });
    server.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await;
    let check = async |token: &str, headers: &[(&str, &str)], code: u16, want: &str| {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        let answer = server.raw("GET", JOBS, &all, b"").await;
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.code, message.as_str()), (code, want), "{headers:?}");
    };
    let denied = |what: &str, name: &str, resource: &str, group: &str| {
        format!(
            "{what} {name:?} is forbidden: User \"limited\" cannot impersonate resource {resource:?} in API group {group:?} at the cluster scope"
        )
    };
    check("limited", &[("impersonate-user", "ann")], 200, "").await;
    check(
        "limited",
        &[
            ("impersonate-user", "ann"),
            ("impersonate-group", "dev"),
            ("impersonate-extra-scope", "a"),
        ],
        200,
        "",
    )
    .await;
    check("limited", &[("impersonate-user", "root")], 403, &denied("users", "root", "users", ""))
        .await;
    check(
        "limited",
        &[("impersonate-user", "ann"), ("impersonate-group", "system:masters")],
        403,
        &denied("groups", "system:masters", "groups", ""),
    )
    .await;
    check(
        "limited",
        &[("impersonate-user", "ann"), ("impersonate-uid", "1")],
        403,
        &denied("uids.authentication.k8s.io", "1", "uids", "authentication.k8s.io"),
    )
    .await;
    check(
        "limited",
        &[("impersonate-user", "ann"), ("impersonate-extra-scope", "b")],
        403,
        &denied(
            "userextras.authentication.k8s.io",
            "b",
            "userextras/scope",
            "authentication.k8s.io",
        ),
    )
    .await;
    check("limited", &[("impersonate-group", "dev")], 400, "the request asks to act in a group, with a uid or with extra fields, without impersonating a user").await;
    // Who acts as somebody has the rights of that one, and no longer their own.
    let nobody = r#"mxjobs.kubeflow.org is forbidden: User "nobody" cannot list resource "mxjobs" in API group "kubeflow.org" in the namespace "default""#;
    check("good", &[("impersonate-user", "nobody")], 403, nobody).await;
    check(
        "good",
        &[("impersonate-user", "nobody"), ("impersonate-group", "system:masters")],
        200,
        "",
    )
    .await;
}
