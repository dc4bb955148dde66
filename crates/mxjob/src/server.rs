//! A server in this process: the parts put together, started in order, stopped in order.
//!
//! ```text
//! lock ─▶ listen ─▶ store, keys, tokens ─▶ first objects ─▶ garbage collector, serving ─▶ controller, node ─▶ kubeconfig
//! ```
//!
//! Controller and node are clients of the API like any other; only their connection is shorter. Whatever ends without being
//! told to ends the server: half a server is worse than none, since it looks like a whole one.

mod connect;
mod logs;
mod pods;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tls;
use mxjob_access::tls::Pki;
use mxjob_access::tokens::{self, ServiceAccounts, Token, Tokens};
use mxjob_apiserver::environment::System;
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config, garbage, kubeconfig, upkeep};
use mxjob_serve as serve;
use mxjob_store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::exit::{Failure, chain};
use crate::lock::Lock;
use crate::settings::{NodeSettings, Settings};

/// How long open requests may take after a stop was asked for. `kubectl` needs far less; a stuck client must not keep a
/// service manager waiting until it kills us.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the other parts may take after that.
const PARTS: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    settings: Settings,
    api: ApiServer,
    address: SocketAddr,
    parts: JoinSet<Ended>,
    stop: watch::Sender<bool>,
    /// Given back last, when nothing of this server is at work any more.
    _lock: Lock,
}

/// A part that has ended.
type Ended = (&'static str, Result<(), String>);

/// What a stopped server leaves.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// Pods that keep running.
    pub(crate) pods: usize,
}

// === impl Server ===

impl Server {
    /// Starts everything that the settings ask for, and says so with the kubeconfig. A failure leaves nothing running.
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let dir = &settings.data_dir;
        // Before anything is made: a fault in what was given changes nothing.
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
        let api = ApiServer::with(config, settings.extensions.clone());
        api.bootstrap().await.map_err(|error| Failure::of(&error))?;

        let (stop, stopped) = watch::channel(false);
        let mut server = Self { settings, api, address, parts: JoinSet::new(), stop, _lock: lock };
        server.spawn_serving(bound, &keys.pki, stopped);
        if server.settings.garbage_collection {
            let collector = garbage::run(server.api.clone(), server.stopped());
            server.spawn("garbage collector", async {
                collector.await;
                Ok(())
            });
        }
        let upkeep = upkeep::run(server.api.clone(), server.stopped());
        server.spawn("upkeep", async {
            upkeep.await;
            Ok(())
        });
        if let Some(node) = &server.settings.node {
            let node = node.clone();
            server.start_node(&node)?;
            server.start_controller();
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

    /// The settings it was started with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where clients on this machine find it.
    pub(crate) fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("https://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// A client in memory, acting as `identity`.
    pub(crate) fn client(&self, identity: Identity, user_agent: &str) -> kube::Client {
        kube::Client::new(self.api.connector(identity, user_agent), "default")
    }

    /// Waits for something that must not happen: the disk fails, or a part ends. May be dropped at any time.
    pub(crate) async fn broken(&mut self) -> Failure {
        tokio::select! {
            failure = self.api.store().failure() => Failure::at_root(&failure),
            Some(ended) = self.parts.join_next() => match ended {
                Ok((part, Ok(()))) => Failure::system(format!("the {part} ended by itself")),
                Ok((part, Err(error))) => Failure::system(format!("the {part} failed: {error}")),
                Err(error) => Failure::system(format!("a part of the server broke: {error}")),
            },
        }
    }

    /// Stops the server; pods keep running.
    pub(crate) async fn stop(mut self) -> Stopped {
        self.stop.send_replace(true);
        // Watches would otherwise keep connections busy until the deadline.
        self.api.close_streams();
        let finished = async {
            while let Some(ended) = self.parts.join_next().await {
                if let Ok((part, Err(error))) = ended {
                    tracing::warn!(part, error, "did not stop cleanly");
                }
            }
        };
        if tokio::time::timeout(DRAIN + PARTS, finished).await.is_err() {
            tracing::warn!(
                "parts of the server were still busy at the deadline of the stop and are cut"
            );
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

    /// The controller, a client of the API.
    fn start_controller(&mut self) {
        let client = self.client(Identity::controller(), "mxjob-controller");
        let stopped = self.stopped();
        let metrics = mxjob_controller::Metrics::default();
        let shown = metrics.clone();
        self.api.connect_metrics(Arc::new(move || shown.encode()));
        self.spawn("controller", async move {
            let options = mxjob_controller::Options {
                gang: mxjob_controller::Gang::Native,
                nodes: Some(mxjob_controller::nodes::Limits::default()),
                metrics,
                ..mxjob_controller::Options::default()
            };
            mxjob_controller::run(client, options, stopped).await.map_err(|error| chain(&error))
        });
    }

    /// The node agent, a client of the API, which asks it for logs in turn.
    fn start_node(&mut self, settings: &NodeSettings) -> Result<(), Failure> {
        let NodeSettings { name, workdir, umask, extended_resources } = settings.clone();
        let defaults = mxjob_node::Config::new(self.settings.data_dir.node())
            .map_err(|error| Failure::doing("cannot find this program's own file", &error))?;
        let client = self.client(Identity::node(&name), "mxjob-node");
        let mut config = mxjob_node::Config { node_name: name, workdir, ..defaults };
        config.extended_resources.extend(extended_resources);
        config.shim.umask = umask.as_raw_mode();
        let agent = mxjob_node::Agent::new(config, client).map_err(|error| Failure::of(&error))?;
        self.api.connect_node(Arc::new(logs::Logs(agent.handle())));
        let stopped = self.stopped();
        self.spawn("node agent", async {
            agent.run(stopped).await;
            Ok(())
        });
        Ok(())
    }

    /// Resolves when the server is told to stop, or is gone.
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

    fn spawn_serving(&mut self, bound: serve::Bound, pki: &Pki, stopped: watch::Receiver<bool>) {
        let serving = serve::serve(
            bound,
            Some(Arc::clone(&pki.config)),
            self.api.clone(),
            until(stopped),
            DRAIN,
        );
        self.spawn("API server", async { serving.await.map(drop).map_err(|error| chain(&error)) });
    }
}

/// What callers are known by.
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

/// Opens what is on disk. Store and keys at the same time, since both wait for the disk on a first start.
async fn open(
    settings: &Settings,
    listen: IpAddr,
    mut tokens: Tokens,
) -> Result<(Store, Keys), Failure> {
    let dir = settings.data_dir.clone();
    let store = tokio::task::spawn_blocking(move || {
        Store::open(&dir.store(), mxjob_store::Options::default())
            .map_err(|error| Failure::at_root(&error))
    });
    let dir = settings.data_dir.clone();
    let keys = tokio::task::spawn_blocking(move || {
        let names = tls::server_names(listen, tls::host_name().as_deref());
        let pki =
            tls::open(dir.path(), &names, Timestamp::now()).map_err(|error| Failure::of(&error))?;
        let admin = tokens::admin(dir.path()).map_err(|error| Failure::of(&error))?;
        tokens.insert(admin.expose(), Identity::admin());
        Ok(Keys { pki, admin, tokens })
    });
    let broken =
        |error: tokio::task::JoinError| Failure::doing("cannot open the data directory", &error);
    let (store, keys) = tokio::join!(store, keys);
    Ok((store.map_err(broken)??, keys.map_err(broken)??))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error says that the sender is gone, and with it the server.
    let _ = stopped.wait_for(|stop| *stop).await;
}
