//! The parts put together: started at once, stopped in order.
//!
//! ```text
//! client ─┬─▶ probes, metrics, webhook ─────────────────────────────────────┐ all the time
//!         ├─▶ preflight: until nothing is missing                           │
//!         └─▶ lease ─ term ─▶ controller ─ lost ─▶ stopped ─▶ standing by   │
//!
//! SIGTERM: not ready ─▶ controller stopped ─▶ lease let go ─▶ webhook, probes, metrics
//! ```
//!
//! The lease is renewed until the controller has stopped, and let go only then: the next leader begins at once, and with nobody
//! beside it. The webhook of a replica that stops goes on until the cluster has heard of it.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mxjob_controller::{Gang, Standing};
use mxjob_serve as serve;
use mxjob_serve::{Bound, ServeError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::client::{Cluster, Fence, Rate, Transport};
use crate::lease::{Election, Elector, PARTING};
use crate::manifests::{OPERATOR, Part, Settings};
use crate::metrics::Metrics;
use crate::preflight::{self, Preflight};
use crate::probes::{self, Health, Pages};
use crate::webhook;

/// How the operator runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace whose jobs are looked after; all of them if `None`.
    pub namespace: Option<String>,
    /// The operator's own namespace, which holds its Service and its Secret.
    pub own_namespace: String,
    /// How many jobs are worked on at once.
    pub workers: usize,
    /// A limit on requests; none if `None`.
    pub rate: Option<Rate>,
    /// The election in which it takes part; if `None` it leads without asking anybody.
    pub election: Option<Election>,
    /// Who decides which jobs may start.
    pub gang: Gang,
}

/// Where the operator can be asked, bound before anything else is done.
#[derive(Debug)]
pub struct Sockets {
    /// `/metrics`.
    pub metrics: Bound,
    /// `/healthz`, `/livez` and `/readyz`.
    pub probes: Bound,
    /// The admission webhook, if it is served.
    pub webhook: Option<Bound>,
}

/// Why the operator ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A client cannot be made of what the kubeconfig says.
    #[error("cannot make a client for the cluster")]
    Client(#[source] kube::Error),
    /// The controller broke.
    #[error("the controller ended")]
    Controller(#[source] mxjob_controller::Error),
    /// The webhook cannot be served.
    #[error("the webhook ended")]
    Webhook(#[source] webhook::Error),
    /// Probes or metrics cannot be served.
    #[error("the {0} ended")]
    Pages(&'static str, #[source] ServeError),
    /// A part ended that must not: a bug.
    #[error("a part of the operator ended unexpectedly")]
    Part(#[source] Option<tokio::task::JoinError>),
}

/// Listens on a port of every address of this machine, of whatever family: a kubelet asks by the one that its cluster has.
///
/// One socket takes both families, unless `net.ipv6.bindv6only` is set. Where there is no IPv6 it takes the one that there is.
///
/// # Errors
/// Where the port cannot be had.
pub fn bind_everywhere(port: u16) -> Result<Bound, ServeError> {
    match serve::bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if has_no_ipv6(&error) => serve::bind((Ipv4Addr::UNSPECIFIED, port).into()),
        bound => bound,
    }
}

fn has_no_ipv6(error: &ServeError) -> bool {
    match error {
        ServeError::NotLocal { .. } => true,
        ServeError::Listen { source, .. } => {
            source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        }
        _ => false,
    }
}

/// How long the election and the webhook may take to end, beside each other. Both have deadlines of their own, so nothing is cut
/// here unless something is wrong: the election takes [`PARTING`] at most, the webhook five seconds in which it goes on and five
/// in which it finishes.
///
/// In all a stop takes at most 10 s for the controller (five for its last requests, five for its last events), and then this: 26 s,
/// where the pod's `terminationGracePeriodSeconds` is 40.
const LAST: Duration = Duration::from_secs(PARTING.as_secs() + 1);

// === impl Sockets ===

impl Sockets {
    /// Binds.
    ///
    /// # Errors
    /// Where an address cannot be had.
    pub fn bind(
        metrics: SocketAddr,
        probes: SocketAddr,
        webhook: Option<SocketAddr>,
    ) -> Result<Self, ServeError> {
        Ok(Self {
            metrics: serve::bind(metrics)?,
            probes: serve::bind(probes)?,
            webhook: webhook.map(serve::bind).transpose()?,
        })
    }
}

/// Looks after the cluster's jobs until the shutdown is asked for.
///
/// # Errors
/// Where something ends that must not. What the cluster says or does not say never is an error: it is tried again.
pub async fn run(
    config: Config,
    sockets: Sockets,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let begun = Instant::now();
    let metrics = Metrics::default();
    let cluster = config.cluster.config.clone();
    let url = cluster.cluster_url.to_string().trim_end_matches('/').to_owned();
    let transport =
        Transport::new(cluster, config.rate, metrics.requests.clone()).map_err(Error::Client)?;
    info!(url, namespace = config.namespace, "looking after the jobs of a cluster");
    let standing = Standing::default();
    let (certified, is_certified) = watch::channel(false);
    let patience = config.election.as_ref().map(|election| election.timing.lease * 2);
    let is_certified = sockets.webhook.is_some().then_some(is_certified);
    let health = Health::new(patience, is_certified, standing.clone());
    health.turned();

    let (stop, stopped) = watch::channel(false);
    let mut parts = pages(sockets.probes, sockets.metrics, &health, &metrics);
    let mut needs = preflight::Parts {
        gang: config.gang.clone(),
        lease: config.election.as_ref().map(|election| election.name.clone()),
        webhook: None,
    };
    let installed = installed(&config, sockets.webhook.is_some());
    let mut served = JoinSet::new();
    if let Some(bound) = sockets.webhook {
        let options = webhook::Options {
            installed: installed.clone(),
            metrics: metrics.webhook.clone(),
            ..webhook::Options::default()
        };
        needs.webhook = Some((options.secret.clone(), options.configuration.clone()));
        let client = transport.client(Fence::open());
        let serving = webhook::run(client, options, bound, certified, until(stopped.clone()));
        served.spawn(async move { serving.await.map_err(Error::Webhook) });
    }
    let preflight = Preflight {
        client: transport.client(Fence::open()),
        url,
        needs: preflight::rights(&needs),
        jobs: config.namespace.clone(),
        own: config.own_namespace.clone(),
        lease: config.election.as_ref().map(|election| election.namespace.clone()),
        advice: advice(&installed),
        lease_advice: lease_advice(&config, &installed),
        health: health.clone(),
    };
    parts.spawn(async move {
        preflight.run().await;
        std::future::pending().await
    });
    let (leave, left) = watch::channel(false);
    let mut elections = JoinSet::new();
    let mut term = match config.election.clone() {
        Some(election) => {
            let elector = Elector::new(transport.plain(), election, health.clone());
            let term = elector.term();
            elections.spawn(elector.run(until(left)));
            term
        }
        None => watch::channel(Some(Fence::open())).1,
    };

    let mut shutdown = pin!(async {
        shutdown.await;
        health.stopping();
    });
    let options = mxjob_controller::Options {
        namespace: config.namespace.clone(),
        workers: config.workers,
        gang: config.gang.clone(),
        metrics: metrics.controller.clone(),
        standing,
        ..mxjob_controller::Options::default()
    };
    let leading = lead(&transport, &options, &mut term, &metrics, begun, &mut shutdown);
    let ended = tokio::select! {
        ended = leading => ended,
        ended = parts.join_next() => Err(failure(ended)),
        ended = elections.join_next(), if !elections.is_empty() => {
            Err(Error::Part(ended.and_then(Result::err)))
        }
        ended = served.join_next(), if !served.is_empty() => Err(failure(ended)),
    };
    health.stopping();
    stop.send_replace(true);
    leave.send_replace(true);
    let leaving = async { while elections.join_next().await.is_some() {} };
    let serving = async { while served.join_next().await.is_some() {} };
    let (leaving, serving) =
        tokio::join!(tokio::time::timeout(LAST, leaving), tokio::time::timeout(LAST, serving));
    if leaving.is_err() {
        warn!("the election has not ended in time and is cut");
    }
    if serving.is_err() {
        warn!("the webhook has not ended in time and is cut");
    }
    parts.shutdown().await;
    ended
}

/// Serves probes and metrics until everything else has ended.
fn pages(
    probes: Bound,
    metrics: Bound,
    health: &Health,
    counts: &Metrics,
) -> JoinSet<Result<(), Error>> {
    let counts = counts.clone();
    let shown = Pages::Metrics(Arc::new(move || counts.encode()));
    let mut parts = JoinSet::new();
    for (name, bound, pages) in
        [("probes", probes, Pages::Probes(health.clone())), ("metrics", metrics, shown)]
    {
        let serving = probes::serve(bound, pages, std::future::pending());
        parts.spawn(async move { serving.await.map_err(|error| Error::Pages(name, error)) });
    }
    parts
}

/// Leads whenever there is a term, until the shutdown is asked for.
async fn lead(
    transport: &Transport,
    options: &mxjob_controller::Options,
    term: &mut watch::Receiver<Option<Fence>>,
    metrics: &Metrics,
    begun: Instant,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(), Error> {
    loop {
        let fence = tokio::select! {
            () = &mut *shutdown => return Ok(()),
            // The sender is gone where there is no election; then the term is there already.
            fence = async { term.wait_for(Option::is_some).await.ok().and_then(|fence| fence.clone()) } => fence,
        };
        let Some(fence) = fence else { return Err(Error::Part(None)) };
        let after = begun.elapsed();
        info!(
            after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            "the controller starts"
        );
        metrics.leads(after);
        let mut is_over = false;
        let lost = async {
            let is_other = |now: &Option<Fence>| now.as_ref().is_none_or(|now| !now.is(&fence));
            if term.wait_for(is_other).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ends = async {
            tokio::select! {
                () = &mut *shutdown => is_over = true,
                // Before the controller has stopped: it cannot write any more.
                () = lost => metrics.stands_by(),
            }
        };
        let client = transport.client(fence.clone());
        let ended = mxjob_controller::run(client, options.clone(), ends).await;
        metrics.stands_by();
        ended.map_err(Error::Controller)?;
        info!("the controller has stopped");
        if is_over {
            return Ok(());
        }
    }
}

/// How an operator of this kind is installed.
fn installed(config: &Config, webhook: bool) -> Settings {
    let Config { own_namespace, namespace, gang, .. } = config;
    Settings::of_operator(own_namespace, namespace.as_deref(), gang, webhook)
}

/// What grants it what it needs.
fn advice(installed: &Settings) -> String {
    let command = installed.command(Part::Rbac);
    format!("grant its service account what it needs with: {command} | kubectl apply -f -")
}

/// What grants it its lease: the same, unless it is another lease than the one that the manifests know.
fn lease_advice(config: &Config, installed: &Settings) -> String {
    match &config.election {
        Some(Election { namespace, name, .. })
            if (namespace, name.as_str()) != (&config.own_namespace, OPERATOR) =>
        {
            format!(
                "`mxjob manifests` grants the lease {}/{OPERATOR} alone, so grant its service account by hand `get` and `update` on the lease {name} and `create` on leases in the namespace {namespace}",
                config.own_namespace
            )
        }
        _ => advice(installed),
    }
}

fn failure(ended: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(()))) | None => Error::Part(None),
        Some(Err(error)) => Error::Part(Some(error)),
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error says that the sender is gone, and with it the operator.
    let _ = stopped.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests::NAMESPACE;
    use mxjob_controller::PodGroups;

    fn config(own: &str, namespace: Option<&str>, gang: Gang) -> Config {
        let cluster = kube::Config::new(http::Uri::from_static("https://127.0.0.1:1"));
        Config {
            cluster: Cluster { config: cluster, pod_namespace: None },
            namespace: namespace.map(str::to_owned),
            own_namespace: own.to_owned(),
            workers: 1,
            rate: None,
            election: None,
            gang,
        }
    }

    #[test]
    fn rights_are_granted_by_a_command_that_fits_the_operator() {
        let check = |config: &Config, command: &str| {
            let want = format!(
                "grant its service account what it needs with: mxjob manifests --only rbac{command} | kubectl apply -f -"
            );
            let installed = installed(config, true);
            assert_eq!(advice(&installed), want);
            assert_eq!(lease_advice(config, &installed), want);
        };
        check(&config(NAMESPACE, None, Gang::Off), "");
        let gang = Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler: "gangs".to_owned() });
        check(
            &config("own", Some("team"), gang),
            " --namespace own --watch-namespace team --gang-scheduler gangs",
        );
    }

    #[test]
    fn a_port_is_reached_by_either_family() {
        let bound = bind_everywhere(0).unwrap();
        let port = bound.local_addr().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // A machine without IPv6 has nobody who asks by it.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn only_a_missing_family_leads_to_the_other() {
        let address: SocketAddr = (Ipv6Addr::UNSPECIFIED, 1).into();
        let source = |code| std::io::Error::from_raw_os_error(code);
        let no_family = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
        let no_files = rustix::io::Errno::MFILE.raw_os_error();
        assert!(has_no_ipv6(&ServeError::NotLocal { address }));
        assert!(has_no_ipv6(&ServeError::Listen { address, source: source(no_family) }));
        assert!(!has_no_ipv6(&ServeError::Listen { address, source: source(no_files) }));
        assert!(!has_no_ipv6(&ServeError::InUse { address }));
    }

    #[test]
    fn a_lease_that_the_manifests_do_not_know_is_granted_by_hand() {
        let advice = |namespace: &str, name: &str| {
            let config = Config {
                election: Some(Election {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    identity: "me".to_owned(),
                    timing: crate::Timing::default(),
                }),
                ..config("own", None, Gang::Off)
            };
            lease_advice(&config, &installed(&config, true))
        };
        assert!(advice("own", OPERATOR).contains("mxjob manifests --only rbac --namespace own |"));
        for (namespace, name) in [("other", OPERATOR), ("own", "b")] {
            assert_eq!(
                advice(namespace, name),
                format!(
                    "`mxjob manifests` grants the lease own/mxjob-operator alone, so grant its service account by hand `get` and `update` on the lease {name} and `create` on leases in the namespace {namespace}"
                )
            );
        }
    }
}
