//! The end of definitions: what goes with them, and what does not.

use futures_util::FutureExt;
use http::Method;
use mxjob_apiserver::Extensions;
use mxjob_store::{Expect, Op, Transaction};
use serde_json::{Value, json};

use super::{DEFINITIONS, GROUPS, defined, definition, group};
use crate::server::{JOBS, Server, config_map, job};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const STORED: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions";
const NAME: &str = "podgroups.scheduling.example.com";

fn path(name: &str) -> String {
    format!("{DEFINITIONS}/{name}")
}

fn gone(code: u16, _: &Value) -> bool {
    code == 404
}

/// Writes a definition past the API, as it may have been left by another version or is about to be
/// seen.
async fn store(server: &Server, definition: &Value) {
    let name = definition["metadata"]["name"].as_str().unwrap();
    let mut definition = definition.clone();
    definition["metadata"]["resourceVersion"] = json!("REVISION");
    let text = definition.to_string();
    let (before, after) = text.split_once("REVISION").unwrap();
    let put = Op::Put {
        key: format!("{STORED}/{name}").into(),
        expect: Expect::Any,
        value: mxjob_store::Value::stamped(before.to_owned(), after.to_owned()),
    };
    server.api.store().commit(Transaction(vec![put])).await.unwrap();
}

fn going(mut definition: Value) -> Value {
    definition["metadata"]["uid"] = json!("0d0f6b8e-7d0e-4d3a-9b57-3c2f5a1c9e11");
    definition["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    definition["metadata"]["finalizers"] = json!(["customresourcecleanup.apiextensions.k8s.io"]);
    definition
}

fn like_a_role() -> Value {
    let mut body = definition();
    body["metadata"] = json!({
        "name": "clusterroles.rbac.authorization.k8s.io",
        "annotations": { "api-approved.kubernetes.io": "unapproved" },
    });
    body["spec"]["group"] = json!("rbac.authorization.k8s.io");
    body["spec"]["scope"] = json!("Cluster");
    body["spec"]["names"] = json!({
        "plural": "clusterroles", "kind": "OtherRole", "singular": "otherrole", "listKind": "OtherRoleList",
    });
    body["spec"]["conversion"] = json!({ "strategy": "None" });
    body
}

#[tokio::test]
async fn what_is_built_in_cannot_be_defined() {
    let server = Server::without_mxjobs().await;
    let (code, answer) = server.post(DEFINITIONS, &like_a_role()).await;
    assert_eq!(code, 422, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains(
            "spec.names.plural: Invalid value: \"clusterroles\": clusterroles of group rbac.authorization.k8s.io are built in"
        ),
        "{answer}"
    );
}

#[tokio::test]
async fn the_objects_of_what_is_built_in_do_not_go_with_a_definition_of_that_name() {
    let server = Server::without_mxjobs().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let count = async || server.get(roles).await.1["items"].as_array().unwrap().len();
    let before = count().await;
    store(&server, &going(like_a_role())).await;
    server.until(&path("clusterroles.rbac.authorization.k8s.io"), "gone", gone).await;
    assert!(before > 0);
    assert_eq!(count().await, before);
}

#[tokio::test]
async fn jobs_stay_where_they_are_built_in_when_their_definition_was_going() {
    let server = Server::start().await;
    server.make(JOBS, &job("old")).await;
    let name = "mxjobs.kubeflow.org";
    let (_, old) = server.get(&path(name)).await;
    store(&server, &going(old.clone())).await;
    let server = server.again(Extensions::default()).await;
    server.collect_garbage();
    let (_, new) = server.get(&path(name)).await;
    assert_eq!(new["metadata"]["deletionTimestamp"], Value::Null, "{new}");
    assert_eq!(new["metadata"]["finalizers"], Value::Null);
    assert_eq!(new["spec"], old["spec"]);
    server.make(JOBS, &job("new")).await;
    assert_eq!(server.get(&format!("{JOBS}/old")).await.0, 200);
}

/// Makes a pod group and a config map that it owns.
async fn owner_and_owned(server: &Server) {
    let owner = server.make(GROUPS, &group("owner", &json!({}))).await;
    let mut map = config_map("owned");
    map["metadata"]["ownerReferences"] = json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": "owner", "uid": owner["metadata"]["uid"],
    }]);
    server.make(MAPS, &map).await;
}

#[tokio::test]
async fn what_the_objects_own_goes_with_them() {
    let server = defined().await;
    owner_and_owned(&server).await;
    assert_eq!(server.delete(&path(NAME)).await.0, 200);
    server.until(&path(NAME), "gone", gone).await;
    server.until(&format!("{MAPS}/owned"), "collected", gone).await;
}

#[tokio::test]
async fn an_owner_that_does_not_exist_is_noticed_when_its_kind_is_defined() {
    let server = Server::without_mxjobs().await;
    let kind = definition()["spec"]["names"]["kind"].clone();
    let mut map = config_map("owned");
    map["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "scheduling.example.com/v1", "kind": kind, "name": "never", "uid": "never-existed",
    }]);
    server.make(MAPS, &map).await;
    server.make(DEFINITIONS, &definition()).await;
    server.until(&format!("{MAPS}/owned"), "collected", gone).await;
}

#[tokio::test]
async fn objects_of_no_served_version_go_too() {
    let server = defined().await;
    owner_and_owned(&server).await;
    let (_, mut now) = server.get(&path(NAME)).await;
    now["spec"]["versions"][0]["served"] = json!(false);
    assert_eq!(server.put(&path(NAME), &now).await.0, 200);
    assert_eq!(server.get(GROUPS).await.0, 404);
    assert_eq!(server.delete(&path(NAME)).await.0, 200);
    server.until(&path(NAME), "gone", gone).await;
    server.until(&format!("{MAPS}/owned"), "collected", gone).await;
    server.make(DEFINITIONS, &definition()).await;
    assert_eq!(server.get(GROUPS).await.1["items"], json!([]));
}

#[tokio::test]
async fn nothing_is_created_once_the_store_has_no_definition_or_one_that_goes() {
    let server = Server::start().await;
    let made = server.make(DEFINITIONS, &definition()).await;
    // The registry does not know yet: these come past the API.
    store(&server, &going(made)).await;
    let (code, answer) = server.post(GROUPS, &group("late", &json!({}))).await;
    assert_eq!(code, 405, "{answer}");
    let delete = Op::Delete { key: format!("{STORED}/{NAME}").into(), expect: Expect::Any };
    server.api.store().commit(Transaction(vec![delete])).await.unwrap();
    assert_eq!(server.post(GROUPS, &group("late", &json!({}))).await.0, 404);
}

#[tokio::test]
async fn what_is_stored_is_served_even_if_the_client_has_hung_up() {
    let server = Server::start().await;
    let body = definition();
    let before = server.api.store().revision();
    {
        let mut write = std::pin::pin!(server.call(Method::POST, DEFINITIONS, &body));
        while write.as_mut().now_or_never().is_none() && server.api.store().revision() == before {
            tokio::task::yield_now().await;
        }
    }
    server.until(GROUPS, "served", |code, _| code == 200).await;
}
