//! Watches: from a list on, in order, with selection, to a clean end.

use serde_json::json;

use crate::server::{JOBS, Server, job};

#[tokio::test]
async fn a_watch_goes_on_where_the_list_ended() {
    let server = Server::start().await;
    server.make(JOBS, &job("old")).await;
    let (_, list) = server.get(JOBS).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    server.make(JOBS, &job("a")).await;
    let mut watch = server.watch(&format!("{JOBS}?watch=1&resourceVersion={version}")).await;
    assert_eq!(watch.line().await, "ADDED a");
    server.patch(&format!("{JOBS}/a"), &json!({"metadata": {"labels": {"x": "1"}}})).await;
    assert_eq!(watch.line().await, "MODIFIED a");
    server.delete(&format!("{JOBS}/a")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(
        (event["type"].as_str(), &event["object"]["metadata"]["labels"]["x"]),
        (Some("DELETED"), &json!("1"))
    );
    // The deletion is a version of its own, so that a client can go on from it.
    let deleted: u64 =
        event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert_eq!(deleted, server.api.store().revision().get());
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let mut watch = server.watch(&format!("{JOBS}?watch=true")).await;
    assert_eq!(watch.line().await, "ADDED a");
    server.make(JOBS, &job("b")).await;
    assert_eq!(watch.line().await, "ADDED b");
}

#[tokio::test]
async fn a_streaming_list_marks_the_end_of_the_initial_events() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let query =
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut watch = server.watch(&format!("{JOBS}?{query}")).await;
    assert_eq!(watch.line().await, "ADDED a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let mut watch = server.watch(&format!("{JOBS}?watch=1&labelSelector=x%3D1")).await;
    for (value, want) in [("1", "ADDED a"), ("1", "MODIFIED a"), ("2", "DELETED a")] {
        let body = json!({"metadata": {"labels": {"x": value}, "annotations": {"was": want}}});
        server.patch(&format!("{JOBS}/a"), &body).await;
        assert_eq!(watch.line().await, want);
    }
}

#[tokio::test]
async fn a_watch_from_a_compacted_version_says_so_and_ends() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    server.make(JOBS, &job("b")).await;
    server.api.store().compact(server.api.store().revision());
    server.make(JOBS, &job("c")).await;
    let mut watch = server.watch(&format!("{JOBS}?watch=1&resourceVersion=1")).await;
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn watches_end_cleanly_at_their_timeout_and_when_the_server_closes() {
    let server = Server::start().await;
    let mut watch = server.watch(&format!("{JOBS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(watch.next().await, None);
    let mut watch = server.watch(&format!("{JOBS}?watch=1")).await;
    server.api.close_streams();
    assert_eq!(watch.next().await, None);
}
