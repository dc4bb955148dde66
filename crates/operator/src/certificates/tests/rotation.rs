//! The rotation on a real API server: the Secret, the configuration and the served certificate.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use mxjob_client::request::{self, JSON, MERGE_PATCH};
use mxjob_testkit::{Identity, Server};
use serde_json::{Value, json};
use tower_service::Service;

use super::*;
use crate::certificates::{Resolver, Rotation};
use crate::webhook::Metrics;

const SECRETS: &str = "/api/v1/namespaces/system/secrets";
const SECRET: &str = "/api/v1/namespaces/system/secrets/certificate";
const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/jobs";

struct World {
    server: Server,
    client: Client,
}

impl World {
    async fn start() -> Self {
        let server = Server::new();
        let world = Self { client: server.client(), server };
        world.make("/api/v1/namespaces", json!({ "metadata": { "name": "system" } })).await;
        world
    }

    async fn configured(self) -> Self {
        let webhook = |name: &str, service: &str| {
            json!({
                "name": name,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": { "service": { "namespace": "system", "name": service } },
            })
        };
        let webhooks =
            [webhook("other.example.com", "other"), webhook("validate.example.com", "hook")];
        let configuration = json!({ "metadata": { "name": "jobs" }, "webhooks": webhooks });
        self.make(CONFIGURATIONS, configuration).await;
        self
    }

    fn rotation(&self) -> (Rotation, Arc<Resolver>) {
        self.rotation_as(Identity::admin())
    }

    fn rotation_as(&self, who: Identity) -> (Rotation, Arc<Resolver>) {
        Self::rotation_by(self.server.client_as(who))
    }

    fn rotation_by(client: Client) -> (Rotation, Arc<Resolver>) {
        let resolver = Arc::new(Resolver::default());
        let metrics = Metrics::default();
        (Rotation::new(client, installation("system"), Arc::clone(&resolver), metrics), resolver)
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Result<Value, kube::Error> {
        let media = if method == Method::PATCH { MERGE_PATCH } else { JSON };
        let body = (!body.is_null()).then_some(&body);
        request::send(&self.client, method, path, media, body).await
    }

    async fn make(&self, path: &str, object: Value) -> Value {
        self.send(Method::POST, path, object).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, Value::Null).await.unwrap()
    }

    async fn secret_data(&self) -> SecretData {
        SecretData::from_data(&self.get(SECRET).await["data"])
    }

    /// The authorities that the API server trusts for our webhook.
    async fn bundle(&self) -> String {
        let configuration = self.get(CONFIGURATION).await;
        let bundle = configuration["webhooks"][1]["clientConfig"]["caBundle"].clone();
        SecretData::from_data(&json!({ "ca.crt": bundle })).ca_crt
    }
}

/// The PEM of the served certificate.
fn served(rotation: &Rotation) -> &str {
    rotation.served().unwrap_or_default()
}

#[tokio::test]
async fn the_first_replica_creates_the_secret_and_the_others_use_it() {
    let world = World::start().await.configured().await;
    let (mut first, _) = world.rotation();
    assert!(first.sync(start()).await);
    let secret_data = world.secret_data().await;
    assert_eq!(check(Some(&secret_data), &first.names(), None, start()), Decision::Keep);
    assert!(world.bundle().await == secret_data.ca_crt);
    let secret = world.get(SECRET).await;
    assert_eq!(secret["type"], "kubernetes.io/tls");
    let configuration = world.get(CONFIGURATION).await;

    let (mut second, _) = world.rotation();
    assert!(second.sync(day(1)).await && first.sync(day(1)).await);
    assert_eq!(world.get(SECRET).await, secret, "nothing is written if nothing is to be done");
    assert_eq!(world.get(CONFIGURATION).await, configuration);
    assert!(served(&first) == secret_data.tls_crt && served(&second) == secret_data.tls_crt);
}

#[tokio::test]
async fn replicas_that_start_at_once_end_up_with_one_certificate() {
    let world = World::start().await.configured().await;
    let mut rotations: Vec<_> = (0..6).map(|_| world.rotation().0).collect();
    let syncs = rotations.iter_mut().map(|rotation| rotation.sync(start()));
    assert_eq!(futures_util::future::join_all(syncs).await, [true; 6]);
    let secret_data = world.secret_data().await;
    assert!(rotations.iter().all(|rotation| served(rotation) == secret_data.tls_crt));
    assert!(world.bundle().await == secret_data.ca_crt);
}

#[tokio::test]
async fn a_renewal_by_one_replica_is_served_by_all() {
    let world = World::start().await.configured().await;
    let (mut first, _) = world.rotation();
    let (mut second, _) = world.rotation();
    first.sync(start()).await;
    second.sync(start()).await;
    let before = world.secret_data().await;
    let label =
        json!({ "metadata": { "labels": { "team": "a" } }, "data": { "note": "bm90ZQ==" } });
    world.send(Method::PATCH, SECRET, label).await.unwrap();
    assert!(first.sync(day(61)).await && second.sync(day(61)).await);
    let after = world.secret_data().await;
    assert!(before.ca_crt == after.ca_crt && before.tls_crt != after.tls_crt);
    assert!(served(&first) == after.tls_crt && served(&second) == after.tls_crt);
    let secret = world.get(SECRET).await;
    assert_eq!(secret["metadata"]["labels"]["team"], "a", "other fields stay");
    assert_eq!(secret["data"]["note"], "bm90ZQ==");
}

#[tokio::test]
async fn the_bundle_has_both_authorities_before_the_new_one_signs() {
    let world = World::start().await.configured().await;
    let (mut rotation, _) = world.rotation();
    let late = day(9 * 365 + 1);
    world.make(SECRETS, secret_of(&renewed(late))).await;
    assert!(rotation.sync(late).await);
    let both = world.secret_data().await;
    assert_eq!(both.ca_crt.matches("BEGIN").count(), 2);
    assert!(world.bundle().await == both.ca_crt);
}

/// An installation of the first day with a renewed certificate.
fn renewed(now: Timestamp) -> SecretData {
    let decision = Decision::RenewCertificate(Reason::Due);
    let hook = ["hook.system.svc", "hook.system.svc.cluster.local", "hook.system", "hook"];
    let hook = hook.map(str::to_owned);
    apply(decision, Some(&new_installation(start())), &hook, None, now).unwrap().1
}

fn secret_of(secret_data: &SecretData) -> Value {
    let mut data = serde_json::Map::new();
    secret_data.write(&mut data);
    json!({ "metadata": { "name": "certificate" }, "type": "kubernetes.io/tls", "data": data })
}

#[tokio::test]
async fn a_broken_or_foreign_secret_is_replaced() {
    for data in [json!({}), json!({ "tls.crt": "aGVsbG8=", "tls.key": "aGVsbG8=" })] {
        let world = World::start().await.configured().await;
        let secret =
            json!({ "metadata": { "name": "certificate" }, "type": "Opaque", "data": data });
        world.make(SECRETS, secret).await;
        let (mut rotation, _) = world.rotation();
        assert!(rotation.sync(start()).await);
        assert!(served(&rotation) == world.secret_data().await.tls_crt);
        assert!(world.bundle().await == world.secret_data().await.ca_crt);
    }
}

#[tokio::test]
async fn a_secret_that_may_not_be_written_is_served_nevertheless() {
    let world = World::start().await.configured().await;
    let (mut rotation, _) = world.rotation();
    rotation.sync(start()).await;
    let rule = json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get"] });
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({ "metadata": { "name": "reader" }, "rules": [rule] });
    world.make(&format!("{group}/clusterroles"), role).await;
    let binding = json!({
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader" }],
    });
    world.make(&format!("{group}/clusterrolebindings"), binding).await;
    let (mut limited, _) = world.rotation_as(Identity::new("reader", "", []));
    assert!(!limited.sync(day(61)).await, "a problem is reported");
    let before = world.secret_data().await.tls_crt;
    assert_eq!(served(&limited), before, "the valid certificate is still served");
    assert!(rotation.sync(day(61)).await, "a replica that may renews it");
    assert!(limited.sync(day(61)).await);
    assert_ne!(served(&limited), before);
}

#[tokio::test]
async fn a_missing_configuration_is_no_failure_and_is_patched_once_it_exists() {
    let world = World::start().await;
    let (mut rotation, _) = world.rotation();
    assert!(rotation.sync(start()).await);
    assert!(!served(&rotation).is_empty());
    let world = world.configured().await;
    assert!(rotation.sync(start()).await);
    assert!(world.bundle().await == world.secret_data().await.ca_crt);
    let other = world.get(CONFIGURATION).await["webhooks"][0].clone();
    assert!(other["clientConfig"].get("caBundle").is_none_or(|bundle| bundle == ""), "{other}");
}

#[tokio::test]
async fn a_removed_bundle_is_restored_and_other_changes_stay() {
    let world = World::start().await.configured().await;
    let (mut rotation, _) = world.rotation();
    rotation.sync(start()).await;
    let mut configuration = world.get(CONFIGURATION).await;
    configuration["webhooks"][1]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    configuration["webhooks"][1]["failurePolicy"] = "Ignore".into();
    world.send(Method::PUT, CONFIGURATION, configuration).await.unwrap();
    assert!(rotation.sync(start()).await);
    assert!(world.bundle().await == world.secret_data().await.ca_crt);
    assert_eq!(world.get(CONFIGURATION).await["webhooks"][1]["failurePolicy"], "Ignore");
}

#[tokio::test]
async fn a_deleted_secret_is_recreated_and_other_replicas_stay_trusted() {
    let world = World::start().await.configured().await;
    let (mut first, _) = world.rotation();
    let (mut second, _) = world.rotation();
    assert!(first.sync(start()).await && second.sync(start()).await);
    let before = world.secret_data().await;
    world.send(Method::DELETE, SECRET, Value::Null).await.unwrap();
    assert!(first.sync(start()).await);
    assert!(served(&second) == before.tls_crt && served(&first) != before.tls_crt);
    let bundle = world.bundle().await;
    assert!(bundle.ends_with(&before.ca_crt) && bundle.len() > before.ca_crt.len());
    assert!(second.sync(start()).await);
    assert!(served(&second) == served(&first));
}

/// Deletes the Secret right before the first update.
#[derive(Clone)]
struct Vanishing<S> {
    inner: S,
    client: Client,
    has_vanished: Arc<AtomicBool>,
}

type Answer<S> =
    Result<<S as Service<Request<Body>>>::Response, <S as Service<Request<Body>>>::Error>;

impl<S> Service<Request<Body>> for Vanishing<S>
where
    S: Service<Request<Body>, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Answer<S>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let vanishes =
            request.method() == Method::PUT && !self.has_vanished.swap(true, Ordering::Relaxed);
        let (mut inner, client) = (self.inner.clone(), self.client.clone());
        Box::pin(async move {
            if vanishes {
                let delete = Request::delete(SECRET).body(Vec::new()).unwrap();
                let _: Value = client.request(delete).await.unwrap();
            }
            inner.call(request).await
        })
    }
}

#[tokio::test]
async fn a_secret_that_is_deleted_during_a_renewal_is_recreated_immediately() {
    let world = World::start().await.configured().await;
    world.rotation().0.sync(start()).await;
    let before = world.secret_data().await;
    let inner = world.server.link().clone();
    let (client, has_vanished) = (world.client.clone(), Arc::new(AtomicBool::new(false)));
    let service = Vanishing { inner, client, has_vanished: Arc::clone(&has_vanished) };
    let (mut rotation, _) = World::rotation_by(Client::new(service, "default"));
    assert!(rotation.sync(day(61)).await, "the missing Secret is no error");
    assert!(has_vanished.load(Ordering::Relaxed));
    let after = world.secret_data().await;
    assert!(after.ca_key != before.ca_key && served(&rotation) == after.tls_crt);
}

#[tokio::test]
async fn a_missing_namespace_is_reported() {
    let world = World::start().await.configured().await;
    world.send(Method::DELETE, "/api/v1/namespaces/system", Value::Null).await.unwrap();
    let (mut rotation, _) = world.rotation();
    assert!(!rotation.sync(start()).await);
    assert_eq!(served(&rotation), "");
}
