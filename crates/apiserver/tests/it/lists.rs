//! Lists: pages of one snapshot, selectors, revisions.

use serde_json::{Value, json};

use crate::server::{JOBS, Server, config_map, job};

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_show_one_snapshot_whatever_is_written_between_them() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.make(JOBS, &job(name)).await;
    }
    let (_, first) = server.get(&format!("{JOBS}?limit=2")).await;
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a", "b"], &json!(3))
    );
    server.make(JOBS, &job("bb")).await;
    server.delete(&format!("{JOBS}/d")).await;
    let mut token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let mut seen = vec![];
    while !token.is_empty() {
        let (code, page) = server.get(&format!("{JOBS}?limit=2&continue={token}")).await;
        assert_eq!(code, 200, "{page:#}");
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        page["metadata"]["continue"].as_str().unwrap().clone_into(&mut token);
    }
    assert_eq!(seen, ["c", "d", "e"]);
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields_and_page_like_any_list() {
    let server = Server::start().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "z")] {
        let mut body = job(name);
        body["metadata"]["labels"] = json!({"app": app});
        server.make(JOBS, &body).await;
    }
    let check = async |query: &str, want: &[&str]| {
        let (code, list) = server.get(&format!("{JOBS}?{query}")).await;
        assert_eq!(code, 200, "{query} {list:#}");
        assert_eq!(names(&list), want, "{query}");
    };
    check("labelSelector=app%3Dx", &["a", "c"]).await;
    check("labelSelector=app%20notin%20(x,y)", &["d"]).await;
    check("labelSelector=!app", &[]).await;
    check("labelSelector=app%3Dx&limit=1", &["a"]).await;
    check("fieldSelector=metadata.name%3Db", &["b"]).await;
    check("fieldSelector=metadata.name!%3Db,metadata.namespace%3Ddefault", &["a", "c", "d"]).await;
    assert_eq!(server.get(&format!("{JOBS}?fieldSelector=status.phase%3Dx")).await.0, 400);
    assert_eq!(server.get(&format!("{JOBS}?labelSelector=app%20in%20(")).await.0, 400);
}

#[tokio::test]
async fn lists_at_a_revision_show_the_past_and_refuse_the_future() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let then = server.make(maps, &config_map("a")).await["metadata"]["resourceVersion"].clone();
    server.make(maps, &config_map("b")).await;
    let then = then.as_str().unwrap();
    let (_, exact) =
        server.get(&format!("{maps}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&exact), ["a"]);
    let (_, later) = server.get(&format!("{maps}?resourceVersion={then}")).await;
    assert_eq!(names(&later), ["a", "b"]);
    assert_eq!(server.get(&format!("{maps}?resourceVersion=99999999")).await.0, 504);
    server.api.store().compact(server.api.store().revision());
    server.make(maps, &config_map("c")).await;
    let (code, gone) =
        server.get(&format!("{maps}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!((code, &gone["reason"]), (410, &json!("Expired")));
}
