//! Long work of one request holds no thread of the runtime, of which these tests have one.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use serde_json::json;

use crate::server::{Answer, JSON, MERGE, Server, config_map};

const AUTH: (&str, &str) = ("authorization", "Bearer limited");
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DRY: &str = "dryRun=All";

/// The answer to a request while which others are answered.
async fn check(server: &Server, method: &str, path: &str, media_type: &str, body: &str) -> Answer {
    let headers = [AUTH, ("content-type", media_type)];
    let mut long = pin!(server.raw(method, path, &headers, body.as_bytes()));
    // The work would be done in this step if it were done on this thread, the only one.
    let is_elsewhere = poll_fn(|task| Poll::Ready(long.as_mut().poll(task).is_pending())).await;
    assert!(is_elsewhere, "{method} {path} {media_type}: no other request was answered meanwhile");
    let other = server.raw("GET", "/api/v1/namespaces/default", &[AUTH], b"").await;
    assert_eq!(other.code, 200);
    long.await
}

#[tokio::test]
async fn long_work_of_one_client_delays_no_other() {
    let server = Server::start().await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "limited"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}],
    });
    server.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await;
    let mut large = config_map("large");
    large["data"] = (0..20_000).map(|index| (format!("key-{index}"), json!("value"))).collect();
    server.make(MAPS, &large).await;
    let (item, dry) = (format!("{MAPS}/large"), format!("{MAPS}?{DRY}"));
    let patched = format!("{item}?{DRY}");
    large["metadata"]["name"] = "other".into();
    let text = large.to_string();
    for (method, path, media_type, body, code) in [
        ("POST", dry.as_str(), JSON, text.as_str(), 201),
        ("POST", &dry, "application/yaml", &text, 201),
        ("PATCH", &patched, MERGE, r#"{"data":{"a":"b"}}"#, 200),
        ("GET", &item, "", "", 200),
        ("GET", MAPS, "", "", 200),
        ("DELETE", &dry, "", "", 200),
        ("GET", "/openapi/v2", "", "", 200),
        ("GET", "/apis", "", "", 200),
    ] {
        let answer = check(&server, method, path, media_type, body).await;
        assert_eq!(answer.code, code, "{method} {path} {media_type}");
    }
}
