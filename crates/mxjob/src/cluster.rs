//! A cluster that is there already: the way to it, whether it knows MXJobs, and its objects as JSON.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Request;
use kube::Client;
use kube::api::ListParams;
use mxjob_api::mxjob;
use mxjob_machinery::names;
use mxjob_operator::client::Access;
use serde_json::Value;

use crate::exit::{Failure, chain, root};
use crate::follow::watches;

/// A server that is there answers much faster.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Objects that are read at once.
const PAGE: u32 = 500;

/// Which cluster is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// The kubeconfig that leads to the cluster [default: $KUBECONFIG, else the service account of the pod, else
    /// ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig instead of its current one
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// A cluster, and who we are there.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// The same for creations: it never asks twice by itself, since what was done though the answer says otherwise would be there twice.
    pub(crate) creating: Client,
    /// Where it is, for people.
    pub(crate) shown: String,
    /// The namespace of the context.
    pub(crate) namespace: String,
}

// === impl Cluster ===

impl Cluster {
    /// Finds the way to a cluster. Asks it nothing yet.
    pub(crate) async fn find(args: &ClusterArgs) -> Result<Self, Failure> {
        let access = Access { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
        let found = access.find().await.map_err(|error| Failure::input(chain(&error)))?;
        let mut config = found.config;
        config.connect_timeout = Some(CONNECT_LIMIT);
        let (shown, namespace) = (config.cluster_url.to_string(), config.default_namespace.clone());
        let mut once = config.clone();
        once.default_retry = false;
        let unusable = |error| match error {
            kube::Error::ProxyProtocolDisabled { proxy_url, .. } => Failure::input(format!(
                "the kubeconfig or $HTTPS_PROXY asks for the proxy {proxy_url}, and mxjob cannot use one"
            )),
            error => Failure::input(format!("cannot use the kubeconfig: {}", root(&error))),
        };
        let client = Client::try_from(config).map_err(unusable)?;
        let creating = Client::try_from(once).map_err(unusable)?;
        Ok(Self { client, creating, shown: shown.trim_end_matches('/').to_owned(), namespace })
    }

    /// Asks whether there are MXJobs on the cluster, and whether we may see those of a namespace.
    pub(crate) async fn has_jobs(&self, namespace: &str) -> Result<(), Failure> {
        let one = ListParams::default().limit(1);
        match watches::jobs(&self.client, namespace).list(&one).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.said(&error)),
        }
    }

    /// All objects of a collection.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, kube::Error> {
        let mut items = Vec::new();
        let mut query = format!("?limit={PAGE}");
        loop {
            let mut list = match self.get(&format!("{path}{query}")).await {
                Ok(list) => list,
                // The list grew too old while it was read in pages: once more, as a whole.
                Err(kube::Error::Api(status)) if status.code == 410 && !query.is_empty() => {
                    items.clear();
                    query.clear();
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Value::Array(page) = list["items"].take() {
                items.extend(page);
            }
            match list["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => {
                    query = format!("?limit={PAGE}&continue={}", encoded(token));
                }
                _ => return Ok(items),
            }
        }
    }

    /// One object, or whatever else answers a GET.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, kube::Error> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }

    /// Why the cluster does not let us.
    pub(crate) fn said(&self, error: &kube::Error) -> Failure {
        let place = &self.shown;
        Failure::system(match error {
            kube::Error::Api(status) if status.code == 401 => {
                format!("{place} does not know who we are: {}", status.message)
            }
            kube::Error::Api(status) if status.code == 404 => format!(
                "{place} has no {} of {}; whoever administers it puts it there with `mxjob manifests | kubectl apply --server-side -f -`",
                mxjob::KIND,
                mxjob::API_VERSION
            ),
            kube::Error::Api(status) => status.message.clone(),
            kube::Error::SerdeError(_) => {
                format!("{place} does not answer as a Kubernetes API server")
            }
            kube::Error::Auth(error) => format!("cannot log in to {place}: {}", chain(error)),
            error => format!("cannot reach {place}: {}", root(error)),
        })
    }
}

/// A value in a query. Tokens are opaque, and some have `=` or `+` in them.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Checks the name of a namespace.
pub(crate) fn check_namespace(name: &str) -> Result<&str, Failure> {
    match names::dns1123_label(name).first() {
        None => Ok(name),
        Some(fault) => {
            Err(Failure::input(format!("{name:?} cannot be the name of a namespace: {fault}")))
        }
    }
}
