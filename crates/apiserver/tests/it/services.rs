//! Endpoints of services, the server's own service, and the keys of tokens.

use mxjob_manager::endpoints;
use serde_json::{Value, json};

use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn run_pod(server: &Server, name: &str, ip: &str, ready: &str) {
    let pod = json!({
        "metadata": { "name": name, "labels": { "app": "a" } },
        "spec": { "containers": [{ "name": "c", "image": "i", "ports": [{ "name": "http", "containerPort": 8080 }] }] },
    });
    server.make(PODS, &pod).await;
    set_status(server, name, ip, ready).await;
}

async fn set_status(server: &Server, name: &str, ip: &str, ready: &str) {
    let status = json!({ "status": {
        "phase": "Running", "podIP": ip, "conditions": [{ "type": "Ready", "status": ready }],
    } });
    let (code, answer) = server.patch(&format!("{PODS}/{name}/status"), &status).await;
    assert_eq!(code, 200, "{answer:#}");
}

#[tokio::test]
async fn endpoints_and_slices_follow_the_pods_of_a_service() {
    let server = Server::start().await;
    tokio::spawn(endpoints::run(server.client(endpoints::ACCOUNT), std::future::pending()));
    let service = json!({
        "metadata": { "name": "s" },
        "spec": { "selector": { "app": "a" }, "ports": [{ "port": 80, "targetPort": "http" }] },
    });
    server.make(SERVICES, &service).await;
    run_pod(&server, "p", "127.0.0.2", "True").await;
    run_pod(&server, "q", "127.0.0.3", "False").await;
    let path = format!("{ENDPOINTS}/s");
    let endpoints = server
        .until(&path, "complete", |code, it| {
            code == 200
                && !it["subsets"][0]["notReadyAddresses"].is_null()
                && !it["subsets"][0]["addresses"].is_null()
        })
        .await;
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "127.0.0.2");
    assert_eq!(endpoints["subsets"][0]["notReadyAddresses"][0]["targetRef"]["name"], "q");
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 8080);
    let slice = format!("{SLICES}/s-0");
    let found = server
        .until(&slice, "complete", |_, it| {
            it["endpoints"].as_array().is_some_and(|all| all.len() == 2)
        })
        .await;
    assert_eq!(found["metadata"]["labels"]["kubernetes.io/service-name"], "s");
    assert_eq!(found["endpoints"][1]["conditions"]["ready"], false);
    set_status(&server, "q", "127.0.0.3", "True").await;
    let ready = |_, it: &Value| it["endpoints"][1]["conditions"]["ready"] == true;
    server.until(&slice, "ready", ready).await;
    server.delete(&format!("{SERVICES}/s")).await;
    server.until(&path, "deleted", |code, _| code == 404).await;
    server.until(&slice, "deleted", |code, _| code == 404).await;
}

#[tokio::test]
async fn the_servers_own_service_comes_back() {
    let server = Server::start().await;
    let address = "0.0.0.0:6443".parse().unwrap();
    tokio::spawn(server.api.clone().publish(address, std::future::pending()));
    for collection in [SERVICES, ENDPOINTS, SLICES] {
        let path = format!("{collection}/kubernetes");
        let object = server.until(&path, "created", |code, _| code == 200).await;
        let uid = object["metadata"]["uid"].clone();
        server.delete(&path).await;
        let is_new = |code, it: &Value| code == 200 && it["metadata"]["uid"] != uid;
        server.until(&path, "recreated", is_new).await;
    }
    let path = format!("{ENDPOINTS}/kubernetes");
    let (_, endpoints) = server.get(&path).await;
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "127.0.0.1");
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 6443);
    server.patch(&path, &json!({ "subsets": [] })).await;
    server.until(&path, "repaired", |_, it| it["subsets"][0]["ports"][0]["port"] == 6443).await;
}

#[tokio::test]
async fn service_accounts_find_the_keys_of_tokens() {
    let server = Server::start().await;
    let account = mxjob_access::identity::Identity::service_account("default", "a", "");
    let api = server.api.connector(account, "test");
    for path in ["/.well-known/openid-configuration", "/openid/v1/jwks"] {
        assert_eq!(server.raw("GET", path, &[], b"").await.code, 401, "{path}");
        let limited = [("authorization", "Bearer limited")];
        assert_eq!(server.raw("GET", path, &limited, b"").await.code, 403, "{path}");
        let (status, _) = api.send(http::Method::GET, path, "application/json", None).await;
        assert_eq!(status, 200, "{path}");
    }
    let good = [("authorization", "Bearer good")];
    let keys = server.raw("GET", "/openid/v1/jwks", &good, b"").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.headers["cache-control"], "public, max-age=3600");
    assert_eq!(keys.json()["keys"][0]["alg"], "ES256");
    let configuration = server.raw("GET", "/.well-known/openid-configuration", &good, b"").await;
    assert_eq!(
        configuration.json()["jwks_uri"],
        "https://kubernetes.default.svc.cluster.local/openid/v1/jwks"
    );
}
