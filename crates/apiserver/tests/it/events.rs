//! Events in both groups: the same stored objects under other names of fields.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::server::{Clock, Server, config_map};

const CORE: &str = "/api/v1/namespaces/default/events";
const GROUPED: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn core(name: &str) -> Value {
    json!({
        "metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started", "message": "it runs", "type": "Normal", "count": 2,
        "source": {"component": "agent"}, "firstTimestamp": "2026-11-24T08:00:00Z", "lastTimestamp": "2026-11-24T08:00:01Z",
    })
}

fn grouped(name: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name},
        "eventTime": "2026-11-24T08:00:00.000000Z", "regarding": {"kind": "MXJob", "name": "j", "namespace": "default"},
        "reason": "Created", "note": "a note", "type": "Normal", "action": "Create",
        "reportingController": "example.com/c", "reportingInstance": "c-1",
    })
}

#[tokio::test]
async fn each_group_reads_what_the_other_wrote() {
    let server = Server::start().await;
    server.make(CORE, &core("a")).await;
    let made = server.make(GROUPED, &grouped("b")).await;
    assert_eq!(
        (&made["note"], &made["apiVersion"]),
        (&json!("a note"), &json!("events.k8s.io/v1")),
        "{made:#}"
    );
    let (_, a) = server.get(&format!("{GROUPED}/a")).await;
    assert_eq!(
        (&a["note"], &a["regarding"]["name"], &a["deprecatedCount"]),
        (&json!("it runs"), &json!("p"), &json!(2))
    );
    assert_eq!(
        (&a["apiVersion"], &a["deprecatedSource"]["component"]),
        (&json!("events.k8s.io/v1"), &json!("agent"))
    );
    assert!(a.get("message").is_none() && a.get("involvedObject").is_none());
    let (_, b) = server.get(&format!("{CORE}/b")).await;
    assert_eq!(
        (&b["message"], &b["involvedObject"]["kind"]),
        (&json!("a note"), &json!("MXJob")),
        "{b:#}"
    );
    assert_eq!(
        (&b["reportingComponent"], &b["apiVersion"]),
        (&json!("example.com/c"), &json!("v1"))
    );
    let (_, list) = server.get(GROUPED).await;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("EventList"), &json!("events.k8s.io/v1"))
    );
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    assert!(
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["apiVersion"] == "events.k8s.io/v1")
    );
}

/// As Go's encoder writes them; the other group leaves out empty texts.
#[tokio::test]
async fn an_event_has_the_fields_that_clients_find_in_every_event() {
    let server = Server::start().await;
    let body = json!({ "metadata": { "name": "a" }, "involvedObject": { "namespace": "default" } });
    let made = server.make(CORE, &body).await;
    let others = ["metadata", "apiVersion", "kind"];
    let fields = |event: &Value| {
        let mut event = event.as_object().unwrap().clone();
        event.retain(|name, _| !others.contains(&name.as_str()));
        Value::from(event)
    };
    assert_eq!(
        fields(&made),
        json!({
            "involvedObject": { "namespace": "default" }, "source": {}, "eventTime": null,
            "firstTimestamp": null, "lastTimestamp": null, "reportingComponent": "", "reportingInstance": "",
        })
    );
    let (_, shown) = server.get(&format!("{GROUPED}/a")).await;
    assert_eq!(
        fields(&shown),
        json!({
            "regarding": { "namespace": "default" }, "deprecatedSource": {}, "eventTime": null,
            "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null,
        })
    );
}

#[tokio::test]
async fn selection_and_changes_speak_the_groups_language() {
    let server = Server::start().await;
    server.make(CORE, &core("a")).await;
    server.make(GROUPED, &grouped("b")).await;
    let count = async |path: &str| server.get(path).await.1["items"].as_array().map(Vec::len);
    assert_eq!(count(&format!("{GROUPED}?fieldSelector=regarding.kind%3DMXJob")).await, Some(1));
    assert_eq!(count(&format!("{GROUPED}?fieldSelector=reason%3DStarted")).await, Some(1));
    assert_eq!(count(&format!("{CORE}?fieldSelector=involvedObject.kind%3DMXJob")).await, Some(1));
    assert_eq!(
        server.get(&format!("{GROUPED}?fieldSelector=involvedObject.kind%3DMXJob")).await.0,
        400
    );
    let mut watch =
        server.watch(&format!("{GROUPED}?watch=1&fieldSelector=regarding.name%3Dj")).await;
    assert_eq!(watch.line().await, "ADDED b");
    let series = json!({"series": {"count": 3, "lastObservedTime": "2026-11-24T08:01:00.000000Z"}, "note": "again"});
    let (code, patched) = server.patch(&format!("{GROUPED}/b"), &series).await;
    assert_eq!(
        (code, &patched["note"], &patched["series"]["count"]),
        (200, &json!("again"), &json!(3)),
        "{patched:#}"
    );
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["note"]), (&json!("MODIFIED"), &json!("again")));
    assert_eq!(event["object"]["apiVersion"], "events.k8s.io/v1");
    let (_, mut whole) = server.get(&format!("{GROUPED}/b")).await;
    whole["note"] = "replaced".into();
    assert_eq!(server.put(&format!("{GROUPED}/b"), &whole).await.0, 200);
    assert_eq!(server.get(&format!("{CORE}/b")).await.1["message"], "replaced");
    assert_eq!(server.delete(&format!("{GROUPED}/b")).await.0, 200);
    assert_eq!(watch.line().await, "MODIFIED b");
    assert_eq!(watch.line().await, "DELETED b");
    assert_eq!(server.get(&format!("{CORE}/b")).await.0, 404);
}

#[tokio::test]
async fn errors_name_the_group_that_was_asked() {
    let server = Server::start().await;
    let (code, answer) = server.get(&format!("{GROUPED}/nope")).await;
    assert_eq!(
        (code, &answer["message"]),
        (404, &json!("events.events.k8s.io \"nope\" not found"))
    );
    assert_eq!(answer["details"]["group"], "events.k8s.io");
    server.make(GROUPED, &grouped("b")).await;
    let (code, answer) = server.post(GROUPED, &grouped("b")).await;
    assert_eq!(
        (code, &answer["message"]),
        (409, &json!("events.events.k8s.io \"b\" already exists"))
    );
    assert_eq!(server.get(&format!("{CORE}/nope")).await.1["message"], "events \"nope\" not found");
}

#[tokio::test]
async fn tables_show_the_same_in_both_groups() {
    let server = Server::start().await;
    server.make(CORE, &core("a")).await;
    server.make(GROUPED, &grouped("b")).await;
    let rows = async |path: &str| {
        let headers = [
            ("authorization", "Bearer good"),
            ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ];
        let table = server.raw("GET", path, &headers, b"").await.json();
        let rows = table["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["cells"].as_array().unwrap()[1..7].to_vec());
        rows.collect::<Vec<_>>()
    };
    let shown = rows(CORE).await;
    assert_eq!(shown, rows(GROUPED).await);
    assert_eq!(shown[0], ["Normal", "Started", "pod/p", "", "agent", "it runs"]);
}

#[tokio::test]
async fn an_event_is_deleted_an_hour_after_its_last_write_and_nothing_else_is() {
    const HOUR: i64 = 3_600;
    let clock = Clock::new();
    let server = Server::start_in(Arc::<Clock>::clone(&clock)).await;
    server.make("/api/v1/namespaces/default/configmaps", &config_map("kept")).await;
    server.make(CORE, &core("first")).await;
    server.make(GROUPED, &grouped("second")).await;
    let mut watch = server.watch(&format!("{CORE}?watch=true")).await;
    assert_eq!(watch.line().await, "ADDED first");
    assert_eq!(watch.line().await, "ADDED second");
    clock.0.fetch_add(HOUR - 1, Ordering::Relaxed);
    server.patch(&format!("{CORE}/second"), &json!({"count": 3})).await;
    assert_eq!(watch.line().await, "MODIFIED second");
    assert_eq!(server.get(&format!("{CORE}/first")).await.0, 200);

    clock.0.fetch_add(1, Ordering::Relaxed);
    server.api.store().expire();
    let deleted = watch.next().await.unwrap();
    assert_eq!(
        (&deleted["type"], &deleted["object"]["message"]),
        (&json!("DELETED"), &json!("it runs"))
    );
    assert_eq!(server.get(&format!("{GROUPED}/first")).await.0, 404);
    assert_eq!(server.get(&format!("{CORE}/second")).await.0, 200);
    clock.0.fetch_add(10 * HOUR, Ordering::Relaxed);
    server.api.store().expire();
    assert_eq!(watch.line().await, "DELETED second");
    assert_eq!(server.get("/api/v1/namespaces/default/configmaps/kept").await.0, 200);
}
