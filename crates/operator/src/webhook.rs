//! The admission webhook: the cluster's API server sends a review for each write of a job, and gets
//! the answer by the rules of [`mxjob_api`], with the same messages as from mxjob's own API server.
//!
//! ```text
//! API server ─TLS─▶ POST /validate: AdmissionReview ─▶ mxjob_api::review ─▶ AdmissionReview
//!                      ▲
//!                      └── certificate by `certificates`, exchanged while serving
//! ```
//!
//! Owns HTTP and its limits, but no rule about jobs. Every replica serves, leader or not.

mod body;
mod metrics;
mod service;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use mxjob_serve as serve;
use mxjob_serve::{Bound, Limits, ServeError};
use tokio::sync::watch;

use crate::certificates::{Installation, Resolver, Rotation};
use crate::manifests::{Part, Settings};
use crate::names::{WEBHOOK, WEBHOOK_CONFIGURATION, WEBHOOK_SECRET, WEBHOOK_SERVICE};

pub use metrics::Metrics;

/// How long new connections are accepted after a stop is requested: until every API server has seen
/// that this replica is not ready.
pub const LINGER: Duration = Duration::from_secs(5);
/// How long open requests may take after that; the cluster does not wait longer for an answer.
const DRAIN: Duration = Duration::from_secs(5);

/// Options of the webhook.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the operator was installed: the namespace of the Service and the Secret, and the flags
    /// for commands in messages.
    pub installed: Settings,
    /// The Service in front of the webhook; [`WEBHOOK_SERVICE`].
    pub service: String,
    /// The Secret with the certificates; [`WEBHOOK_SECRET`].
    pub secret: String,
    /// The ValidatingWebhookConfiguration by which the API server calls the webhook;
    /// [`WEBHOOK_CONFIGURATION`].
    pub configuration: String,
    /// How long to serve as before after a stop is requested; [`LINGER`] on a cluster.
    pub linger: Duration,
    /// The metrics; a handle.
    pub metrics: Metrics,
}

/// Why the webhook cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS library has an error.
    #[error("cannot set up TLS for the webhook")]
    Tls(#[source] rustls::Error),
    /// The socket cannot be used.
    #[error("cannot serve the webhook")]
    Serve(#[source] ServeError),
}

/// Serves reviews, and creates and renews its certificates, until `shutdown`.
///
/// `ready` turns true once handshakes can succeed, and false at the shutdown. No answer of the
/// cluster, nor a missing object, is an error: it is logged and retried.
///
/// # Errors
/// Where the socket or TLS cannot be used at all.
pub async fn run(
    client: Client,
    options: Options,
    bound: Bound,
    ready: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Options { installed, service, secret, configuration, linger, metrics } = options;
    let installation = Installation {
        install: installed.command(Part::Webhook),
        grant: installed.command(Part::Rbac),
        namespace: installed.namespace,
        service,
        secret,
        configuration,
        webhook: WEBHOOK.to_owned(),
    };
    let resolver = Arc::new(Resolver::default());
    let tls = Arc::clone(&resolver).server_config().map_err(Error::Tls)?;
    let rotation = Rotation::new(client, installation, resolver, metrics.clone());
    let stop = {
        let ready = ready.clone();
        async move {
            shutdown.await;
            ready.send_replace(false);
            tokio::time::sleep(linger).await;
        }
    };
    let reviews = service::ReviewService::new(metrics);
    // An API server has few connections with many requests on each, and keeps them busy. Idle
    // connections are closed soon; opening one again takes milliseconds.
    let limits = Limits {
        connections: 500,
        streams: 250,
        handshake: Duration::from_secs(5),
        first_request: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        head_bytes: 64 * 1024,
        ..Limits::default()
    };
    let serving = serve::serve(limits, bound, Some(Arc::new(tls)), reviews, stop, DRAIN);
    tokio::select! {
        ended = serving => ended.map(drop).map_err(Error::Serve),
        never = rotation.run(ready) => match never {},
    }
}

impl Default for Options {
    /// The default names in the default namespace.
    fn default() -> Self {
        Self {
            installed: Settings::default(),
            service: WEBHOOK_SERVICE.to_owned(),
            secret: WEBHOOK_SECRET.to_owned(),
            configuration: WEBHOOK_CONFIGURATION.to_owned(),
            linger: LINGER,
            metrics: Metrics::default(),
        }
    }
}

#[cfg(test)]
mod tests;
