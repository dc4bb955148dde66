//! Validating webhooks: a small HTTPS server is asked by a real configuration.

mod service;

use std::sync::Arc;

use http::Method;
use mxjob_apiserver::Extensions;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::definitions::{DEFINITIONS, condition, definition};
use crate::server::{JOBS, Server, config_map, job};
use service::Webhook;

const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const NAME: &str = "check.maps.example.com";

/// A configuration of one webhook for config maps.
fn configuration(webhook: &Webhook, more: &Value) -> Value {
    let hook = json!({
        "name": NAME, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": { "url": webhook.url("/check"), "caBundle": webhook.bundle() },
        "rules": [{ "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"] }],
    });
    let hook = mxjob_machinery::patch::merge_patch(&hook, more);
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "test" }, "webhooks": [hook],
    })
}

/// Refuses what carries the annotation `refuse`, and says so.
fn by_annotation(review: &Value) -> Value {
    let request = &review["request"];
    let object =
        if request["object"].is_null() { &request["oldObject"] } else { &request["object"] };
    match object["metadata"]["annotations"]["refuse"].as_str() {
        Some(why) => {
            json!({ "allowed": false, "status": { "code": 403, "reason": "Forbidden", "message": why } })
        }
        None => json!({ "allowed": true, "warnings": ["looked at"] }),
    }
}

fn refused_map(name: &str) -> Value {
    let mut map = config_map(name);
    map["metadata"]["annotations"] = json!({ "refuse": "no, thanks" });
    map
}

async fn configured(more: &Value) -> (Server, Webhook) {
    let server = Server::start().await;
    let webhook = Webhook::start(by_annotation).await;
    server.make(CONFIGURATIONS, &configuration(&webhook, more)).await;
    (server, webhook)
}

#[tokio::test]
async fn a_webhook_refuses_with_its_own_words_and_code() {
    let (server, webhook) = configured(&json!({})).await;
    server.make(MAPS, &config_map("good")).await;
    let (code, answer) = server.post(MAPS, &refused_map("bad")).await;
    assert_eq!(
        (code, &answer["reason"], &answer["message"]),
        (
            403,
            &json!("Forbidden"),
            &json!("admission webhook \"check.maps.example.com\" denied the request: no, thanks")
        ),
        "{answer:#}"
    );
    assert_eq!(server.get(&format!("{MAPS}/bad")).await.0, 404);
    let asked = webhook.asked();
    assert_eq!(asked.len(), 2);
    let request = &asked[0]["request"];
    assert_eq!(
        (&request["operation"], &request["name"], &request["namespace"], &request["oldObject"]),
        (&json!("CREATE"), &json!("good"), &json!("default"), &Value::Null)
    );
    assert_eq!(request["kind"], json!({ "group": "", "version": "v1", "kind": "ConfigMap" }));
    assert_eq!(request["resource"]["resource"], "configmaps");
    assert_eq!(request["userInfo"]["username"], "mxjob-admin");
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert!(request["object"]["metadata"]["uid"].is_string());
}

#[tokio::test]
async fn updates_and_deletions_are_shown_with_what_was_there() {
    let (server, webhook) = configured(&json!({})).await;
    server.make(MAPS, &config_map("m")).await;
    let path = format!("{MAPS}/m");
    let refuse = json!({ "metadata": { "annotations": { "refuse": "kept" } } });
    assert_eq!(server.patch(&path, &refuse).await.0, 403);
    assert_eq!(server.patch(&path, &json!({ "data": { "a": "b" } })).await.0, 200);
    assert_eq!(server.delete(&path).await.0, 200);
    let asked = webhook.asked();
    let operations: Vec<&str> =
        asked.iter().filter_map(|review| review["request"]["operation"].as_str()).collect();
    assert_eq!(operations, ["CREATE", "UPDATE", "UPDATE", "DELETE"]);
    assert_eq!(asked[2]["request"]["object"]["data"]["a"], "b");
    assert_eq!(asked[2]["request"]["oldObject"]["data"], Value::Null);
    assert_eq!(
        (&asked[3]["request"]["object"], &asked[3]["request"]["oldObject"]["data"]["a"]),
        (&Value::Null, &json!("b"))
    );
}

#[tokio::test]
async fn warnings_reach_the_client() {
    let (server, _webhook) = configured(&json!({})).await;
    let headers = [("authorization", "Bearer good"), ("content-type", "application/json")];
    let answer = server.raw("POST", MAPS, &headers, config_map("m").to_string().as_bytes()).await;
    assert_eq!(answer.headers["warning"], "299 - \"looked at\"");
}

#[tokio::test]
async fn only_what_is_selected_is_shown() {
    for (more, shown) in [
        (json!({ "objectSelector": { "matchLabels": { "a": "b" } } }), false),
        (
            json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "default" } } }),
            true,
        ),
        (
            json!({ "namespaceSelector": { "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["default"] }] } }),
            false,
        ),
        (
            json!({ "matchConditions": [{ "name": "c", "expression": "object.metadata.name != 'm'" }] }),
            false,
        ),
        (
            json!({ "matchConditions": [{ "name": "c", "expression": "request.operation == 'CREATE' && !has(object.data)" }] }),
            true,
        ),
        (
            json!({ "rules": [{ "operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"] }] }),
            true,
        ),
        (
            json!({ "rules": [{ "operations": ["UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"] }] }),
            false,
        ),
    ] {
        let (server, webhook) = configured(&more).await;
        server.make(MAPS, &config_map("m")).await;
        assert_eq!(webhook.asked().len(), usize::from(shown), "{more}");
    }
}

#[tokio::test]
async fn a_condition_that_breaks_refuses_or_is_overlooked_by_policy() {
    let broken =
        json!({ "matchConditions": [{ "name": "c", "expression": "object.nope.x == 1" }] });
    let (server, _webhook) = configured(&broken).await;
    let (code, answer) = server.post(MAPS, &config_map("m")).await;
    assert_eq!(code, 403);
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "configmaps \"m\" is forbidden: expression 'object.nope.x == 1' resulted in error: "
        ),
        "{message}"
    );
    let ignored =
        mxjob_machinery::patch::merge_patch(&broken, &json!({ "failurePolicy": "Ignore" }));
    let (server, webhook) = configured(&ignored).await;
    server.make(MAPS, &config_map("m")).await;
    assert!(webhook.asked().is_empty());
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_fails_the_request_or_not_by_policy() {
    let (server, webhook) = configured(&json!({ "timeoutSeconds": 1 })).await;
    let url = webhook.url("/check");
    drop(webhook);
    let (code, answer) = server.post(MAPS, &config_map("m")).await;
    assert_eq!((code, &answer["reason"]), (500, &json!("InternalError")));
    let message = answer["message"].as_str().unwrap();
    let start = format!(
        "Internal error occurred: failed calling webhook \"{NAME}\": failed to call webhook: Post \"{url}?timeout=1s\": "
    );
    assert!(message.starts_with(&start), "{message}");
    // The configuration itself can always be mended.
    let path = format!("{CONFIGURATIONS}/test");
    let (_, mut own) = server.get(&path).await;
    own["webhooks"][0]["failurePolicy"] = json!("Ignore");
    assert_eq!(server.put(&path, &own).await.0, 200);
    server.make(MAPS, &config_map("m")).await;
    assert_eq!(server.delete(&path).await.0, 200);
}

#[tokio::test]
async fn a_stranger_with_another_certificate_is_not_asked() {
    let server = Server::start().await;
    let (webhook, stranger) =
        (Webhook::start(by_annotation).await, Webhook::start(by_annotation).await);
    let more = json!({ "clientConfig": { "caBundle": stranger.bundle() } });
    server.make(CONFIGURATIONS, &configuration(&webhook, &more)).await;
    let (code, answer) = server.post(MAPS, &config_map("m")).await;
    assert_eq!(code, 500, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("tls: "), "{answer}");
    assert!(webhook.asked().is_empty());
}

#[tokio::test]
async fn a_slow_webhook_times_out() {
    let server = Server::start().await;
    let webhook = Webhook::silent().await;
    server.make(CONFIGURATIONS, &configuration(&webhook, &json!({ "timeoutSeconds": 1 }))).await;
    let (code, answer) = server.post(MAPS, &config_map("m")).await;
    assert_eq!(code, 500);
    assert!(answer["message"].as_str().unwrap().ends_with("context deadline exceeded"), "{answer}");
}

#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_| json!({ "uid": "another", "allowed": true })).await;
    server.make(CONFIGURATIONS, &configuration(&webhook, &json!({}))).await;
    let (code, answer) = server.post(MAPS, &config_map("m")).await;
    assert_eq!(code, 500);
    assert!(answer["message"].as_str().unwrap().contains("expected response.uid="), "{answer}");
}

#[tokio::test]
async fn dry_runs_are_for_webhooks_without_side_effects() {
    let (server, webhook) = configured(&json!({})).await;
    let path = format!("{MAPS}?dryRun=All");
    assert_eq!(server.post(&path, &config_map("m")).await.0, 201);
    assert_eq!(webhook.asked()[0]["request"]["dryRun"], true);
    assert_eq!(server.post(&path, &refused_map("m")).await.0, 403);
}

#[tokio::test]
async fn a_service_is_reached_at_its_configured_address_or_its_endpoints() {
    let webhook = Webhook::start(by_annotation).await;
    let service = json!({ "clientConfig": { "url": null, "service": { "namespace": "default", "name": "hook", "path": "/check" } } });
    let services = [(("default".to_owned(), "hook".to_owned()), webhook.address())];
    let extensions =
        Extensions { webhook_services: services.into_iter().collect(), ..Extensions::default() };
    let server = Server::start().await.again(extensions).await;
    server.make(CONFIGURATIONS, &configuration(&webhook, &service)).await;
    assert_eq!(server.post(MAPS, &refused_map("m")).await.0, 403);
    assert_eq!(webhook.paths(), ["/check?timeout=10s"]);

    let server = Server::start().await;
    server.make(CONFIGURATIONS, &configuration(&webhook, &service)).await;
    let check = async |expected: &str| {
        let (code, answer) = server.post(MAPS, &config_map("m")).await;
        assert_eq!(code, 500);
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains("Post \"https://hook.default.svc:443/check?timeout=10s\": "),
            "{message}"
        );
        assert!(message.ends_with(expected), "{message}");
    };
    check("service \"hook\" not found").await;
    let body = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "hook" }, "spec": { "ports": [{ "port": 443 }] } });
    server.make("/api/v1/namespaces/default/services", &body).await;
    check("no endpoints available for service \"hook\"").await;
    let port: u16 = webhook.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let body = json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": "hook" },
        "subsets": [{ "addresses": [{ "ip": "127.0.0.1" }], "ports": [{ "port": port }] }] });
    server.make("/api/v1/namespaces/default/endpoints", &body).await;
    assert_eq!(server.post(MAPS, &refused_map("m")).await.0, 403);
}

#[tokio::test]
async fn what_was_agreed_to_is_stored_only_on_top_of_what_was_shown() {
    let server = Arc::new(Server::start().await);
    let (entered, mut waiting) = tokio::sync::mpsc::channel(1);
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let webhook = Webhook::start_with(move |review| {
        let (entered, gate) = (entered.clone(), Arc::clone(&gate));
        async move {
            if review["request"]["operation"] == "UPDATE"
                && review["request"]["object"]["data"]["slow"] == "1"
            {
                entered.send(()).await.unwrap();
                gate.acquire().await.unwrap().forget();
            }
            json!({ "allowed": true })
        }
    })
    .await;
    server.make(CONFIGURATIONS, &configuration(&webhook, &json!({}))).await;
    server.make(MAPS, &config_map("m")).await;
    let path = format!("{MAPS}/m");
    let slow = tokio::spawn({
        let (server, path) = (Arc::clone(&server), path.clone());
        async move { server.patch(&path, &json!({ "data": { "slow": "1" } })).await }
    });
    waiting.recv().await.unwrap();
    // Nothing is locked while the webhook thinks.
    assert_eq!(server.patch(&path, &json!({ "data": { "fast": "1" } })).await.0, 200);
    go.add_permits(1);
    // The slow one is asked again about what is there now.
    waiting.recv().await.unwrap();
    go.add_permits(1);
    let (code, map) = slow.await.unwrap();
    assert_eq!((code, &map["data"]), (200, &json!({ "fast": "1", "slow": "1" })));
}

#[tokio::test]
async fn a_collection_goes_without_what_left_the_selection_meanwhile() {
    let server = Arc::new(Server::start().await);
    let (entered, mut waiting) = tokio::sync::mpsc::channel(1);
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let webhook = Webhook::start_with(move |review| {
        let (entered, gate) = (entered.clone(), Arc::clone(&gate));
        async move {
            if review["request"]["operation"] == "DELETE" {
                entered.send(()).await.unwrap();
                gate.acquire().await.unwrap().forget();
            }
            json!({ "allowed": true })
        }
    })
    .await;
    server.make(CONFIGURATIONS, &configuration(&webhook, &json!({}))).await;
    let mut map = config_map("m");
    map["metadata"]["labels"] = json!({ "a": "b" });
    server.make(MAPS, &map).await;
    let going = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.delete(&format!("{MAPS}?labelSelector=a%3Db")).await }
    });
    waiting.recv().await.unwrap();
    let other = json!({ "metadata": { "labels": { "a": "c" } } });
    assert_eq!(server.patch(&format!("{MAPS}/m"), &other).await.0, 200);
    go.add_permits(1);
    let (code, gone) = going.await.unwrap();
    assert_eq!((code, &gone["items"]), (200, &json!([])));
    assert_eq!(server.get(&format!("{MAPS}/m")).await.0, 200);
}

#[tokio::test]
async fn built_in_rules_come_first_and_status_is_a_resource_of_its_own() {
    let server = Server::start().await;
    let webhook = Webhook::start(by_annotation).await;
    let more = json!({ "rules": [{ "operations": ["CREATE", "UPDATE"], "apiGroups": ["kubeflow.org"], "apiVersions": ["*"], "resources": ["mxjobs"] }] });
    server.make(CONFIGURATIONS, &configuration(&webhook, &more)).await;
    let mut wrong = job("digits");
    wrong["spec"]["jobMode"] = json!("MXGuess");
    assert_eq!(server.post(JOBS, &wrong).await.0, 422);
    assert!(webhook.asked().is_empty());
    server.make(JOBS, &job("digits")).await;
    let status = json!({ "status": { "conditions": [] } });
    assert_eq!(server.patch(&format!("{JOBS}/digits/status"), &status).await.0, 200);
    assert_eq!(webhook.asked().len(), 1);
}

#[tokio::test]
async fn an_invalid_configuration_is_rejected_with_its_errors() {
    let server = Server::start().await;
    let webhook = Webhook::start(by_annotation).await;
    for (more, expected) in [
        (
            json!({ "name": "short" }),
            "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots",
        ),
        (
            json!({ "sideEffects": "Some" }),
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
        ),
        (
            json!({ "sideEffects": null }),
            "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
        ),
        (
            json!({ "timeoutSeconds": 31 }),
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ),
        (
            json!({ "clientConfig": { "url": "http://a/" } }),
            "webhooks[0].clientConfig.url: Invalid value: \"http://a/\": 'https' is the only allowed URL scheme",
        ),
        (
            json!({ "clientConfig": { "url": null } }),
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ),
        (
            json!({ "matchConditions": [{ "name": "c", "expression": "1 +" }] }),
            "webhooks[0].matchConditions[0].expression: Invalid value: \"1 +\": compilation failed",
        ),
        (
            json!({ "rules": [{ "operations": ["READ"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }] }),
            "webhooks[0].rules[0].operations[0]: Unsupported value: \"READ\"",
        ),
    ] {
        let body = configuration(&webhook, &more);
        let (code, answer) = server.call(Method::POST, CONFIGURATIONS, &body).await;
        assert_eq!(code, 422, "{more}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
}

/// Creates the definition `slow` with the given kind, and while a webhook is asked about it another
/// one of kind `Other`; the webhook answers after the other is stored. Returns `slow` and the
/// reviews about it.
async fn defined_meanwhile(kind: &str) -> (Value, Vec<Value>) {
    const SLOW: &str = "slows.scheduling.example.com";
    let named = |plural: &str, kind: &str| {
        let mut object = definition();
        object["metadata"]["name"] = format!("{plural}.scheduling.example.com").into();
        object["spec"]["names"] = json!({ "plural": plural, "kind": kind });
        object
    };
    let (asked, stored) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let signals = (Arc::clone(&asked), Arc::clone(&stored));
    let webhook = Webhook::start_with(move |review| {
        let (asked, stored) = signals.clone();
        async move {
            if review["request"]["name"] == SLOW {
                asked.add_permits(1);
                drop(stored.acquire().await);
            }
            json!({ "allowed": true })
        }
    })
    .await;
    let server = Server::start().await;
    let rule = json!({
        "operations": ["*"], "apiGroups": ["apiextensions.k8s.io"], "apiVersions": ["v1"],
        "resources": ["customresourcedefinitions"],
    });
    server.make(CONFIGURATIONS, &configuration(&webhook, &json!({ "rules": [rule] }))).await;
    let other = async {
        drop(asked.acquire().await);
        let other = server.make(DEFINITIONS, &named("others", "Other")).await;
        stored.add_permits(1);
        other
    };
    let slow = named("slows", kind);
    let (slow, other) = tokio::join!(server.make(DEFINITIONS, &slow), other);
    assert_eq!(condition(&other, "Established")["status"], "True", "{other:#}");
    let reviews = webhook.asked().into_iter().filter(|review| review["request"]["name"] == SLOW);
    (slow, reviews.collect())
}

#[tokio::test]
async fn a_slow_webhook_delays_no_other_write_of_a_definition() {
    let (slow, reviews) = defined_meanwhile("Slow").await;
    assert_eq!(condition(&slow, "Established")["status"], "True", "{slow:#}");
    assert_eq!(reviews.len(), 1);
}

#[tokio::test]
async fn names_taken_while_a_webhook_is_asked_are_not_accepted() {
    let (slow, reviews) = defined_meanwhile("Other").await;
    assert_eq!(condition(&slow, "NamesAccepted")["reason"], "SingularConflict", "{slow:#}");
    assert_eq!(condition(&slow, "Established")["status"], "False");
    // The webhook sees what is stored.
    let last = &reviews.last().unwrap()["request"]["object"];
    assert_eq!((reviews.len(), &last["status"]), (2, &slow["status"]));
}
