//! The webhook as an API server calls it: over TLS, by the name of its Service, trusting the bundle
//! of the configuration.

use base64::Engine as _;
use http::Method;
use jiff::Timestamp;
use mxjob_client::request::{self, JSON};
use mxjob_testkit::Server;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::*;
use crate::manifests;
use crate::names::{NAMESPACE, WEBHOOK_PATH};

/// Far longer than any step takes.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// A cluster with the webhook's objects.
struct Cluster {
    client: Client,
}

impl Cluster {
    async fn start() -> Self {
        let cluster = Self { client: Server::new().client() };
        let objects = manifests::parts(&Settings::default(), &[Part::Namespace, Part::Webhook]);
        for object in objects {
            let path = match object["kind"].as_str().unwrap() {
                "Namespace" => "/api/v1/namespaces".to_owned(),
                "Service" => format!("/api/v1/namespaces/{NAMESPACE}/services"),
                _ => CONFIGURATIONS.to_owned(),
            };
            cluster.call("POST", &path, &object).await;
        }
        cluster
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (method, body) = (method.parse().unwrap(), (!body.is_null()).then_some(body));
        request::send(&self.client, method, path, JSON, body).await.unwrap()
    }

    /// A client like the API server: by the name of the Service, trusting the configuration's
    /// current bundle.
    async fn caller(&self, port: u16) -> Client {
        let path = format!("{CONFIGURATIONS}/{WEBHOOK_CONFIGURATION}");
        let configuration = self.call("GET", &path, &Value::Null).await;
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
        let pem = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap();
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let url = format!("https://127.0.0.1:{port}").parse().unwrap();
        let mut config = kube::Config::new(url);
        config.root_cert = Some(roots.unwrap().iter().map(|der| der.to_vec()).collect());
        config.tls_server_name = Some(format!("{WEBHOOK_SERVICE}.{NAMESPACE}.svc"));
        Client::try_from(config).unwrap()
    }
}

/// Whether a review of a job without a spec is answered with a refusal.
async fn is_answered(caller: &Client) -> bool {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "operation": "CREATE",
            "resource": { "group": "kubeflow.org", "version": "v1", "resource": "mxjobs" },
            "object": {},
        },
    });
    let path = format!("{WEBHOOK_PATH}?timeout=5s");
    let answer = request::send(caller, Method::POST, &path, JSON, Some(&review)).await;
    answer.is_ok_and(|answer| answer["response"]["allowed"] == false)
}

fn local() -> Bound {
    serve::bind(([127, 0, 0, 1], 0).into()).unwrap()
}

#[tokio::test]
async fn an_api_server_that_trusts_the_configuration_gets_answers_until_the_stop() {
    let cluster = Cluster::start().await;
    let bound = local();
    let port = bound.local_addr().port();
    let (ready, mut is_ready) = watch::channel(false);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let metrics = Metrics::default();
    let options =
        Options { linger: Duration::ZERO, metrics: metrics.clone(), ..Options::default() };
    let running = tokio::spawn(run(cluster.client.clone(), options, bound, ready, async {
        let _ = stopped.await;
    }));
    tokio::time::timeout(STEP_TIMEOUT, is_ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
    let caller = cluster.caller(port).await;
    assert!(is_answered(&caller).await);
    let text = metrics.encode();
    let counted = "review_duration_seconds_count{operation=\"create\",allowed=\"false\"} 1";
    assert!(text.contains(counted), "{text}");
    assert!(!text.contains("expiry_timestamp_seconds 0.0"), "{text}");

    stop.send(()).unwrap();
    tokio::time::timeout(STEP_TIMEOUT, running).await.unwrap().unwrap().unwrap();
    assert!(!*is_ready.borrow(), "it is no longer ready");
    assert!(!is_answered(&cluster.caller(port).await).await);
}

#[tokio::test]
async fn certificates_are_exchanged_while_serving() {
    let cluster = Cluster::start().await;
    let resolver = Arc::new(Resolver::default());
    let tls = Arc::new(Arc::clone(&resolver).server_config().unwrap());
    let installation = Installation {
        namespace: NAMESPACE.to_owned(),
        service: WEBHOOK_SERVICE.to_owned(),
        secret: WEBHOOK_SECRET.to_owned(),
        configuration: WEBHOOK_CONFIGURATION.to_owned(),
        webhook: WEBHOOK.to_owned(),
        install: String::new(),
        grant: String::new(),
    };
    let metrics = Metrics::default();
    let mut rotation =
        Rotation::new(cluster.client.clone(), installation, resolver, metrics.clone());
    let bound = local();
    let port = bound.local_addr().port();
    let reviews = service::ReviewService::new(metrics);
    let serving = serve::serve(
        Limits::default(),
        bound,
        Some(tls),
        reviews,
        std::future::pending(),
        Duration::ZERO,
    );
    let serving = tokio::spawn(serving);

    let now = Timestamp::now();
    assert!(rotation.sync(now).await);
    let first = cluster.caller(port).await;
    assert!(is_answered(&first).await);

    // The hardest case: nothing is left of the old Secret.
    let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{WEBHOOK_SECRET}");
    cluster.call("DELETE", &secret, &Value::Null).await;
    assert!(rotation.sync(now).await, "another authority altogether");
    assert!(is_answered(&first).await, "an existing connection keeps its certificate");
    let second = cluster.caller(port).await;
    assert!(is_answered(&second).await, "a new one gets the new certificate");
    serving.abort();
}

#[tokio::test]
async fn a_request_that_is_refused_before_its_body_was_read_gets_its_status_by_both_protocols() {
    const TRIES: usize = 100;
    let cluster = Cluster::start().await;
    let bound = local();
    let port = bound.local_addr().port();
    let (ready, mut is_ready) = watch::channel(false);
    let serving = run(cluster.client, Options::default(), bound, ready, std::future::pending());
    let serving = tokio::spawn(serving);
    tokio::time::timeout(STEP_TIMEOUT, is_ready.wait_for(|ready| *ready)).await.unwrap().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let (small, large) = (16, body::MAX_BODY_BYTES + 1024);
    for size in [small, large] {
        std::fs::write(dir.path().join(size.to_string()), vec![b'x'; size]).unwrap();
    }
    for (status, method, path, media, size) in [
        (404, "POST", "/other", "application/json", small),
        (404, "POST", "/other", "application/json", large),
        (405, "PUT", WEBHOOK_PATH, "application/json", small),
        (405, "PUT", WEBHOOK_PATH, "application/json", large),
        (413, "POST", WEBHOOK_PATH, "application/json", large),
        (415, "POST", WEBHOOK_PATH, "text/plain", small),
        (415, "POST", WEBHOOK_PATH, "text/plain", large),
    ] {
        for protocol in ["--http1.1", "--http2"] {
            let mut curl = tokio::process::Command::new("curl");
            curl.current_dir(dir.path()).args(["--silent", "--insecure", "--max-time", "30"]);
            curl.args([protocol, "--request", method, "--data-binary", &format!("@{size}")]);
            curl.args(["--header", &format!("Content-Type: {media}")]);
            // curl keeps connections apart by the name of the host.
            curl.args(["--connect-to", &format!("::127.0.0.1:{port}")]);
            curl.args(["--output", "/dev/null", "--write-out", "%{http_code}\n"]);
            curl.arg(format!("https://webhook-[1-{}].test{path}?try=[1-2]", TRIES / 2));
            let output = curl.output().await.expect("curl, which `cargo xtask test` installs");
            let found = String::from_utf8(output.stdout).unwrap();
            let wrong = found.lines().filter(|line| *line != status.to_string()).count();
            let case = format!("{status} {method} {path} {protocol} with {size} bytes");
            assert_eq!((found.lines().count(), wrong), (TRIES, 0), "{case}");
        }
    }
    serving.abort();
}
