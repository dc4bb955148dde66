//! The state of an API server, and its commits.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use mxjob_access::authn::Authenticator;
use mxjob_access::authz::Authorizer;
use mxjob_store::{CommitError, Committed, Entry, Op, Store, Transaction};
use tokio::sync::watch;

use crate::admission::webhooks::Webhooks;
use crate::definitions::{self, Definitions};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::flow::Control;
use crate::health::Readiness;
use crate::node::NodeConnector;
use crate::registry::Registry;
use crate::strategy::Cluster;

/// Returns metrics in the OpenMetrics text format.
pub type Metrics = dyn Fn() -> String + Send + Sync;

/// The parts of an API server.
#[derive(Debug)]
pub struct Config {
    /// The store.
    pub store: Store,
    /// Time and randomness.
    pub environment: Arc<dyn Environment>,
    /// Authentication of callers.
    pub authenticator: Authenticator,
    /// The readiness checks shown on `/readyz`.
    pub readiness: Readiness,
}

/// Options of a server.
#[derive(Debug, Clone)]
pub struct Extensions {
    /// Whether MXJobs are built in, with the whole contract. Otherwise they are custom resources
    /// once their definition is installed, as on a cluster.
    pub built_in_mxjobs: bool,
    /// Addresses (`HOST:PORT`) of the services that webhooks use, by namespace and name: a single
    /// machine has no cluster network.
    pub webhook_services: BTreeMap<(String, String), String>,
    /// Whether a node that runs containers as processes of this machine runs the pods. Fields of
    /// pods that it does not honour are then refused, or answered with a warning
    /// ([`mxjob_machinery::pod_fields`]).
    pub process_node: bool,
}

impl Default for Extensions {
    fn default() -> Self {
        Self { built_in_mxjobs: true, webhook_services: BTreeMap::new(), process_node: false }
    }
}

/// The Kubernetes API over a store, as a tower service. A cheap handle.
#[derive(Debug, Clone)]
pub struct ApiServer(pub(crate) Arc<Inner>);

/// Decides at the moment of a commit whether it may take place.
pub(crate) type Condition = Box<dyn FnOnce(&Services) -> bool + Send>;

/// Shared state.
pub(crate) struct Inner {
    pub(crate) services: Arc<Services>,
    pub(crate) authenticator: Authenticator,
    pub(crate) readiness: Readiness,
    /// The source of `/metrics`, once connected.
    pub(crate) metrics: OnceLock<Arc<Metrics>>,
    /// The way to the node, once connected.
    pub(crate) node: OnceLock<Arc<dyn NodeConnector>>,
    /// How many requests are in flight, and whose turn it is.
    pub(crate) flow: Control,
    /// True once open watches must end.
    closing: watch::Sender<bool>,
}

/// The part of the state that verbs on objects use: the objects, their kinds, and what is asked
/// before a write.
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) authorizer: Authorizer,
    pub(crate) registry: Registry,
    definitions: Definitions,
    /// Whether a node of processes runs the pods.
    pub(crate) process_node: bool,
    /// The webhooks that are asked before a write.
    pub(crate) webhooks: Webhooks,
    /// Held while a definition is checked, stored and served, even if the client hangs up
    /// meanwhile. No remote call is made under it.
    definition_commit: Arc<tokio::sync::Mutex<()>>,
    /// Serializes creates in namespaces with quotas. Otherwise, each of many concurrent creates
    /// would conflict with the quota that another one wrote, and count again. No remote call is
    /// made under it.
    pub(crate) quota_turn: tokio::sync::Mutex<()>,
}

/// Becomes true when the server stops.
pub(crate) type Closing = watch::Receiver<bool>;

impl ApiServer {
    /// An API server over a store.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with(config, Extensions::default())
    }

    /// The same with options.
    #[must_use]
    pub fn with(config: Config, extensions: Extensions) -> Self {
        let Extensions { built_in_mxjobs, webhook_services, process_node } = extensions;
        let registry = Registry::new(built_in_mxjobs);
        let Config { store, environment, authenticator, readiness } = config;
        let authorizer = Authorizer::new(store.clone());
        let definitions = Definitions::default();
        definitions.refresh(&store, &registry);
        let services = Services {
            store,
            environment,
            authorizer,
            registry,
            definitions,
            process_node,
            webhooks: Webhooks::new(webhook_services),
            definition_commit: Arc::default(),
            quota_turn: tokio::sync::Mutex::default(),
        };
        Self(Arc::new(Inner {
            services: Arc::new(services),
            authenticator,
            readiness,
            metrics: OnceLock::new(),
            node: OnceLock::new(),
            flow: Control::new(),
            closing: watch::channel(false).0,
        }))
    }

    /// Connects the source of `/metrics`. Only the first call has an effect.
    pub fn connect_metrics(&self, metrics: Arc<Metrics>) {
        let _ = self.0.metrics.set(metrics);
    }

    /// Connects the node. Only the first call has an effect.
    pub fn connect_node(&self, node: Arc<dyn NodeConnector>) {
        let _ = self.0.node.set(node);
    }

    /// Ends all open watches and followed logs cleanly, so that connections can be drained.
    pub fn close_streams(&self) {
        self.0.closing.send_replace(true);
    }

    /// The kinds that are served.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.services.registry
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.services.store
    }
}

impl Inner {
    /// Becomes true when the server stops.
    pub(crate) fn closing(&self) -> Closing {
        self.closing.subscribe()
    }
}

impl Services {
    fn concerns_definition(operation: &Op) -> bool {
        match operation {
            Op::Put { key, .. } | Op::Delete { key, .. } => key.starts_with(definitions::PREFIX),
            Op::Check { .. } => false,
        }
    }

    /// Commits. A failed expectation is the inner error; anything else is an API error.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        transaction: Transaction,
    ) -> Result<Result<Committed, Option<Entry>>, ApiError> {
        self.commit_if(transaction, None).await
    }

    /// Commits if the condition holds. It is checked while no definition is stored, so it may
    /// depend on definitions and on nothing else. A failed condition is a failed expectation.
    pub(crate) async fn commit_if(
        self: &Arc<Self>,
        transaction: Transaction,
        condition: Option<Condition>,
    ) -> Result<Result<Committed, Option<Entry>>, ApiError> {
        let defines = transaction.0.iter().any(Self::concerns_definition);
        let outcome = if defines {
            match self.define(transaction, condition).await? {
                Some(outcome) => outcome,
                None => return Ok(Err(None)),
            }
        } else {
            self.store.commit(transaction).await
        };
        match outcome {
            Ok(committed) => Ok(Ok(committed)),
            Err(CommitError::Conflict { current, .. }) => Ok(Err(current)),
            Err(CommitError::Full) => Err(ApiError::too_many_requests(
                "too many writes are waiting for the disk, please try again later",
            )),
            Err(CommitError::Closed) => Err(ApiError::unavailable("the server is shutting down")),
            Err(error) => Err(ApiError::internal(error)),
        }
    }

    /// Commits a change of definitions and serves the result; `None` if the condition failed. The
    /// client may hang up meanwhile: otherwise what is served would not be what is stored.
    async fn define(
        self: &Arc<Self>,
        transaction: Transaction,
        condition: Option<Condition>,
    ) -> Result<Option<Result<Committed, CommitError>>, ApiError> {
        let turn = Arc::clone(&self.definition_commit).lock_owned().await;
        let services = Arc::clone(self);
        let work = tokio::spawn(async move {
            let _turn = turn;
            if condition.is_some_and(|holds| !holds(&services)) {
                return None;
            }
            let outcome = services.store.commit(transaction).await;
            if outcome.is_ok() {
                // Rules are compiled, which takes long for large definitions.
                let refreshed = tokio::task::spawn_blocking(move || {
                    services.definitions.refresh(&services.store, &services.registry);
                });
                if let Err(error) = refreshed.await {
                    tracing::error!(%error, "definitions could not be read");
                }
            }
            Some(outcome)
        });
        work.await.map_err(ApiError::internal)
    }
}

impl Cluster for Services {
    fn store(&self) -> &Store {
        &self.store
    }

    fn built_in_names(&self, group: &str) -> Vec<serde_json::Value> {
        self.registry.built_in_names(group)
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("store", &self.services.store).finish_non_exhaustive()
    }
}
