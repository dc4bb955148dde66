//! Fields of built-in kinds: unknown ones, wrong types, and what clients learn of them.

use serde_json::{Value, json};

use crate::server::{JSON, Server};

const AUTH: (&str, &str) = ("authorization", "Bearer good");
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, extra: &Value) -> Value {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    mxjob_machinery::patch::merge_patch(&pod, extra)
}

#[tokio::test]
async fn an_unknown_field_is_dropped_named_or_refused_as_the_request_wants() {
    let server = Server::start().await;
    let extra = json!({ "spec": { "bogus": 1 }, "status": { "nope": {} } });
    let faults = ["unknown field \"spec.bogus\"", "unknown field \"status.nope\""];
    for (validation, code, warnings) in [("Ignore", 201, 0), ("Warn", 201, 2), ("Strict", 400, 0)] {
        let name = validation.to_lowercase();
        let body = pod(&name, &extra).to_string();
        let path = format!("{PODS}?fieldValidation={validation}");
        let headers = [AUTH, ("content-type", JSON)];
        let answer = server.raw("POST", &path, &headers, body.as_bytes()).await;
        assert_eq!(answer.code, code, "{}", answer.text);
        let warned = answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap());
        let warned: Vec<String> = warned.map(|text| text.replace('\\', "")).collect();
        assert_eq!(warned.len(), warnings, "{warned:?}");
        for (warning, fault) in warned.iter().zip(faults) {
            assert_eq!(*warning, format!("299 - \"{fault}\""));
        }
        if code == 400 {
            let message = format!(
                "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: {}",
                faults.join(", ")
            );
            assert_eq!(answer.json()["message"], message);
        } else {
            let (_, stored) = server.get(&format!("{PODS}/{name}")).await;
            assert_eq!(stored["spec"]["bogus"], Value::Null);
            assert_eq!(stored["spec"]["containers"][0]["name"], "c");
        }
    }
}

#[tokio::test]
async fn a_wrong_type_is_refused_as_go_refuses_it_whatever_the_validation() {
    let server = Server::start().await;
    let body = pod("p", &json!({ "spec": { "nodeName": 1 } }));
    let (code, answer) = server.post(&format!("{PODS}?fieldValidation=Ignore"), &body).await;
    assert_eq!(code, 400, "{answer}");
    assert_eq!(
        answer["message"],
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string"
    );
}

#[tokio::test]
async fn a_patch_to_a_wrong_type_is_an_invalid_patch() {
    let server = Server::start().await;
    server.make(PODS, &pod("p", &json!({}))).await;
    let patch = json!({ "spec": { "activeDeadlineSeconds": "soon" } });
    let (code, answer) = server.patch(&format!("{PODS}/p"), &patch).await;
    assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{answer}");
    let message = answer["message"].as_str().unwrap();
    let problem = "json: cannot unmarshal string into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64";
    assert!(message.contains("patch: Invalid value") && message.ends_with(problem), "{message}");
}

#[tokio::test]
async fn a_document_that_is_named_by_its_hash_may_be_kept_for_ever() {
    let server = Server::start().await;
    let index = server.raw("GET", "/openapi/v3", &[AUTH], b"").await;
    assert_eq!(index.headers["cache-control"], "no-cache, private");
    let url = index.json()["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let named = server.raw("GET", &url, &[AUTH], b"").await;
    assert_eq!(
        (named.code, &named.headers["cache-control"]),
        (200, &"public, immutable".parse().unwrap())
    );
    assert!(named.headers.contains_key("expires"));
    let stale = server.raw("GET", "/openapi/v3/api/v1?hash=0", &[AUTH], b"").await;
    assert_eq!((stale.code, stale.headers["location"].to_str().unwrap()), (301, url.as_str()));
    let unnamed = server.raw("GET", "/openapi/v3/api/v1", &[AUTH], b"").await;
    assert_eq!(unnamed.headers["cache-control"], "no-cache, private");
    let tag = unnamed.headers["etag"].to_str().unwrap();
    let known = server.raw("GET", &url, &[AUTH, ("if-none-match", tag)], b"").await;
    assert_eq!(known.code, 304);
}

#[tokio::test]
async fn the_definition_of_mxjobs_reads_as_an_established_one() {
    let server = Server::start().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mxjobs.kubeflow.org";
    let (code, definition) = server.get(path).await;
    assert_eq!(code, 200);
    let spec = &definition["spec"];
    assert_eq!(spec["conversion"], json!({ "strategy": "None" }));
    assert_eq!(definition["status"]["acceptedNames"], spec["names"]);
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    let established = &definition["status"]["conditions"][1];
    assert_eq!(
        (&established["type"], &established["status"]),
        (&json!("Established"), &json!("True"))
    );
    let schema = mxjob_machinery::schema::kubernetes::kind(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    );
    let schema = schema.unwrap();
    assert_eq!(schema.decode_problem(&definition), None);
    assert_eq!(schema.unknown_fields(&definition), [""; 0]);
    // What is read can be sent to a cluster again; `kubectl apply` keeps it in an annotation of at
    // most 256 KiB.
    assert!(definition.to_string().len() < 262_144);
}
