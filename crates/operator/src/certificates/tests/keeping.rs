//! The shell: the Secret, the configuration and what is served, on a real API server.

use super::*;
use crate::certificates::{Keeper, Place, Resolver};
use crate::webhook::Metrics;
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use mxjob_access::identity::Identity;
use mxjob_apiserver::ApiServer;
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tower_service::Service;

const SECRETS: &str = "/api/v1/namespaces/system/secrets";
const SECRET: &str = "/api/v1/namespaces/system/secrets/certificate";
const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/jobs";

struct World {
    api: ApiServer,
    client: Client,
    _dir: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let (api, dir) = crate::testing::api_server().await;
        let client = Client::new(api.connector(Identity::admin(), "operator"), "default");
        let world = Self { api, client, _dir: dir };
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

    fn keeper(&self) -> (Keeper, Arc<Resolver>) {
        self.keeper_as(Identity::admin())
    }

    fn keeper_as(&self, who: Identity) -> (Keeper, Arc<Resolver>) {
        Self::keeper_by(Client::new(self.api.connector(who, "operator"), "default"))
    }

    fn keeper_by(client: Client) -> (Keeper, Arc<Resolver>) {
        let resolver = Arc::new(Resolver::default());
        let place = Place {
            namespace: "system".to_owned(),
            service: "hook".to_owned(),
            secret: "certificate".to_owned(),
            configuration: "jobs".to_owned(),
            webhook: "validate.example.com".to_owned(),
            install: "print the webhook".to_owned(),
            grant: "print the rights".to_owned(),
        };
        let metrics = Metrics::default();
        (Keeper::new(client, place, Arc::clone(&resolver), metrics), resolver)
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Result<Value, kube::Error> {
        let media = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = Request::builder().method(method).uri(path).header("Content-Type", media);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.client.request(request.body(body).unwrap()).await
    }

    async fn make(&self, path: &str, object: Value) -> Value {
        self.send(Method::POST, path, object).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, Value::Null).await.unwrap()
    }

    async fn material(&self) -> Material {
        Material::of_data(&self.get(SECRET).await["data"])
    }

    /// What the API server trusts of our webhook.
    async fn bundle(&self) -> String {
        let configuration = self.get(CONFIGURATION).await;
        let bundle = configuration["webhooks"][1]["clientConfig"]["caBundle"].clone();
        Material::of_data(&json!({ "ca.crt": bundle })).ca_crt
    }
}

/// The PEM text of what handshakes get, as the keeper notes it.
fn shown(keeper: &Keeper) -> &str {
    keeper.served().unwrap_or_default()
}

#[tokio::test]
async fn the_first_replica_makes_the_secret_and_the_others_take_it() {
    let world = World::start().await.configured().await;
    let (mut first, _) = world.keeper();
    assert!(first.round(start()).await);
    let material = world.material().await;
    assert_eq!(judge(Some(&material), &first.names(), None, start()), Verdict::Keep);
    assert!(world.bundle().await == material.ca_crt);
    let secret = world.get(SECRET).await;
    assert_eq!(secret["type"], "kubernetes.io/tls");
    let configuration = world.get(CONFIGURATION).await;

    let (mut second, _) = world.keeper();
    assert!(second.round(day(1)).await && first.round(day(1)).await);
    assert_eq!(world.get(SECRET).await, secret, "nothing is written where nothing is to be done");
    assert_eq!(world.get(CONFIGURATION).await, configuration);
    assert!(shown(&first) == material.tls_crt && shown(&second) == material.tls_crt);
}

#[tokio::test]
async fn replicas_that_start_at_once_end_up_with_one_certificate() {
    let world = World::start().await.configured().await;
    let mut keepers: Vec<_> = (0..6).map(|_| world.keeper().0).collect();
    let rounds = keepers.iter_mut().map(|keeper| keeper.round(start()));
    assert_eq!(futures_util::future::join_all(rounds).await, [true; 6]);
    let material = world.material().await;
    assert!(keepers.iter().all(|keeper| shown(keeper) == material.tls_crt));
    assert!(world.bundle().await == material.ca_crt);
}

#[tokio::test]
async fn a_renewal_by_one_replica_is_served_by_all() {
    let world = World::start().await.configured().await;
    let (mut first, _) = world.keeper();
    let (mut second, _) = world.keeper();
    first.round(start()).await;
    second.round(start()).await;
    let before = world.material().await;
    let label =
        json!({ "metadata": { "labels": { "team": "a" } }, "data": { "note": "bm90ZQ==" } });
    world.send(Method::PATCH, SECRET, label).await.unwrap();
    assert!(first.round(day(61)).await && second.round(day(61)).await);
    let after = world.material().await;
    assert!(before.ca_crt == after.ca_crt && before.tls_crt != after.tls_crt);
    assert!(shown(&first) == after.tls_crt && shown(&second) == after.tls_crt);
    let secret = world.get(SECRET).await;
    assert_eq!(secret["metadata"]["labels"]["team"], "a", "what is not ours stays");
    assert_eq!(secret["data"]["note"], "bm90ZQ==");
}

#[tokio::test]
async fn the_bundle_has_both_authorities_before_the_new_one_signs() {
    let world = World::start().await.configured().await;
    let (mut keeper, _) = world.keeper();
    let late = day(9 * 365 + 1);
    world.make(SECRETS, secret_of(&looked_after(late))).await;
    assert!(keeper.round(late).await);
    let both = world.material().await;
    assert_eq!(both.ca_crt.matches("BEGIN").count(), 2);
    assert!(world.bundle().await == both.ca_crt);
}

/// An installation of the first day with a new certificate.
fn looked_after(now: Timestamp) -> Material {
    let verdict = Verdict::RenewCertificate(Why::Due);
    let hook = ["hook.system.svc", "hook.system.svc.cluster.local", "hook.system", "hook"];
    let hook = hook.map(str::to_owned);
    carry_out(verdict, Some(&made(start())), &hook, None, now).unwrap().1
}

fn secret_of(material: &Material) -> Value {
    let mut data = serde_json::Map::new();
    material.write(&mut data);
    json!({ "metadata": { "name": "certificate" }, "type": "kubernetes.io/tls", "data": data })
}

#[tokio::test]
async fn a_broken_or_foreign_secret_is_replaced() {
    for data in [json!({}), json!({ "tls.crt": "aGVsbG8=", "tls.key": "aGVsbG8=" })] {
        let world = World::start().await.configured().await;
        let secret =
            json!({ "metadata": { "name": "certificate" }, "type": "Opaque", "data": data });
        world.make(SECRETS, secret).await;
        let (mut keeper, _) = world.keeper();
        assert!(keeper.round(start()).await);
        assert!(shown(&keeper) == world.material().await.tls_crt);
        assert!(world.bundle().await == world.material().await.ca_crt);
    }
}

#[tokio::test]
async fn a_secret_that_may_not_be_changed_is_no_reason_to_stop() {
    let world = World::start().await.configured().await;
    let (mut keeper, _) = world.keeper();
    keeper.round(start()).await;
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
    let (mut limited, _) = world.keeper_as(Identity::new("reader", "", []));
    assert!(!limited.round(day(61)).await, "it is said");
    let before = world.material().await.tls_crt;
    assert_eq!(shown(&limited), before, "and what is good is served on");
    assert!(keeper.round(day(61)).await, "a replica that may renews it");
    assert!(limited.round(day(61)).await);
    assert_ne!(shown(&limited), before);
}

#[tokio::test]
async fn a_missing_configuration_is_no_failure_and_one_that_comes_later_is_served() {
    let world = World::start().await;
    let (mut keeper, _) = world.keeper();
    assert!(keeper.round(start()).await);
    assert!(!shown(&keeper).is_empty());
    let world = world.configured().await;
    assert!(keeper.round(start()).await);
    assert!(world.bundle().await == world.material().await.ca_crt);
    let other = world.get(CONFIGURATION).await["webhooks"][0].clone();
    assert!(other["clientConfig"].get("caBundle").is_none_or(|bundle| bundle == ""), "{other}");
}

#[tokio::test]
async fn a_bundle_that_somebody_took_out_is_put_back_and_their_other_changes_stay() {
    let world = World::start().await.configured().await;
    let (mut keeper, _) = world.keeper();
    keeper.round(start()).await;
    let mut configuration = world.get(CONFIGURATION).await;
    configuration["webhooks"][1]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    configuration["webhooks"][1]["failurePolicy"] = "Ignore".into();
    world.send(Method::PUT, CONFIGURATION, configuration).await.unwrap();
    assert!(keeper.round(start()).await);
    assert!(world.bundle().await == world.material().await.ca_crt);
    assert_eq!(world.get(CONFIGURATION).await["webhooks"][1]["failurePolicy"], "Ignore");
}

#[tokio::test]
async fn a_deleted_secret_is_made_anew_and_other_replicas_are_trusted_until_they_have_seen_it() {
    let world = World::start().await.configured().await;
    let (mut first, _) = world.keeper();
    let (mut second, _) = world.keeper();
    assert!(first.round(start()).await && second.round(start()).await);
    let before = world.material().await;
    world.send(Method::DELETE, SECRET, Value::Null).await.unwrap();
    assert!(first.round(start()).await);
    assert!(shown(&second) == before.tls_crt && shown(&first) != before.tls_crt);
    let bundle = world.bundle().await;
    assert!(bundle.ends_with(&before.ca_crt) && bundle.len() > before.ca_crt.len());
    assert!(second.round(start()).await);
    assert!(shown(&second) == shown(&first));
}

/// Deletes the Secret right before the first time that it is replaced.
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
async fn a_secret_that_is_deleted_while_it_is_renewed_is_made_anew_at_once() {
    let world = World::start().await.configured().await;
    world.keeper().0.round(start()).await;
    let before = world.material().await;
    let inner = world.api.connector(Identity::admin(), "operator");
    let (client, has_vanished) = (world.client.clone(), Arc::new(AtomicBool::new(false)));
    let service = Vanishing { inner, client, has_vanished: Arc::clone(&has_vanished) };
    let (mut keeper, _) = World::keeper_by(Client::new(service, "default"));
    assert!(keeper.round(day(61)).await, "nothing is wrong with the namespace");
    assert!(has_vanished.load(Ordering::Relaxed));
    let after = world.material().await;
    assert!(after.ca_key != before.ca_key && shown(&keeper) == after.tls_crt);
}

#[tokio::test]
async fn a_missing_namespace_is_said_and_tried_again() {
    let world = World::start().await.configured().await;
    world.send(Method::DELETE, "/api/v1/namespaces/system", Value::Null).await.unwrap();
    let (mut keeper, _) = world.keeper();
    assert!(!keeper.round(start()).await);
    assert_eq!(shown(&keeper), "");
}
