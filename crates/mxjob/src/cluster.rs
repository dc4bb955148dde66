//! A cluster that a kubeconfig names: how to connect to it, and whether it serves MXJobs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::Client;
use kube::api::ListParams;
use mxjob_api::mxjob;
use mxjob_machinery::error::{chain, root_cause};
use mxjob_machinery::names;
use mxjob_operator::client::Access;

use crate::exit::Failure;
use crate::follow::watches;

/// A reachable server accepts connections much faster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The flags that select a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Kubeconfig of the cluster [default: $KUBECONFIG, else the service account of the pod, else
    /// ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// A connection to a cluster.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// The same for creations. It never retries by itself: a creation that succeeded although its
    /// answer was lost must not be repeated under another generated name.
    pub(crate) creating: Client,
    /// The server's URL, for messages.
    pub(crate) shown: String,
    /// The default namespace of the context.
    pub(crate) namespace: String,
}

// === impl ClusterArgs ===

impl ClusterArgs {
    pub(crate) fn access(&self) -> Access {
        Access { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Reads the kubeconfig. Sends no request yet.
    pub(crate) async fn find(args: &ClusterArgs) -> Result<Self, Failure> {
        let found = args.access().find().await.map_err(|error| Failure::input(chain(&error)))?;
        let mut config = found.config;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let (shown, namespace) = (config.cluster_url.to_string(), config.default_namespace.clone());
        let mut once = config.clone();
        once.default_retry = false;
        let unusable = |error| match error {
            kube::Error::ProxyProtocolDisabled { proxy_url, .. } => Failure::input(format!(
                "the kubeconfig or $HTTPS_PROXY sets the proxy {proxy_url}, but mxjob does not support proxies"
            )),
            error => Failure::input(format!("cannot use the kubeconfig: {}", root_cause(&error))),
        };
        let client = Client::try_from(config).map_err(unusable)?;
        let creating = Client::try_from(once).map_err(unusable)?;
        Ok(Self { client, creating, shown: shown.trim_end_matches('/').to_owned(), namespace })
    }

    /// Checks that the cluster serves MXJobs and that we may list those of a namespace.
    pub(crate) async fn check_jobs(&self, namespace: &str) -> Result<(), Failure> {
        let one = ListParams::default().limit(1);
        match watches::jobs(&self.client, namespace).list(&one).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// The message and exit code for a failed request.
    pub(crate) fn failure(&self, error: &kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => self.rejection(status.code, &status.message),
            error => Failure::system(self.no_answer(error)),
        }
    }

    /// The same for a request that the server rejected.
    pub(crate) fn rejection(&self, code: u16, message: &str) -> Failure {
        let shown = &self.shown;
        Failure::system(match code {
            401 => format!("{shown} does not accept our credentials: {message}"),
            404 => format!(
                "{shown} does not serve {} of {}; an administrator can install it with `mxjob manifests | kubectl apply --server-side -f -`",
                mxjob::KIND,
                mxjob::API_VERSION
            ),
            _ => message.to_owned(),
        })
    }

    /// Why a request got no answer, as a message.
    pub(crate) fn no_answer(&self, error: &kube::Error) -> String {
        let shown = &self.shown;
        match error {
            kube::Error::SerdeError(_) => {
                format!("{shown} does not answer like a Kubernetes API server")
            }
            kube::Error::Auth(error) => format!("cannot log in to {shown}: {}", chain(error)),
            error => format!("cannot reach {shown}: {}", root_cause(error)),
        }
    }
}

/// The server's message, or the innermost cause of a request without an answer.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => root_cause(error),
    }
}

/// Checks the name of a namespace.
pub(crate) fn check_namespace(name: &str) -> Result<&str, Failure> {
    match names::dns1123_label(name).first() {
        None => Ok(name),
        Some(error) => {
            Err(Failure::input(format!("{name:?} is not a valid namespace name: {error}")))
        }
    }
}
