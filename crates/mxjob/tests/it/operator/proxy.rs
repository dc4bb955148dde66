//! A connection between one operator and the API server that can fail in every way, and that
//! records all requests.
//!
//! ```text
//! operator ── HTTP, loopback ──▶ proxy: records, faults ── TLS ──▶ mxjob apiserver
//! ```
//!
//! It adds nothing to a request and passes the token on, so the operator's kubeconfig differs in
//! the address only.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;

use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use mxjob_testkit::{Body, BoxError, Link, Random};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::wait_until;

/// A listener in front of a [`Link`] to a server. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    link: Link,
    /// Whether all connections are cut and refused.
    is_down: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy without faults to the server of a kubeconfig.
    pub(crate) async fn to(kubeconfig: &Path, seed: u64) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.auth_info = AuthInfo::default();
        config.default_retry = false;
        let link = Link::to_client(Client::try_from(config).unwrap(), Random::new(seed));
        let is_down = watch::channel(false).0;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, link.clone(), is_down.clone()));
        Self { address, link, is_down, accepting }
    }

    /// A kubeconfig of this proxy for the owner of a token. JSON is YAML as well.
    pub(crate) fn kubeconfig(&self, token: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "through-the-proxy",
            "clusters": [{ "name": "it", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "it", "user": { "token": token } }],
            "contexts": [{ "name": "through-the-proxy", "context": { "cluster": "it", "user": "it" } }],
        })
        .to_string()
    }

    /// Cuts every connection and refuses new ones, or accepts them again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.send_replace(is_down);
    }

    /// Waits until no request except watches is in flight.
    pub(crate) fn wait_until_idle(&self) {
        wait_until("no request is in flight", || self.link.is_idle().then_some(()));
    }
}

impl Deref for Proxy {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.is_down.send_replace(true);
    }
}

async fn accept(listener: TcpListener, link: Link, is_down: watch::Sender<bool>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if !*is_down.borrow() {
            tokio::spawn(serve(stream, link.clone(), is_down.subscribe()));
        }
    }
}

async fn serve(stream: TcpStream, link: Link, mut is_down: watch::Receiver<bool>) {
    stream.set_nodelay(true).unwrap();
    let service = service_fn(|request| pass(link.clone(), request));
    let serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        _ = is_down.wait_for(|is_down| *is_down) => {}
    }
}

/// Passes a request on. An error ends the connection.
async fn pass(
    link: Link,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    link.send(http::Request::from_parts(parts, body)).await
}
