//! Roles and bindings in force: who may do what, who may give what to whom.

use http::Method;
use mxjob_access::identity::Identity;
use serde_json::{Value, json};

use crate::server::{JOBS, JSON, MERGE, Server, config_map, job};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn role(name: &str, resources: &[&str], verbs: &[&str]) -> Value {
    let groups = ["", "kubeflow.org"];
    json!({"metadata": {"name": name}, "rules": [{"apiGroups": groups, "resources": resources, "verbs": verbs}]})
}

fn binding(name: &str, kind: &str, role: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": name}, "roleRef": {"kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": user}],
    })
}

/// What a user gets: the code, and the message of a refusal.
async fn call(server: &Server, user: &str, request: (Method, &str), body: &Value) -> (u16, String) {
    let identity = Identity::new(user, "", []);
    let content_type = if request.0 == Method::PATCH { MERGE } else { JSON };
    let body = (!body.is_null()).then_some(body);
    let (status, answer) =
        server.api.connector(identity, "test").send(request.0, request.1, content_type, body).await;
    (status.as_u16(), answer["message"].as_str().unwrap_or_default().to_owned())
}

async fn get(server: &Server, user: &str, path: &str) -> u16 {
    call(server, user, (Method::GET, path), &Value::Null).await.0
}

#[tokio::test]
async fn rights_follow_roles_and_bindings_at_once() {
    let server = Server::start().await;
    assert_eq!(get(&server, "ann", MAPS).await, 403);
    server.make(ROLES, &role("reader", &["configmaps"], &["list"])).await;
    assert_eq!(get(&server, "ann", MAPS).await, 403);
    server.make(BINDINGS, &binding("ann", "Role", "reader", "ann")).await;
    assert_eq!(get(&server, "ann", MAPS).await, 200);
    assert_eq!(get(&server, "ann", "/api/v1/namespaces/kube-system/configmaps").await, 403);
    assert_eq!(get(&server, "ann", "/api/v1/configmaps").await, 403);
    assert_eq!(get(&server, "bob", MAPS).await, 403);
    assert_eq!(call(&server, "ann", (Method::POST, MAPS), &config_map("a")).await.0, 403);
    server.patch(&format!("{ROLES}/reader"), &role("reader", &["configmaps"], &["create"])).await;
    assert_eq!(get(&server, "ann", MAPS).await, 403);
    assert_eq!(call(&server, "ann", (Method::POST, MAPS), &config_map("a")).await.0, 201);
    server.delete(&format!("{BINDINGS}/ann")).await;
    assert_eq!(call(&server, "ann", (Method::POST, MAPS), &config_map("b")).await.0, 403);
}

#[tokio::test]
async fn a_binding_to_a_missing_role_is_said_in_the_refusal() {
    let server = Server::start().await;
    server.make(CLUSTER_BINDINGS, &binding("ann", "ClusterRole", "nope", "ann")).await;
    let (code, message) = call(&server, "ann", (Method::GET, MAPS), &Value::Null).await;
    assert_eq!(code, 403);
    assert_eq!(
        message,
        r#"configmaps is forbidden: User "ann" cannot list resource "configmaps" in API group "" in the namespace "default": RBAC: clusterrole.rbac.authorization.k8s.io "nope" not found"#
    );
}

#[tokio::test]
async fn the_usual_roles_are_there_and_have_mxjobs_in_them() {
    let server = Server::start().await;
    for (user, role) in
        [("vera", "view"), ("ed", "edit"), ("ada", "admin"), ("cat", "cluster-admin")]
    {
        server.make(CLUSTER_BINDINGS, &binding(user, "ClusterRole", role, user)).await;
    }
    server.make(JOBS, &job("j")).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let check = async |user: &str, request: (Method, &str), body: &Value, want: bool| {
        let (code, message) = call(&server, user, (request.0.clone(), request.1), body).await;
        assert_eq!(code != 403, want, "{user} {request:?} {message}");
    };
    let j = format!("{JOBS}/j");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    for (user, reads, secret, writes, binds, all) in [
        ("nobody", false, false, false, false, false),
        ("vera", true, false, false, false, false),
        ("ed", true, true, true, false, false),
        ("ada", true, true, true, true, false),
        ("cat", true, true, true, true, true),
    ] {
        check(user, (Method::GET, JOBS), &Value::Null, reads).await;
        check(user, (Method::GET, "/api/v1/namespaces/default/pods"), &Value::Null, reads).await;
        check(user, (Method::GET, &format!("{j}/status")), &Value::Null, reads).await;
        check(user, (Method::GET, secrets), &Value::Null, secret).await;
        check(user, (Method::PATCH, &j), &label, writes).await;
        check(user, (Method::GET, BINDINGS), &Value::Null, binds).await;
        check(user, (Method::PATCH, &format!("{j}/status")), &json!({"status": {}}), all).await;
        check(user, (Method::GET, "/metrics"), &Value::Null, all).await;
        check(user, (Method::GET, "/api"), &Value::Null, true).await;
    }
    for name in [
        "kubeflow-mxjobs-admin",
        "kubeflow-mxjobs-edit",
        "kubeflow-mxjobs-view",
        "system:node",
        "system:mxjob-controller",
    ] {
        let (code, role) = server.get(&format!("{CLUSTER_ROLES}/{name}")).await;
        assert_eq!(code, 200, "{name}");
        assert!(!role["rules"].as_array().unwrap().is_empty(), "{name}");
        assert_eq!(role["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
        assert_eq!(
            role["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"],
            "true"
        );
    }
}

#[tokio::test]
async fn a_start_repairs_default_roles_and_writes_nothing_where_all_is_well() {
    let server = Server::start().await;
    let revision = server.api.store().revision();
    server.api.bootstrap().await.unwrap();
    assert_eq!(server.api.store().revision(), revision);
    server.patch(&format!("{CLUSTER_ROLES}/system:discovery"), &json!({"rules": []})).await;
    server.delete(&format!("{CLUSTER_BINDINGS}/system:node")).await;
    assert_eq!(get(&server, "ann", "/api").await, 403);
    server.api.bootstrap().await.unwrap();
    assert_eq!(get(&server, "ann", "/api").await, 200);
    assert_eq!(server.get(&format!("{CLUSTER_BINDINGS}/system:node")).await.0, 200);
}

#[tokio::test]
async fn nobody_gives_rights_that_they_lack() {
    let server = Server::start().await;
    let manage = json!({"metadata": {"name": "manager"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update", "patch", "get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
    ]});
    server.make(CLUSTER_ROLES, &manage).await;
    server.make(CLUSTER_BINDINGS, &binding("ann", "ClusterRole", "manager", "ann")).await;
    let check = async |request: (Method, &str), body: Value, code: u16, want: &str| {
        let (got, message) = call(&server, "ann", (request.0.clone(), request.1), &body).await;
        assert_eq!((got, message.as_str()), (code, want), "{request:?}");
    };
    let held = |name| json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]});
    let more = |name| json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get"]}]});
    let refusal = "user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n";
    let secrets = r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#;
    let about = |what: &str| format!("{what} is forbidden: {refusal}{secrets}");

    check((Method::POST, ROLES), held("a"), 201, "").await;
    check((Method::POST, ROLES), more("b"), 403, &about("roles.rbac.authorization.k8s.io \"b\""))
        .await;
    check(
        (Method::POST, CLUSTER_ROLES),
        more("b"),
        403,
        &about("clusterroles.rbac.authorization.k8s.io \"b\""),
    )
    .await;
    check(
        (Method::PATCH, &format!("{ROLES}/a")),
        more("a"),
        403,
        &about("roles.rbac.authorization.k8s.io \"a\""),
    )
    .await;
    check(
        (Method::PATCH, &format!("{ROLES}/a")),
        json!({"metadata": {"labels": {"x": "y"}}}),
        200,
        "",
    )
    .await;

    // Aggregation could take in anything.
    let aggregating = json!({"metadata": {"name": "c"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}});
    let whole = "clusterroles.rbac.authorization.k8s.io \"c\" is forbidden: must have cluster-admin privileges to use the aggregationRule";
    check((Method::POST, CLUSTER_ROLES), aggregating, 403, whole).await;

    // Bindings: of what is held, of more, of nothing.
    server.make(ROLES, &more("secrets")).await;
    check((Method::POST, BINDINGS), binding("a", "Role", "a", "bob"), 201, "").await;
    check(
        (Method::POST, BINDINGS),
        binding("b", "Role", "secrets", "bob"),
        403,
        &about("rolebindings.rbac.authorization.k8s.io \"b\""),
    )
    .await;
    let missing = r#"role.rbac.authorization.k8s.io "nope" not found"#;
    check((Method::POST, BINDINGS), binding("b", "Role", "nope", "bob"), 404, missing).await;

    // The verbs `bind` and `escalate` are the way round.
    let rights = json!({"metadata": {"name": "rights"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["bind"], "resourceNames": ["secrets"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"], "resourceNames": ["d"]},
    ]});
    server.make(ROLES, &rights).await;
    server.make(BINDINGS, &binding("rights", "Role", "rights", "ann")).await;
    check((Method::POST, BINDINGS), binding("b", "Role", "secrets", "bob"), 201, "").await;
    check((Method::POST, ROLES), more("d"), 201, "").await;
    check((Method::POST, ROLES), more("e"), 403, &about("roles.rbac.authorization.k8s.io \"e\""))
        .await;
}

#[tokio::test]
async fn the_role_of_a_binding_cannot_be_changed() {
    let server = Server::start().await;
    server.make(BINDINGS, &binding("a", "ClusterRole", "view", "ann")).await;
    let (code, answer) =
        server.patch(&format!("{BINDINGS}/a"), &json!({"roleRef": {"name": "edit"}})).await;
    assert_eq!(code, 422);
    assert_eq!(answer["details"]["causes"][0]["field"], "roleRef");
    assert!(answer["message"].as_str().unwrap().ends_with("cannot change roleRef"), "{answer}");
    let (_, binding) = server.get(&format!("{BINDINGS}/a")).await;
    assert_eq!(
        binding["roleRef"],
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"})
    );
    assert_eq!(binding["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
}

#[tokio::test]
async fn roles_and_bindings_are_shown_in_columns() {
    let server = Server::start().await;
    server.make(BINDINGS, &binding("a", "ClusterRole", "view", "ann")).await;
    let headers = [
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ("authorization", "Bearer good"),
    ];
    let table = server.raw("GET", BINDINGS, &headers, b"").await.json();
    let names: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(names, ["Name", "Role", "Age", "Users", "Groups", "ServiceAccounts"]);
    assert_eq!(table["rows"][0]["cells"][1], "ClusterRole/view");
    assert_eq!(table["rows"][0]["cells"][3], "ann");
    let table = server.raw("GET", CLUSTER_ROLES, &headers, b"").await.json();
    assert_eq!(table["columnDefinitions"][1]["name"], "Created At");
}

#[tokio::test]
async fn aggregating_roles_follow_their_parts() {
    let server = Server::start().await;
    let client = server.client(mxjob_manager::roles::ACCOUNT);
    tokio::spawn(mxjob_manager::roles::run(client, std::future::pending()));
    let mut part = role("my-view", &["widgets"], &["get"]);
    part["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    server.make(CLUSTER_ROLES, &part).await;
    let has = |_, role: &Value| {
        role["rules"].as_array().unwrap().iter().any(|rule| rule["resources"][0] == "widgets")
    };
    for role in ["view", "edit", "admin"] {
        server.until(&format!("{CLUSTER_ROLES}/{role}"), "aggregated", has).await;
    }
    server.delete(&format!("{CLUSTER_ROLES}/my-view")).await;
    for role in ["view", "edit", "admin"] {
        server
            .until(&format!("{CLUSTER_ROLES}/{role}"), "aggregated", |code, role| !has(code, role))
            .await;
    }
}

#[tokio::test]
async fn every_namespace_has_its_default_service_account() {
    let server = Server::start().await;
    let client = server.client(mxjob_manager::accounts::ACCOUNT);
    tokio::spawn(mxjob_manager::accounts::run(client, std::future::pending()));
    server.make("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await;
    for namespace in ["default", "kube-system", "n"] {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        let account = server.until(&path, "made", |code, _| code == 200).await;
        server.delete(&path).await;
        server
            .until(&path, "made again", |code, new| {
                code == 200 && new["metadata"]["uid"] != account["metadata"]["uid"]
            })
            .await;
    }
}

#[tokio::test]
async fn components_have_the_rights_of_their_roles_and_no_more() {
    let server = Server::start().await;
    server.make(JOBS, &job("j")).await;
    let check = async |identity: Identity, method: Method, path: &str, want: bool| {
        let api = server.api.connector(identity.clone(), "test");
        let (status, answer) = api.send(method.clone(), path, MERGE, Some(&json!({}))).await;
        assert_eq!(status.as_u16() != 403, want, "{} {method} {path}: {answer}", identity.name);
    };
    let (pods, secret) =
        ("/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/secrets/s");
    let (status, nodes) = (format!("{JOBS}/j/status"), "/api/v1/nodes");
    let node = || Identity::node("n1");
    for (method, path, controller, agent) in [
        (Method::GET, pods, true, true),
        (Method::POST, pods, true, false),
        (Method::DELETE, "/api/v1/namespaces/default/pods/p", true, true),
        (Method::PATCH, "/api/v1/namespaces/default/pods/p", true, false),
        (Method::PATCH, "/api/v1/namespaces/default/pods/p/status", false, true),
        (Method::POST, "/api/v1/namespaces/default/pods/p/binding", false, true),
        (Method::PATCH, status.as_str(), true, false),
        (Method::PATCH, "/apis/kubeflow.org/v1/namespaces/default/mxjobs/j", false, false),
        (Method::GET, "/apis/kubeflow.org/v1/mxjobs", true, false),
        (Method::GET, secret, false, true),
        (Method::POST, nodes, false, true),
        (Method::POST, "/api/v1/namespaces", false, false),
        (Method::POST, "/api/v1/namespaces/default/events", true, true),
        (Method::GET, CLUSTER_ROLES, false, false),
    ] {
        check(Identity::controller(), method.clone(), path, controller).await;
        check(node(), method, path, agent).await;
    }
    // The name alone does not make a node agent.
    check(Identity::new("system:node:n1", "", []), Method::GET, pods, false).await;
    assert_eq!(server.get(RBAC).await.0, 200);
}

#[tokio::test]
async fn a_replace_or_an_apply_that_creates_takes_the_right_to_create() {
    let server = Server::start().await;
    server.make(ROLES, &role("changer", &["mxjobs"], &["get", "update", "patch"])).await;
    server.make(BINDINGS, &binding("ann", "Role", "changer", "ann")).await;
    let ann = server.api.connector(Identity::new("ann", "", []), "test");
    let apply = "application/apply-patch+yaml";
    let path = format!("{JOBS}/j");
    let applied = format!("{path}?fieldManager=m");
    let refusal = r#"mxjobs.kubeflow.org "j" is forbidden: User "ann" cannot create resource "mxjobs" in API group "kubeflow.org" in the namespace "default""#;
    for (method, path, content_type) in
        [(Method::PUT, &path, JSON), (Method::PATCH, &applied, apply)]
    {
        let (status, answer) = ann.send(method, path, content_type, Some(&job("j"))).await;
        assert_eq!((status.as_u16(), answer["message"].as_str()), (403, Some(refusal)));
    }
    server.make(ROLES, &role("creator", &["mxjobs"], &["create"])).await;
    server.make(BINDINGS, &binding("ann-creates", "Role", "creator", "ann")).await;
    assert_eq!(ann.send(Method::PUT, &path, JSON, Some(&job("j"))).await.0.as_u16(), 201);
    assert_eq!(ann.send(Method::PATCH, &applied, apply, Some(&job("j"))).await.0.as_u16(), 200);
}
