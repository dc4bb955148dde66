//! Writes: what is stored is what the same object in JSON would be.

use http::Method;
use mxjob_protobuf::{MEDIA_TYPE, decode, encode};
use serde_json::{Value, json};

use super::{AUTH, LIMIT, fields, names, object, opened, send};
use crate::server::{JOBS, Server, config_map, job};

const CORE: &str = "/api/v1/namespaces/default";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// One object of each kind that command-line clients and controllers create, and its path.
fn objects() -> Vec<(String, Value)> {
    let core = |plural: &str| format!("{CORE}/{plural}");
    let pod = json!({"containers": [{
        "name": "c", "image": "i", "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        "resources": {"limits": {"cpu": "500m"}}, "env": [{"name": "A", "value": "b"}],
    }]});
    vec![
        (core("pods"), json!({"apiVersion": "v1", "kind": "Pod", "spec": pod})),
        (
            core("services"),
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        ),
        (core("configmaps"), json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": ""}})),
        (
            core("secrets"),
            json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "AP8="}, "stringData": {"b": "x"}}),
        ),
        (
            core("events"),
            json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
                "reason": "R", "message": "m", "type": "Normal", "firstTimestamp": "2026-01-01T00:00:00Z", "count": 1}),
        ),
        (
            LEASES.to_owned(),
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "a",
                "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000001Z", "leaseTransitions": 0}}),
        ),
        (
            core("resourcequotas"),
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "20"}}}),
        ),
        (
            core("limitranges"),
            json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}}),
        ),
        (
            core("endpoints"),
            json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
        ),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses".to_owned(),
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 10}),
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets".to_owned(),
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}),
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments".to_owned(),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned(),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        ),
    ]
}

/// An object without what differs from one create to the next.
fn comparable(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "name", "managedFields"] {
        metadata.remove(field);
    }
    object
}

/// The same without empty objects and texts, which Go clients write and others do not.
fn without_empty(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(without_empty);
            members.retain(|_, value| !matches!(value, Value::Object(map) if map.is_empty()));
            members.retain(|_, value| !value.is_null() && value != "");
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty),
        _ => {}
    }
}

#[tokio::test]
async fn objects_are_stored_as_the_same_ones_in_json() {
    let server = Server::start().await;
    for (path, body) in objects() {
        let named = |name: &str| {
            let mut body = body.clone();
            body["metadata"] = json!({"name": name});
            body
        };
        let answer = send(&server, "POST", &path, &named("protobuf")).await;
        assert_eq!(answer.code, 201, "{path} {}", answer.text);
        let answered = object(&answer);
        let (_, stored) = server.get(&format!("{path}/protobuf")).await;
        // What a Go client would send in JSON.
        let go = decode(&encode(&named("go")).unwrap(), ("", ""), LIMIT).unwrap();
        let go = server.make(&path, &go).await;
        assert_eq!(comparable(stored.clone()), comparable(go), "{path}");
        let mut plain = comparable(server.make(&path, &named("plain")).await);
        let mut same = comparable(stored.clone());
        without_empty(&mut plain);
        without_empty(&mut same);
        assert_eq!(same, plain, "{path}");
        // The answer is the stored object, also when it is read.
        let read = object(&send(&server, "GET", &format!("{path}/protobuf"), &Value::Null).await);
        assert_eq!(read, answered, "{path}");
        let written = decode(&encode(&stored).unwrap(), ("", ""), LIMIT).unwrap();
        assert_eq!(read, written, "{path}");
        let spec = |object: &Value| {
            let mut spec = object["spec"].clone();
            without_empty(&mut spec);
            spec
        };
        assert_eq!(spec(&read), spec(&stored), "{path}");
        let list = send(&server, "GET", &path, &Value::Null).await;
        let (kind, list) = opened(&list.bytes);
        let (version, name) = (&body["apiVersion"], &body["kind"]);
        let expected = format!("{} {}List", version.as_str().unwrap(), name.as_str().unwrap());
        assert_eq!(kind, expected);
        assert!(names(&list).contains(&"protobuf".to_owned()), "{path}");
        let deleted =
            send(&server, "DELETE", &format!("{path}/protobuf"), &options(json!({}))).await;
        assert_eq!(deleted.code, 200, "{path} {}", deleted.text);
    }
}

fn options(mut of: Value) -> Value {
    of["apiVersion"] = "v1".into();
    of["kind"] = "DeleteOptions".into();
    of
}

#[tokio::test]
async fn a_leader_is_elected() {
    let server = Server::start().await;
    let path = format!("{LEASES}/leader");
    let missing = send(&server, "GET", &path, &Value::Null).await;
    assert_eq!((missing.code, &object(&missing)["reason"]), (404, &json!("NotFound")));
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "leader", "namespace": "default"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0,
            "acquireTime": "2026-01-01T00:00:00.123456Z", "renewTime": "2026-01-01T00:00:00.123456Z"},
    });
    let made = send(&server, "POST", LEASES, &lease).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = object(&made);
    assert_eq!(made["spec"], lease["spec"]);

    // The leader renews.
    let mut renewed = made.clone();
    renewed["spec"]["renewTime"] = "2026-01-01T00:00:02.000000Z".into();
    let answer = send(&server, "PUT", &path, &renewed).await;
    assert_eq!((answer.code, &object(&answer)["spec"]), (200, &renewed["spec"]));
    // Another one read the lease before that.
    let mut late = made;
    late["spec"]["holderIdentity"] = "b".into();
    let answer = send(&server, "PUT", &path, &late).await;
    assert_eq!((answer.code, &object(&answer)["reason"]), (409, &json!("Conflict")));
    // The leader gives up, with an empty identity.
    let mut released = object(&send(&server, "GET", &path, &Value::Null).await);
    released["spec"]["holderIdentity"] = "".into();
    released["spec"]["leaseDurationSeconds"] = 1.into();
    let answer = send(&server, "PUT", &path, &released).await;
    assert_eq!((answer.code, &object(&answer)["spec"]), (200, &released["spec"]));
    assert_eq!(server.get(&path).await.1["spec"]["holderIdentity"], "");
}

#[tokio::test]
async fn deletes_obey_their_options() {
    let server = Server::start().await;
    let maps = format!("{CORE}/configmaps");
    // Custom resources are answered in JSON only.
    let delete = async |path: &str, options: &Value| {
        let headers = [AUTH, ("content-type", MEDIA_TYPE), ("accept", "application/json")];
        server.raw("DELETE", path, &headers, &encode(options).unwrap()).await
    };
    for (collection, body) in [(JOBS, job("a")), (&*maps, config_map("a"))] {
        server.make(collection, &body).await;
        let path = format!("{collection}/a");
        let wrong = options(json!({"preconditions": {"uid": "other"}}));
        let refused = delete(&path, &wrong).await;
        assert_eq!((refused.code, &refused.json()["reason"]), (409, &json!("Conflict")));
        let dry = options(json!({"dryRun": ["All"], "gracePeriodSeconds": 0}));
        assert_eq!(delete(&path, &dry).await.code, 200);
        assert_eq!(server.get(&path).await.0, 200, "{path}");
        let foreground = options(json!({"propagationPolicy": "Foreground"}));
        let answer = delete(&path, &foreground).await;
        assert_eq!(answer.code, 200, "{}", answer.text);
        assert_eq!(answer.json()["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    }
    for name in ["b", "c"] {
        server.make(&maps, &config_map(name)).await;
    }
    let all = options(json!({"gracePeriodSeconds": 0}));
    let answer =
        send(&server, "DELETE", &format!("{maps}?fieldSelector=metadata.name!=c"), &all).await;
    let (kind, list) = opened(&answer.bytes);
    assert_eq!((answer.code, kind.as_str()), (200, "v1 ConfigMapList"));
    assert!(names(&list).contains(&"b".to_owned()));
    assert_eq!(server.get(&format!("{maps}/b")).await.0, 404);
    assert_eq!(server.get(&format!("{maps}/c")).await.0, 200);
}

#[tokio::test]
async fn subresources_and_reviews_take_their_own_kinds() {
    let server = Server::start().await;
    let pods = format!("{CORE}/pods");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.make(&pods, &pod).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    let answer = send(&server, "POST", &format!("{pods}/a/binding"), &binding).await;
    assert_eq!((answer.code, &object(&answer)["status"]), (201, &json!("Success")));
    let mut status = server.get(&format!("{pods}/a")).await.1;
    status["status"] = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z"});
    let answer = send(&server, "PUT", &format!("{pods}/a/status"), &status).await;
    assert_eq!((answer.code, &object(&answer)["status"]["phase"]), (200, &json!("Running")));
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"gracePeriodSeconds": 0}});
    let answer = send(&server, "POST", &format!("{pods}/a/eviction"), &eviction).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    assert_eq!(server.get(&format!("{pods}/a")).await.0, 404);

    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [], "expirationSeconds": 600}});
    server.make(&format!("{CORE}/serviceaccounts"), &json!({"metadata": {"name": "s"}})).await;
    let answer = send(&server, "POST", &format!("{CORE}/serviceaccounts/s/token"), &request).await;
    let token = object(&answer);
    assert!(token["status"]["token"].as_str().is_some_and(|token| token.len() > 100), "{token}");
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = send(&server, "POST", path, &review).await;
    assert_eq!((answer.code, &object(&answer)["status"]["allowed"]), (201, &json!(true)));
}

#[tokio::test]
async fn bad_bodies_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let maps = format!("{CORE}/configmaps");
    server.make(&maps, &config_map("a")).await;
    let before = server.api.store().revision();
    let check = async |method: &str, path: &str, body: &[u8], code: u16, message: &str| {
        let headers = [AUTH, ("content-type", MEDIA_TYPE)];
        let answer = server.raw(method, path, &headers, body).await;
        let status = answer.json();
        assert_eq!(answer.code, code, "{}", answer.text);
        let found = status["message"].as_str().unwrap();
        assert!(found.starts_with(message), "{found}");
    };
    let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): ";
    let prefix = format!(
        "{unrecognized}provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ("
    );
    check("POST", &maps, b"{}", 400, &prefix).await;
    check("POST", &maps, b"", 400, &format!("{unrecognized}empty data (<empty>)")).await;
    check("POST", &maps, b"k8s\0", 400, &format!("{unrecognized}empty body (6b387300)")).await;
    check(
        "PUT",
        &format!("{maps}/a"),
        b"k8s\0\x12\x09",
        400,
        &format!("{unrecognized}unexpected EOF"),
    )
    .await;
    let options = "the object provided is unrecognized (must be of type DeleteOptions): ";
    check("DELETE", &format!("{maps}/a"), b"k8s", 400, options).await;
    let other = encode(&json!({"apiVersion": "v1", "kind": "Secret"})).unwrap();
    check("POST", &maps, &other, 400, "Secret in version \"v1\" cannot be handled as a ConfigMap")
        .await;
    check("POST", &maps, b"k8s\0\x0a\x0b\x0a\x02v1\x12\x05Other\x12\0", 400,
        "Other in version \"v1\" cannot be handled as a ConfigMap: no kind \"Other\" is registered for version \"v1\"").await;
    check("POST", JOBS, &other, 415,
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml").await;
    check(
        "PATCH",
        &format!("{maps}/a"),
        &other,
        415,
        "the body of the request was in an unknown format",
    )
    .await;
    // Many empty parts in a small body.
    let parts = [0x12_u8, 0].repeat(1_400_000);
    let nested = |number: u8, content: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap());
        [&out[..], content].concat()
    };
    let bomb = [b"k8s\0", &nested(2, &nested(2, &parts))[..]].concat();
    check("POST", &format!("{CORE}/pods"), &bomb, 413, "Request entity too large").await;
    assert_eq!(server.api.store().revision(), before, "nothing was written");
}

#[tokio::test]
async fn unknown_fields_are_ignored_even_where_they_would_be_errors_in_json() {
    let server = Server::start().await;
    let known = encode(&config_map("a")).unwrap();
    let (_, raw) = opened(&known);
    assert_eq!(fields(&raw).len(), 1);
    let raw = [&raw[..], b"\xfa\x01\x01x"].concat();
    let head = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12";
    let body = [&head[..], &[u8::try_from(raw.len()).unwrap()], &raw].concat();
    let headers = [AUTH, ("content-type", MEDIA_TYPE)];
    let path = format!("{CORE}/configmaps?fieldValidation=Strict");
    let answer = server.raw("POST", &path, &headers, &body).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    assert_eq!(
        server.call(Method::GET, &format!("{CORE}/configmaps/a"), &Value::Null).await.0,
        200
    );
}
