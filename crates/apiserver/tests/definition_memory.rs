//! The memory of a server whose definitions change all the time. In a binary of its own, because it
//! counts every allocation.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::future::pending;
use std::sync::Arc;

use http::{Method, StatusCode};
use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tokens::Tokens;
use mxjob_apiserver::client::Connector;
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config, environment};
use mxjob_store::{Options, Store};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const NAME: &str = "things.example.com";
const CHANGES: usize = 1_000;
/// Every so many changes the definition is deleted and created again.
const PER_LIFE: usize = 10;
/// Far less than one row for each change, and more than the noise of queues and buffers.
const MAX_GROWTH: isize = 256 * 1024;

/// A definition with names, columns and a schema that no other one has.
fn definition(index: usize) -> Value {
    let field = format!("field{index}");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": NAME },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "things", "kind": "Thing", "shortNames": [format!("t{index}")] },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "additionalPrinterColumns": [
                    { "name": field, "type": "string", "jsonPath": format!(".spec.{field}") },
                ],
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "properties": { field: {
                        "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set",
                    } } },
                } } },
            }],
        },
    })
}

async fn send(api: &Connector, method: Method, path: &str, body: Option<&Value>) -> StatusCode {
    let content_type = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    api.send(method, path, content_type, body).await.0
}

async fn change(api: &Connector, index: usize) {
    let object = format!("{DEFINITIONS}/{NAME}");
    if index % PER_LIFE == 0 {
        send(api, Method::DELETE, &object, None).await;
        while send(api, Method::GET, &object, None).await != StatusCode::NOT_FOUND {
            tokio::task::yield_now().await;
        }
        let made = send(api, Method::POST, DEFINITIONS, Some(&definition(index))).await;
        assert_eq!(made, StatusCode::CREATED);
    } else {
        let patch = json!({ "spec": definition(index)["spec"] });
        let patched = send(api, Method::PATCH, &object, Some(&patch)).await;
        assert_eq!(patched, StatusCode::OK);
    }
    let list = send(api, Method::GET, "/apis/example.com/v1/things", None).await;
    assert_eq!(list, StatusCode::OK);
}

#[tokio::test]
async fn memory_does_not_grow_with_the_number_of_changes_of_definitions() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.history_events = 32;
    let server = ApiServer::new(Config {
        store: Store::open(dir.path(), options).unwrap(),
        environment: Arc::new(environment::System),
        authenticator: Authenticator::new(Tokens::default()),
        readiness: Readiness::new(),
    });
    server.bootstrap().await.unwrap();
    let api = server.connector(Identity::admin(), "test");
    tokio::spawn(server.clone().finalize_definitions(pending()));
    for index in 0..CHANGES / 10 {
        change(&api, index).await;
    }
    let region = Region::new(ALLOCATOR);
    for index in 0..CHANGES {
        change(&api, index).await;
    }
    let used = region.change();
    let signed = |bytes: usize| isize::try_from(bytes).unwrap();
    let growth =
        signed(used.bytes_allocated) - signed(used.bytes_deallocated) + used.bytes_reallocated;
    eprintln!("{growth} {used:?}");
    assert!(growth < MAX_GROWTH, "{growth} bytes in {CHANGES} changes: {used:?}");
}
