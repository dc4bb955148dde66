//! The admission webhook: a cluster's API server asks whether a job may be written, and is answered by the rules of
//! [`mxjob_api`], in the same words as the API server of one machine has for them.
//!
//! ```text
//! API server ─TLS─▶ POST /validate: AdmissionReview ─▶ mxjob_api::review ─▶ AdmissionReview
//!                      ▲
//!                      └── certificate by `certificates`, exchanged while serving
//! ```
//!
//! Owns HTTP and its limits. Never does: decide which jobs are accepted. Every replica serves, whoever leads.

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

use crate::certificates::{Keeper, Place, Resolver};
use crate::manifests::{Part, Settings};

pub use metrics::Metrics;

/// The usual name of the Service.
pub const SERVICE: &str = "mxjob-webhook";
/// The usual name of the Secret with the certificates.
pub const SECRET: &str = "mxjob-webhook-certificate";
/// The usual name of the ValidatingWebhookConfiguration.
pub const CONFIGURATION: &str = "mxjob";
/// The name of the webhook in it.
pub const WEBHOOK: &str = "validate.mxjobs.kubeflow.org";
/// The path that reviews are sent to.
pub const PATH: &str = "/validate";

/// How long a stop goes on taking new connections: until the last API server has heard that this replica is no longer ready.
pub const LINGER: Duration = Duration::from_secs(5);
/// How long open requests may take after that; the cluster waits no longer for an answer.
const DRAIN: Duration = Duration::from_secs(5);

/// Who the webhook is, and how it behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the operator was installed. Its namespace is that of the Service and the Secret, and advice in the log is to keep to it.
    pub installed: Settings,
    /// The Service that leads here; [`SERVICE`].
    pub service: String,
    /// The Secret with the certificates; [`SECRET`].
    pub secret: String,
    /// The ValidatingWebhookConfiguration that leads the cluster's API server here; [`CONFIGURATION`].
    pub configuration: String,
    /// How long to go on as before after a stop was asked for; [`LINGER`] on a cluster.
    pub linger: Duration,
    /// What is counted; a handle.
    pub metrics: Metrics,
}

/// Why the webhook cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS library refuses.
    #[error("cannot set up TLS for the webhook")]
    Tls(#[source] rustls::Error),
    /// The socket cannot be used.
    #[error("cannot serve the webhook")]
    Serve(#[source] ServeError),
}

/// Serves reviews, and makes and renews the certificates for that, until the shutdown is asked for.
///
/// `ready` turns true once handshakes can succeed, and false at the shutdown. Nothing that the cluster says or lacks is an
/// error: it is said in the log and tried again.
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
    let place = Place {
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
    let keeper = Keeper::new(client, place, resolver, metrics.clone());
    let stop = {
        let ready = ready.clone();
        async move {
            shutdown.await;
            ready.send_replace(false);
            tokio::time::sleep(linger).await;
        }
    };
    let reviews = service::Reviews::new(metrics);
    // An API server has a few connections and many requests on each.
    // It keeps those that it has, so a stranger's are closed soon; one that is needed again is made anew within milliseconds.
    let limits = Limits {
        connections: 500,
        streams: 250,
        handshake: Duration::from_secs(5),
        first_request: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        head_bytes: 64 * 1024,
        ..Limits::default()
    };
    let serving = serve::serve_within(limits, bound, Some(Arc::new(tls)), reviews, stop, DRAIN);
    tokio::select! {
        ended = serving => ended.map(drop).map_err(Error::Serve),
        never = keeper.keep(ready) => match never {},
    }
}

impl Default for Options {
    /// The usual names in the usual namespace.
    fn default() -> Self {
        Self {
            installed: Settings::default(),
            service: SERVICE.to_owned(),
            secret: SECRET.to_owned(),
            configuration: CONFIGURATION.to_owned(),
            linger: LINGER,
            metrics: Metrics::default(),
        }
    }
}

#[cfg(test)]
mod tests;
