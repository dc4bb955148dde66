//! Watches in frames.

use mxjob_protobuf::{MEDIA_TYPE, decode};
use serde_json::{Value, json};

use super::{AUTH, LIMIT, field, opened};
use crate::server::{JOBS, Server, config_map, job};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Type and enveloped object of each event of a watch of one second.
async fn events(server: &Server, path: &str, accept: &str) -> Vec<(String, Vec<u8>)> {
    let answer = server.raw("GET", path, &[AUTH, ("accept", accept)], b"").await;
    assert_eq!(answer.code, 200, "{path} {}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let (mut rest, mut events) = (&answer.bytes[..], Vec::new());
    while let Some((length, content)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let (event, after) = content.split_at(length);
        rest = after;
        let kind = String::from_utf8(field(event, 1)).unwrap();
        events.push((kind, field(&field(event, 2), 1)));
    }
    assert!(rest.is_empty());
    events
}

fn read(object: &[u8]) -> Value {
    decode(object, ("", ""), LIMIT).unwrap()
}

#[tokio::test]
async fn events_come_in_frames_with_enveloped_objects() {
    let server = Server::start().await;
    server.make(MAPS, &config_map("a")).await;
    let query = "watch=1&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let all = events(&server, &format!("{MAPS}?{query}"), MEDIA_TYPE).await;
    let kinds: Vec<&str> = all.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds[..2], ["ADDED", "BOOKMARK"]);
    let added = read(&all[0].1);
    assert_eq!((&added["kind"], &added["metadata"]["name"]), (&json!("ConfigMap"), &json!("a")));
    let end = read(&all[1].1);
    assert_eq!(end["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(end["kind"], "ConfigMap");
}

#[tokio::test]
async fn metadata_of_custom_resources_is_watched_in_protobuf() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let accept = format!("{MEDIA_TYPE};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let all = events(&server, &format!("{JOBS}?watch=1&timeoutSeconds=1"), &accept).await;
    let (kind, content) = opened(&all[0].1);
    assert_eq!(
        (all[0].0.as_str(), kind.as_str()),
        ("ADDED", "meta.k8s.io/v1 PartialObjectMetadata")
    );
    assert_eq!(field(&field(&content, 1), 1), b"a");
}
