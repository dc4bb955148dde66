//! A webhook for tests: HTTPS with a certificate of its own, answering as a function says.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

type Reply = Pin<Box<dyn Future<Output = Value> + Send>>;
type Judge = dyn Fn(Value) -> Reply + Send + Sync;

/// A running webhook; it ends with this handle.
pub struct Webhook {
    address: String,
    pem: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    serving: JoinHandle<()>,
}

impl Webhook {
    /// A webhook whose responses are what the function makes of a review.
    pub async fn start(judge: fn(&Value) -> Value) -> Self {
        Self::start_with(move |review| async move { judge(&review) }).await
    }

    /// A webhook that never answers.
    pub async fn silent() -> Self {
        Self::start_with(|_| std::future::pending()).await
    }

    pub async fn start_with<F>(judge: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Value> + Send + 'static,
    {
        let names = ["127.0.0.1", "hook.default.svc"].map(str::to_owned).to_vec();
        let own = rcgen::generate_simple_self_signed(names).unwrap();
        let pem = own.cert.pem();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let judge: Arc<Judge> = Arc::new(move |review| Box::pin(judge(review)));
        let serving = tokio::spawn(serve(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            Arc::clone(&asked),
            judge,
        ));
        Self { address, pem, asked, serving }
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub fn bundle(&self) -> String {
        BASE64_STANDARD.encode(&self.pem)
    }

    /// The reviews so far.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().iter().map(|(_, review)| review.clone()).collect()
    }

    /// The paths and queries so far.
    pub fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    judge: Arc<Judge>,
) {
    // Connections end with the webhook.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, asked, judge) = (acceptor.clone(), Arc::clone(&asked), Arc::clone(&judge));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request: Request<Incoming>| {
                let (asked, judge) = (Arc::clone(&asked), Arc::clone(&judge));
                async move { Ok::<_, Infallible>(answer(request, &asked, &*judge).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    asked: &Mutex<Vec<(String, Value)>>,
    judge: &Judge,
) -> Response<Full<Bytes>> {
    let path = request.uri().path_and_query().unwrap().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    asked.lock().unwrap().push((path, review.clone()));
    let mut response = json!({ "uid": review["request"]["uid"] });
    let judged = judge(review).await;
    response.as_object_mut().unwrap().extend(judged.as_object().unwrap().clone());
    let answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
    Response::new(Full::new(answer.to_string().into()))
}
