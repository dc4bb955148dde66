//! `mxjob operator`: the controller as a client of a cluster, until it is stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use mxjob_controller::{Gang, PodGroups};
use mxjob_machinery::error::chain;
use mxjob_operator::client::{Cluster, Rate};
use mxjob_operator::manifests::NAMESPACE;
use mxjob_operator::{Config, Election, Sockets, Timing};
use mxjob_serve as serve;
use mxjob_serve::Bound;

use crate::cluster::ClusterArgs;
use crate::exit::{Code, Failure};
use crate::logging::{self, Level};
use crate::signals::{Signals, Stop};
use crate::values::{dns_label, dns_subdomain, duration};
use crate::{output, process};

const METRICS_PORT: u16 = 8080;
const PROBES_PORT: u16 = 8081;
const WEBHOOK_PORT: u16 = 9443;

/// `mxjob operator`
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Manage the jobs of this namespace only [default: all namespaces]
    #[arg(long, value_name = "NAME", value_parser = dns_label)]
    namespace: Option<String>,
    /// Number of jobs that are reconciled at the same time; the requests of one job also run in
    /// parallel
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = workers)]
    workers: usize,
    /// Requests per second to the API server; 0 means no limit, so that the API server's priority
    /// and fairness decides
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    kube_api_qps: u32,
    /// Burst above that rate; 0 means one second's worth
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    kube_api_burst: u32,
    /// Act only while holding a Lease, so that one of several operators is active [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    leader_elect: bool,
    /// Namespace of the Lease [default: the pod's namespace, else that of --namespace, else
    /// mxjob-system]
    #[arg(long, value_name = "NAME", value_parser = dns_label)]
    leader_elect_namespace: Option<String>,
    /// Name of the Lease
    #[arg(long, value_name = "NAME", default_value = "mxjob-operator", value_parser = dns_subdomain)]
    leader_elect_name: String,
    /// How long other operators wait after the leader's last renewal before they take over
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15s")]
    lease_duration: Duration,
    /// How long the leader keeps trying to renew before giving up
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    renew_deadline: Duration,
    /// Interval at which the leader renews and the others check the Lease
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s")]
    retry_period: Duration,
    /// Address of /metrics; port 0 picks a free port [default: port 8080 on all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Address of /healthz, /livez and /readyz; port 0 picks a free port [default: port 8081 on all
    /// addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    probe_listen: Option<SocketAddr>,
    /// Serve the admission webhook, which the cluster must be able to reach [default: true in a
    /// pod, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    webhook: Option<bool>,
    /// Address of the webhook; port 0 picks a free port [default: port 9443 on all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    webhook_listen: Option<SocketAddr>,
    /// Gang scheduler: none, volcano, or the name of a scheduler with the coscheduling plugin
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = gang)]
    gang_scheduler: Gang,
    /// Log level: error, warn, info, debug, trace, off, or a list such as warn,mxjob_operator=debug
    /// [default: info]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    log_level: Option<Level>,
}

/// Manages the cluster's jobs until SIGTERM or ^C.
pub(crate) fn run(args: OperatorArgs) -> Result<(), Failure> {
    logging::start(&logging::level(args.log_level.clone(), logging::DEFAULT)?)?;
    process::block_on(operate(args))
}

async fn operate(args: OperatorArgs) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let cluster = args.cluster.access().find().await;
    let cluster = cluster.map_err(|error| Failure::input(chain(&error)))?;
    let webhook = args.webhook.unwrap_or_else(|| cluster.pod_namespace.is_some());
    let (metrics, probes) = (args.metrics_listen, args.probe_listen);
    let webhook = webhook.then_some(args.webhook_listen);
    let config = config(args, cluster)?;
    let sockets = Sockets {
        metrics: listen(metrics, METRICS_PORT)?,
        probes: listen(probes, PROBES_PORT)?,
        webhook: webhook.map(|address| listen(address, WEBHOOK_PORT)).transpose()?,
    };
    announce(&config, &sockets);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut operator = std::pin::pin!(mxjob_operator::run(config, sockets, async {
        let _ = stopped.await;
    }));
    tokio::select! {
        ended = &mut operator => return ended.map_err(|error| failure(&error)),
        stop = signals.next() => {
            if stop == Stop::Interrupt {
                output::note("mxjob: stopping; press ^C again to end the operator immediately");
            }
        }
    }
    drop(stop);
    tokio::select! {
        ended = &mut operator => ended.map_err(|error| failure(&error)),
        _ = signals.next() => Err(Failure {
            code: Code::Interrupted,
            message: "ended without waiting for open requests".to_owned(),
        }),
    }
}

/// Unusable credentials are invalid input: the kubeconfig has them.
fn failure(error: &mxjob_operator::Error) -> Failure {
    match error {
        mxjob_operator::Error::Client(_) => Failure::input(chain(error)),
        _ => Failure::of(error),
    }
}

/// Listens on the given address, or on the port of all addresses.
fn listen(address: Option<SocketAddr>, port: u16) -> Result<Bound, Failure> {
    let bound = address.map_or_else(|| mxjob_operator::bind_everywhere(port), serve::bind);
    bound.map_err(|error| Failure::of(&error))
}

/// An address at which this machine reaches a socket: loopback for one that listens on all
/// addresses.
fn reached(bound: &Bound) -> SocketAddr {
    let address = bound.local_addr();
    match address.ip() {
        // Such a socket takes IPv4 too, which every machine's loopback has.
        ip if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// Where the operator can be asked: a line each, for scripts that let it choose its ports.
fn announce(config: &Config, sockets: &Sockets) {
    let url = config.cluster.config.cluster_url.to_string();
    output::data(format_args!("mxjob operator for {}", url.trim_end_matches('/')));
    output::data(format_args!("metrics at http://{}", reached(&sockets.metrics)));
    output::data(format_args!("probes at http://{}", reached(&sockets.probes)));
    if let Some(webhook) = &sockets.webhook {
        output::data(format_args!("webhook at https://{}", reached(webhook)));
    }
}

/// The configuration that the flags describe on that cluster.
fn config(args: OperatorArgs, cluster: Cluster) -> Result<Config, Failure> {
    // Operators that manage the same jobs must use the same Lease, wherever they run.
    let home = cluster.pod_namespace.clone().or_else(|| args.namespace.clone());
    let home = home.unwrap_or_else(|| NAMESPACE.to_owned());
    let timing =
        Timing { lease: args.lease_duration, renew: args.renew_deadline, retry: args.retry_period };
    timing.check().map_err(|error| Failure::input(error.to_string()))?;
    let election = args.leader_elect.then(|| Election {
        namespace: args.leader_elect_namespace.unwrap_or_else(|| home.clone()),
        name: args.leader_elect_name,
        identity: Election::identity(
            mxjob_access::tls::host_name().as_deref().unwrap_or("localhost"),
        ),
        timing,
    });
    Ok(Config {
        cluster,
        namespace: args.namespace,
        own_namespace: home,
        workers: args.workers,
        rate: rate(args.kube_api_qps, args.kube_api_burst)?,
        election,
        gang: args.gang_scheduler,
    })
}

fn rate(qps: u32, burst: u32) -> Result<Option<Rate>, Failure> {
    match (NonZeroU32::new(qps), NonZeroU32::new(burst)) {
        (Some(qps), burst) => Ok(Some(Rate { qps, burst: burst.unwrap_or(qps) })),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err(Failure::input("--kube-api-burst has no effect without --kube-api-qps"))
        }
    }
}

/// Reads the name of a gang scheduler.
fn gang(text: &str) -> Result<Gang, String> {
    match text {
        "none" => Ok(Gang::Off),
        "volcano" => Ok(Gang::PodGroups(PodGroups::Volcano)),
        name => {
            let scheduler = dns_subdomain(name)?;
            Ok(Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler }))
        }
    }
}

/// Reads a number of workers.
fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1000).contains(&number) => Ok(number),
        _ => Err("expected a number from 1 to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests;
