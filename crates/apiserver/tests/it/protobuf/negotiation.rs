//! Which responses are in protobuf.

use mxjob_protobuf::MEDIA_TYPE;
use serde_json::{Value, json};

use super::{AUTH, field, fields, names, object, opened, send};
use crate::server::{Answer, JOBS, Server, config_map, job};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn partial(of: &str, version: &str) -> String {
    format!("{MEDIA_TYPE};as={of};g=meta.k8s.io;v={version}")
}

async fn get(server: &Server, path: &str, accept: &str) -> Answer {
    server.raw("GET", path, &[AUTH, ("accept", accept)], b"").await
}

#[tokio::test]
async fn custom_resources_are_not_acceptable_in_protobuf_but_their_metadata_is() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    for path in [JOBS, &format!("{JOBS}/a"), &format!("{JOBS}?watch=1&timeoutSeconds=1")] {
        let answer = get(&server, path, MEDIA_TYPE).await;
        let status = object(&answer);
        assert_eq!((answer.code, &status["reason"]), (406, &json!("NotAcceptable")), "{path}");
        let fallback = format!("{MEDIA_TYPE}, application/json");
        let answer = get(&server, path, &fallback).await;
        assert_eq!(
            (answer.code, &answer.headers["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
    }
    let answer = get(&server, &format!("{JOBS}/a"), &partial("PartialObjectMetadata", "v1")).await;
    assert_eq!(answer.headers["content-type"], MEDIA_TYPE);
    let (kind, content) = opened(&answer.bytes);
    assert_eq!(kind, "meta.k8s.io/v1 PartialObjectMetadata");
    assert_eq!(fields(&content).len(), 1, "metadata alone");
    assert_eq!(field(&field(&content, 1), 1), b"a");
    let list = get(&server, JOBS, &partial("PartialObjectMetadataList", "v1")).await;
    let (kind, content) = opened(&list.bytes);
    assert_eq!(
        (kind.as_str(), names(&content)),
        ("meta.k8s.io/v1 PartialObjectMetadataList", vec!["a".to_owned()])
    );
    // A client of metadata lists all three forms; errors come without a transformation.
    let accept = format!(
        "{}, application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json",
        partial("PartialObjectMetadata", "v1")
    );
    let missing = get(&server, &format!("{JOBS}/b"), &accept).await;
    assert_eq!((missing.code, &missing.json()["reason"]), (404, &json!("NotFound")));
}

#[tokio::test]
async fn lists_of_built_in_kinds_carry_their_metadata() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.make(MAPS, &config_map(name)).await;
    }
    let list = get(&server, &format!("{MAPS}?limit=2"), MEDIA_TYPE).await;
    let (kind, content) = opened(&list.bytes);
    assert_eq!(
        (kind.as_str(), names(&content)),
        ("v1 ConfigMapList", vec!["a".to_owned(), "b".to_owned()])
    );
    let meta = field(&content, 1);
    let token = String::from_utf8(field(&meta, 3)).unwrap();
    assert_eq!(field(&meta, 4), b"1", "one remains");
    let rest = get(&server, &format!("{MAPS}?limit=2&continue={token}"), MEDIA_TYPE).await;
    assert_eq!(names(&opened(&rest.bytes).1), ["c"]);
    // Tables have no protobuf form.
    let table = format!("{MEDIA_TYPE};as=Table;g=meta.k8s.io;v=v1");
    assert_eq!(get(&server, MAPS, &table).await.code, 406);
    let answer = get(&server, MAPS, &format!("{table}, application/json")).await;
    assert_eq!(answer.json()["kind"], "ConfigMapList");
}

#[tokio::test]
async fn every_built_in_kind_has_a_protobuf_form() {
    let server = Server::start().await;
    for kind in mxjob_apiserver::registry::built_in() {
        if !kind.verbs.contains(&"list") {
            assert!(mxjob_protobuf::is_known(&kind.api_version(), &kind.kind), "{}", kind.kind);
            continue;
        }
        let answer = get(&server, &kind.collection_path(None), MEDIA_TYPE).await;
        let custom = kind.kind == "MXJob" || kind.is_measured;
        assert_eq!(answer.code, if custom { 406 } else { 200 }, "{} {}", kind.kind, answer.text);
        let expected = format!("{} {}", kind.api_version(), kind.list_kind());
        assert_eq!(opened(&answer.bytes).0, if custom { "v1 Status" } else { &expected });
    }
}

#[tokio::test]
async fn discovery_is_in_protobuf_too() {
    let server = Server::start().await;
    // As in JSON, the two documents of the core group have no version.
    for (path, kind) in [
        ("/api", " APIVersions"),
        ("/apis", "v1 APIGroupList"),
        ("/apis/apps", "v1 APIGroup"),
        ("/api/v1", " APIResourceList"),
        ("/apis/apps/v1", "v1 APIResourceList"),
    ] {
        let answer = get(&server, path, MEDIA_TYPE).await;
        assert_eq!((answer.code, opened(&answer.bytes).0.as_str()), (200, kind), "{path}");
    }
    // These documents exist in JSON only, whatever a client prefers.
    let both = format!("{MEDIA_TYPE}, application/json");
    let aggregated = format!(
        "{MEDIA_TYPE}, application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2"
    );
    for (path, accept) in
        [("/version", MEDIA_TYPE), ("/openapi/v3", &*both), ("/apis", &*aggregated)]
    {
        let answer = get(&server, path, accept).await;
        assert_eq!(answer.code, 200, "{path} {}", answer.text);
        assert!(answer.json().is_object(), "{path} {}", answer.text);
    }
    let resources = get(&server, "/api/v1", MEDIA_TYPE).await;
    let (_, content) = opened(&resources.bytes);
    assert_eq!(field(&content, 1), b"v1");
    let pods =
        fields(&content).into_iter().find(|(_, resource)| resource.starts_with(b"\x0a\x04pods"));
    let verbs = fields(&field(&pods.unwrap().1, 4));
    assert!(verbs.contains(&(1, b"watch".to_vec())));
}

#[tokio::test]
async fn errors_before_a_verb_are_in_the_requested_form() {
    let server = Server::start().await;
    let headers = [("authorization", "Bearer nobody"), ("accept", MEDIA_TYPE)];
    let answer = server.raw("GET", MAPS, &headers, b"").await;
    assert_eq!((answer.code, &object(&answer)["reason"]), (401, &json!("Unauthorized")));
    let answer = send(&server, "GET", &format!("{MAPS}/none"), &Value::Null).await;
    let status = object(&answer);
    assert_eq!(status["details"], json!({"name": "none", "kind": "configmaps"}));
}
