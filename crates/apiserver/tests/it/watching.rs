//! Watches in full: streaming lists, bookmarks, the deprecated paths, other forms of objects.

use http::Method;
use serde_json::{Value, json};

use crate::server::{JOBS, MERGE, Server, config_map, job};

const STREAMING: &str =
    "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

/// What a watch of two seconds says, line by line.
async fn lines(server: &Server, path: &str, accept: &str) -> Vec<Value> {
    let headers = [("authorization", "Bearer good"), ("accept", accept)];
    let answer = server.raw("GET", path, &headers, b"").await;
    assert_eq!(answer.code, 200, "{path} {}", answer.text);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn streaming_lists_mark_their_end_however_the_version_is_given() {
    let server = Server::start().await;
    let made = server.make(JOBS, &job("a")).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    for asked in
        ["", "&resourceVersion=", "&resourceVersion=0", &format!("&resourceVersion={version}")]
    {
        let mut watch = server.watch(&format!("{JOBS}?{STREAMING}{asked}")).await;
        assert_eq!(watch.line().await, "ADDED a", "{asked}");
        let end = watch.next().await.unwrap();
        assert_eq!(end["type"], "BOOKMARK", "{asked}");
        assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(
            (&end["object"]["kind"], &end["object"]["apiVersion"]),
            (&json!("MXJob"), &json!("kubeflow.org/v1"))
        );
    }
}

#[tokio::test]
async fn a_streaming_list_of_a_version_to_come_ends_when_it_has_come() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let ahead = server.api.store().revision().get() + 2;
    let mut watch = server.watch(&format!("{JOBS}?{STREAMING}&resourceVersion={ahead}")).await;
    assert_eq!(watch.line().await, "ADDED a");
    server.make(JOBS, &job("b")).await;
    assert_eq!(watch.line().await, "ADDED b");
    // The last step is another kind's.
    server.make("/api/v1/namespaces/default/configmaps", &config_map("c")).await;
    let end = watch.next().await.unwrap();
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true",
        "{end}"
    );
    assert_eq!(end["object"]["metadata"]["resourceVersion"], ahead.to_string());
}

#[tokio::test]
async fn without_initial_events_a_watch_begins_with_what_comes() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    for version in ["", "&resourceVersion=0"] {
        let query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        let mut watch = server.watch(&format!("{JOBS}?{query}{version}")).await;
        let name = format!("b{}", version.len());
        server.make(JOBS, &job(&name)).await;
        assert_eq!(watch.line().await, format!("ADDED {name}"));
    }
}

#[tokio::test]
async fn initial_events_without_bookmarks_have_no_marked_end() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    assert_eq!(
        kinds(&lines(&server, &format!("{JOBS}?{query}"), "application/json").await),
        ["ADDED"]
    );
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused_by_name() {
    let server = Server::start().await;
    let check = async |query: &str, want: &str| {
        let (code, answer) = server.get(&format!("{JOBS}?{query}")).await;
        assert_eq!(code, 422, "{query} {answer:#}");
        assert_eq!(
            answer["message"],
            format!("ListOptions.meta.k8s.io \"\" is invalid: {want}"),
            "{query}"
        );
    };
    let needs = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    check("watch=1&sendInitialEvents=true", needs).await;
    check("watch=1&sendInitialEvents=false", needs).await;
    let supported =
        "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
    check(
        "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1",
        &format!("[{needs}, {supported}]"),
    )
    .await;
    let continued = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided";
    check("resourceVersion=1&resourceVersionMatch=NotOlderThan&continue=x", continued).await;
}

#[tokio::test]
async fn a_watch_gets_a_bookmark_shortly_before_its_end_if_anything_has_happened() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let version = server.api.store().revision();
    let path = format!(
        "{JOBS}?watch=1&resourceVersion={version}&timeoutSeconds=3&fieldSelector=metadata.name%3Da"
    );
    let marked = format!("{path}&allowWatchBookmarks=true");
    // Something that the watch does not select.
    let (idle, _) =
        (lines(&server, &marked, "application/json").await, server.make(JOBS, &job("b")).await);
    assert_eq!(kinds(&idle), Vec::<&str>::new());
    let (marked, unmarked) = tokio::join!(
        lines(&server, &marked, "application/json"),
        lines(&server, &path, "application/json")
    );
    assert_eq!((kinds(&marked), kinds(&unmarked)), (vec!["BOOKMARK"], vec![]));
    let version = server.api.store().revision().to_string();
    assert_eq!(
        marked[0]["object"]["metadata"],
        json!({"creationTimestamp": null, "resourceVersion": version})
    );
}

#[tokio::test]
async fn the_deprecated_paths_watch_collections_and_single_objects() {
    let server = Server::start().await;
    for name in ["a", "ab", "b"] {
        server.make(JOBS, &job(name)).await;
    }
    let of = async |path: &str| {
        let events =
            lines(&server, &format!("/apis/kubeflow.org/v1/watch/{path}?timeoutSeconds=1"), "*/*")
                .await;
        let names = events
            .iter()
            .map(|event| event["object"]["metadata"]["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(of("mxjobs").await, ["a", "ab", "b"]);
    assert_eq!(of("namespaces/default/mxjobs").await, ["a", "ab", "b"]);
    assert_eq!(of("namespaces/default/mxjobs/a").await, ["a"]);
    assert_eq!(of("namespaces/default/mxjobs/nope").await, Vec::<String>::new());
    let mut watch = server.watch("/apis/kubeflow.org/v1/watch/namespaces/default/mxjobs/a").await;
    assert_eq!(watch.line().await, "ADDED a");
    for name in ["ab", "a"] {
        server.patch(&format!("{JOBS}/{name}"), &json!({"metadata": {"labels": {"x": "1"}}})).await;
    }
    assert_eq!(watch.line().await, "MODIFIED a");
}

#[tokio::test]
async fn a_single_object_is_followed_by_a_field_selector_through_its_whole_life() {
    let server = Server::start().await;
    server.make(JOBS, &job("ab")).await;
    for path in [JOBS, "/apis/kubeflow.org/v1/mxjobs"] {
        let mut watch =
            server.watch(&format!("{path}?watch=1&fieldSelector=metadata.name%3Da")).await;
        server.make(JOBS, &job("a")).await;
        assert_eq!(watch.line().await, "ADDED a");
        server.delete(&format!("{JOBS}/a")).await;
        assert_eq!(watch.line().await, "DELETED a");
    }
}

#[tokio::test]
async fn tables_in_a_watch_define_their_columns_once() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    server.make(JOBS, &job("b")).await;
    let events = lines(&server, &format!("{JOBS}?{STREAMING}&timeoutSeconds=1"), TABLE).await;
    assert_eq!(kinds(&events), ["ADDED", "ADDED", "BOOKMARK"]);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["object"]["kind"], "Table");
        let defined = event["object"]["columnDefinitions"]
            .as_array()
            .is_some_and(|columns| !columns.is_empty());
        assert_eq!(defined, index == 0, "{event:#}");
    }
    let end = &events[2]["object"]["rows"][0]["object"]["metadata"];
    assert_eq!(end["annotations"]["k8s.io/initial-events-end"], "true", "{:#}", events[2]);
}

#[tokio::test]
async fn metadata_watches_carry_metadata_in_bookmarks_too() {
    let server = Server::start().await;
    server.make(JOBS, &job("a")).await;
    let events = lines(&server, &format!("{JOBS}?{STREAMING}&timeoutSeconds=1"), PARTIAL).await;
    assert_eq!(kinds(&events), ["ADDED", "BOOKMARK"]);
    assert!(
        events.iter().all(|event| event["object"]["kind"] == "PartialObjectMetadata"),
        "{events:#?}"
    );
    assert!(events.iter().all(|event| event["object"].get("spec").is_none()), "{events:#?}");
}

#[tokio::test]
async fn a_list_whose_snapshot_is_gone_can_be_continued_with_what_there_is_now() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d"] {
        server.make(JOBS, &job(name)).await;
    }
    let (_, first) = server.get(&format!("{JOBS}?limit=2")).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    for index in 0..5 {
        let body = json!({"metadata": {"annotations": {"i": index.to_string()}}});
        let (status, _) =
            server.admin.send(Method::PATCH, &format!("{JOBS}/a"), MERGE, Some(&body)).await;
        assert!(status.is_success());
    }
    server.make(JOBS, &job("bb")).await;
    server.api.store().compact(server.api.store().revision());
    server.make(JOBS, &job("e")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (code, gone) = server.get(&format!("{JOBS}?limit=2&continue={token}")).await;
    assert_eq!((code, &gone["reason"]), (410, &json!("Expired")), "{gone:#}");
    assert!(gone["message"].as_str().unwrap().starts_with(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response"
    ));
    let fresh = gone["metadata"]["continue"].as_str().unwrap();
    let (code, rest) = server.get(&format!("{JOBS}?limit=2&continue={fresh}")).await;
    assert_eq!(code, 200, "{rest:#}");
    assert_eq!(
        (&rest["items"][0]["metadata"]["name"], &rest["items"][1]["metadata"]["name"]),
        (&json!("bb"), &json!("c"))
    );
    let now = server.api.store().revision().to_string();
    assert_eq!(rest["metadata"]["resourceVersion"], now);
    let too_old = "The resourceVersion for the provided list is too old.";
    for query in ["resourceVersionMatch=Exact&", "limit=2&"] {
        let (code, gone) = server.get(&format!("{JOBS}?{query}resourceVersion={version}")).await;
        assert_eq!((code, &gone["message"]), (410, &json!(too_old)), "{query}");
    }
    let (code, list) = server
        .get(&format!("{JOBS}?resourceVersionMatch=NotOlderThan&limit=2&resourceVersion={version}"))
        .await;
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(2)));
}
