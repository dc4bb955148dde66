//! A server in this process: its parts, the order in which they start, and the order in which they
//! stop.
//!
//! ```text
//! lock ─▶ listen ─▶ store, keys, tokens ─▶ default objects
//!      ─▶ serving, manager ─▶ controller, node ─▶ kubeconfig
//! ```
//!
//! Manager, controller and node agent are API clients that call the server in memory. A part that
//! exits unexpectedly ends the whole server: a server with missing parts would look healthy.

mod connect;
mod logs;
mod pods;
mod usage;
mod volumes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tls;
use mxjob_access::tls::Pki;
use mxjob_access::tokens::{self, ServiceAccounts, Token, Tokens};
use mxjob_apiserver::environment::System;
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config, Extensions, expiry, kubeconfig};
use mxjob_machinery::error::chain;
use mxjob_manager as manager;
use mxjob_serve as serve;
use mxjob_store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::exit::Failure;
use crate::lock::Lock;
use crate::output;
use crate::process;
use crate::settings::{NodeSettings, Settings};

/// Time that open requests get to finish when the server stops. `kubectl` needs less, and a stuck
/// client must not delay the stop until a service manager kills the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that the other parts get after that.
const PARTS_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    settings: Settings,
    api: ApiServer,
    address: SocketAddr,
    /// The certificates of the server's authority, as PEM.
    authority: Arc<str>,
    parts: JoinSet<Ended>,
    stop: watch::Sender<bool>,
    /// Released last, when all parts have stopped.
    _lock: Lock,
}

/// The name of a part that has ended, and its result.
type Ended = (&'static str, Result<(), String>);

/// The state after a stop.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// Pods that keep running.
    pub(crate) pods: usize,
}

// === impl Server ===

impl Server {
    /// Starts all parts, and then writes the kubeconfig. After a failure nothing is left running.
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let dir = &settings.data_dir;
        // First, so that invalid input changes nothing on disk.
        let tokens = users(settings.token_file.as_deref())?;
        dir.create()?;
        // Closing any descriptor of the lock's file would end the lock.
        dir.make_private()?;
        let lock = Lock::take(dir.path(), &dir.lock()).map_err(|error| Failure::of(&error))?;
        dir.remove_kubeconfig()?;
        let bound = serve::bind(settings.listen).map_err(|error| Failure::of(&error))?;
        let address = bound.local_addr();
        let (store, keys) = open(&settings, address.ip(), tokens).await?;
        let environment = Arc::new(System);
        let accounts = ServiceAccounts::new(
            keys.pki.token_key.clone(),
            store.clone(),
            Arc::<System>::clone(&environment),
        );
        let config = Config {
            store,
            environment,
            authenticator: Authenticator::new(keys.tokens)
                .with_clients(keys.pki.clients.clone())
                .with_service_accounts(accounts),
            readiness: Readiness::new(),
        };
        let process_node = settings.node.is_some();
        let extensions = Extensions { process_node, ..settings.extensions.clone() };
        let api = ApiServer::with(config, extensions);
        api.bootstrap().await.map_err(|error| Failure::of(&error))?;

        let (stop, stopped) = watch::channel(false);
        let authority = keys.pki.ca_pem.as_str().into();
        let parts = JoinSet::new();
        let mut server = Self { settings, api, address, authority, parts, stop, _lock: lock };
        server.spawn_serving(bound, &keys.pki, stopped);
        server.start_manager();
        let publisher = server.api.clone().publish(address, server.stopped());
        server.spawn("publisher of the server's own service", async {
            publisher.await;
            Ok(())
        });
        if let Some(node) = &server.settings.node {
            let node = node.clone();
            let handle = server.start_node(&node)?;
            server.start_volumes();
            server.start_controller(handle);
        }
        kubeconfig::write(
            &server.settings.data_dir.kubeconfig(),
            &server.url(),
            &keys.pki.ca_pem,
            keys.admin.expose(),
        )
        .map_err(|error| Failure::of(&error))?;
        Ok(server)
    }

    /// The settings of the server.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The URL for clients on this machine.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.local_address())
    }

    /// The address for clients on this machine.
    fn local_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// A client that calls the server in memory as `identity`.
    pub(crate) fn client(&self, identity: Identity, user_agent: &str) -> kube::Client {
        kube::Client::new(self.api.connector(identity, user_agent), "default")
    }

    /// Waits until the store fails or a part ends. Cancellation safe.
    pub(crate) async fn failed(&mut self) -> Failure {
        tokio::select! {
            failure = self.api.store().failure() => Failure::at_root(&failure),
            Some(ended) = self.parts.join_next() => match ended {
                Ok((part, Ok(()))) => Failure::system(format!("the {part} exited unexpectedly")),
                Ok((part, Err(error))) => Failure::system(format!("the {part} failed: {error}")),
                Err(error) => Failure::system(format!("a server task panicked: {error}")),
            },
        }
    }

    /// Stops the server; pods keep running.
    pub(crate) async fn stop(mut self) -> Stopped {
        self.stop.send_replace(true);
        // Open watches would keep their connections until the deadline.
        self.api.close_streams();
        let finished = async {
            while let Some(ended) = self.parts.join_next().await {
                if let Ok((part, Err(error))) = ended {
                    tracing::warn!(part, error, "a part of the server failed while stopping");
                }
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT + PARTS_TIMEOUT, finished).await.is_err() {
            tracing::warn!("parts of the server did not stop in time and were aborted");
            self.parts.shutdown().await;
        }
        let store = self.api.store().clone();
        let node = self.settings.data_dir.node();
        let ended = tokio::task::spawn_blocking(move || {
            store.close();
            pods::running(&node)
        });
        Stopped { pods: ended.await.unwrap_or_default() }
    }

    /// Starts the controllers of the manager as API clients, and the API server's own.
    fn start_manager(&mut self) {
        let client = |server: &Self, account: &str| {
            server.client(Identity::service_account(manager::NAMESPACE, account, ""), account)
        };
        if self.settings.garbage_collection {
            let client = client(self, manager::garbage::ACCOUNT);
            // Without a node agent, clients may simulate nodes that do not exist.
            let quarantine =
                self.settings.node.as_ref().map(|_| manager::garbage::ORPHAN_QUARANTINE);
            let collector = manager::garbage::run(client, quarantine, self.stopped());
            self.spawn_endless("garbage collector", collector);
            let definitions = self.api.clone().finalize_definitions(self.stopped());
            self.spawn_endless("definitions controller", definitions);
        }
        let endpoints =
            manager::endpoints::run(client(self, manager::endpoints::ACCOUNT), self.stopped());
        self.spawn("endpoints controller", async {
            endpoints.await;
            Ok(())
        });
        let roles = manager::roles::run(client(self, manager::roles::ACCOUNT), self.stopped());
        self.spawn_endless("roles controller", roles);
        let accounts =
            manager::accounts::run(client(self, manager::accounts::ACCOUNT), self.stopped());
        self.spawn_endless("service account controller", accounts);
        if self.settings.node.is_some() {
            let client = client(self, manager::nodes::ACCOUNT);
            let limits = manager::nodes::Limits::default();
            self.spawn_endless(
                "node controller",
                manager::nodes::run(client, limits, self.stopped()),
            );
            self.start_services_of_pods();
        }
    }

    /// Starts the controllers of what pods find in their namespace.
    fn start_services_of_pods(&mut self) {
        let client = |server: &Self, account: &str| {
            server.client(Identity::service_account(manager::NAMESPACE, account, ""), account)
        };
        let publisher = manager::root_ca::run(
            client(self, manager::root_ca::ACCOUNT),
            self.authority.to_string(),
            self.stopped(),
        );
        self.spawn_endless("publisher of the server's certificates", publisher);
        let claims =
            manager::ephemeral::run(client(self, manager::ephemeral::ACCOUNT), self.stopped());
        self.spawn_endless("ephemeral volume controller", claims);
    }

    /// Starts the controller of volumes, whose folders are in the data directory.
    fn start_volumes(&mut self) {
        let account = manager::volumes::ACCOUNT;
        let identity = Identity::service_account(manager::NAMESPACE, account, "");
        let folders = Arc::new(volumes::VolumeFolders(self.settings.data_dir.volumes()));
        let binder = manager::volumes::run(self.client(identity, account), folders, self.stopped());
        self.spawn("volume controller", async {
            binder.await;
            Ok(())
        });
    }

    /// Starts the controller as an API client, and shows its metrics and the node's.
    fn start_controller(&mut self, node: mxjob_node::Handle) {
        let client = self.client(Identity::controller(), "mxjob-controller");
        let stopped = self.stopped();
        let metrics = mxjob_controller::Metrics::default();
        let shown = metrics.clone();
        self.api.connect_metrics(Arc::new(move || node.metrics() + &shown.encode()));
        self.spawn("controller", async move {
            let options = mxjob_controller::Options {
                gang: mxjob_controller::Gang::Native,
                metrics,
                process_node: true,
                ..mxjob_controller::Options::default()
            };
            mxjob_controller::run(client, options, stopped).await.map_err(|error| chain(&error))
        });
    }

    /// Starts the node agent as an API client, and connects the API server to it for logs,
    /// commands and usage.
    fn start_node(&mut self, settings: &NodeSettings) -> Result<mxjob_node::Handle, Failure> {
        let NodeSettings { name, workdir, umask, extended_resources, run_as, logs, pod_pids_limit } =
            settings.clone();
        let defaults = mxjob_node::Config::new(self.settings.data_dir.node())
            .map_err(|error| Failure::doing("cannot find the program's executable file", &error))?;
        let name = self.settings.data_dir.node_name(name, defaults.node_name)?;
        let client = self.client(Identity::node(&name), "mxjob-node");
        let node_name = name.clone();
        let mut config = mxjob_node::Config { node_name, workdir, extended_resources, ..defaults };
        config.run_as = run_as;
        if let Some(limit) = pod_pids_limit {
            config.pod_pids_limit = u64::try_from(limit).ok();
        }
        config.shim.umask = umask.as_raw_mode();
        config.api_server = Some(mxjob_node::ApiAccess {
            address: self.local_address(),
            authority: Arc::clone(&self.authority),
        });
        config.shim.log = logs;
        let agent = mxjob_node::Agent::new(config, client).map_err(|error| Failure::of(&error))?;
        let node = agent.handle();
        if let Some(limits) = node.isolation().limits() {
            output::note(format_args!("mxjob: {limits}"));
        }
        self.api.connect_node(Arc::new(logs::Logs { node: node.clone(), name }));
        let stopped = self.stopped();
        self.spawn_endless("node agent", async { agent.run(stopped).await });
        Ok(node)
    }

    /// Resolves when the server is stopped or dropped.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        until(self.stop.subscribe())
    }

    fn spawn(
        &mut self,
        part: &'static str,
        run: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        self.parts.spawn(async move { (part, run.await) });
    }

    /// Starts a part that cannot fail.
    fn spawn_endless(
        &mut self,
        part: &'static str,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        self.parts.spawn(async move {
            run.await;
            (part, Ok(()))
        });
    }

    fn spawn_serving(&mut self, bound: serve::Bound, pki: &Pki, stopped: watch::Receiver<bool>) {
        let serving = serve::serve(
            serve::Limits::within(process::open_files()),
            bound,
            Some(Arc::clone(&pki.config)),
            self.api.clone(),
            until(stopped),
            DRAIN_TIMEOUT,
        );
        self.spawn("API server", async { serving.await.map(drop).map_err(|error| chain(&error)) });
    }
}

/// The credentials of the server and its clients.
struct Keys {
    pki: Pki,
    admin: Token,
    tokens: Tokens,
}

/// The users of a token file.
fn users(path: Option<&Path>) -> Result<Tokens, Failure> {
    path.map_or_else(
        || Ok(Tokens::default()),
        |path| Tokens::load(path).map_err(|error| Failure::input(chain(&error))),
    )
}

/// Opens the store and the keys, concurrently, because both wait for the disk on the first start.
async fn open(
    settings: &Settings,
    listen: IpAddr,
    mut tokens: Tokens,
) -> Result<(Store, Keys), Failure> {
    let dir = settings.data_dir.clone();
    let mut options = mxjob_store::Options::default();
    options.expiry = Some(expiry::rules(settings.event_ttl, Arc::new(System)));
    let store = tokio::task::spawn_blocking(move || {
        Store::open(&dir.store(), options).map_err(|error| Failure::at_root(&error))
    });
    let dir = settings.data_dir.clone();
    let keys = tokio::task::spawn_blocking(move || {
        let names = tls::server_names(listen, tls::host_name().as_deref());
        let pki =
            tls::open(dir.path(), &names, clock::now()).map_err(|error| Failure::of(&error))?;
        let admin = tokens::admin(dir.path()).map_err(|error| Failure::of(&error))?;
        tokens.insert(admin.expose(), Identity::admin());
        Ok(Keys { pki, admin, tokens })
    });
    let panicked =
        |error: tokio::task::JoinError| Failure::doing("cannot open the data directory", &error);
    let (store, keys) = tokio::join!(store, keys);
    Ok((store.map_err(panicked)??, keys.map_err(panicked)??))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the server was dropped.
    let _ = stopped.wait_for(|stop| *stop).await;
}
