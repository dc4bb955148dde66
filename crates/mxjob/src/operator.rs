//! `mxjob operator`: the controller as a client of a cluster, until somebody stops it.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mxjob_controller::{Gang, PodGroups};
use mxjob_machinery::names;
use mxjob_operator::client::{Access, Cluster, Rate};
use mxjob_operator::manifests::NAMESPACE;
use mxjob_operator::{Config, Election, Sockets, Timing};
use mxjob_serve as serve;
use mxjob_serve::Bound;

use crate::exit::{Failure, chain};
use crate::logging::{self, Level};
use crate::settings::level;
use crate::signals::{Signals, Stop};
use crate::{output, up};

const METRICS_PORT: u16 = 8080;
const PROBES_PORT: u16 = 8081;
const WEBHOOK_PORT: u16 = 9443;

/// `mxjob operator`
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    /// The kubeconfig that leads to the cluster [default: $KUBECONFIG, else the service account of the pod, else
    /// ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig instead of its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Look after the jobs of one namespace alone [default: all namespaces]
    #[arg(long, value_name = "NAME", value_parser = label)]
    namespace: Option<String>,
    /// How many jobs are worked on at once; the requests of one job run in parallel besides
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = workers)]
    workers: usize,
    /// Requests to the API server a second; 0 for no limit, so that the API server's own fairness decides
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    kube_api_qps: u32,
    /// Requests at once beyond that rate; 0 for as many as a second has
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    kube_api_burst: u32,
    /// Whether to act only while holding a Lease, so that one of several operators does [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    leader_elect: bool,
    /// The namespace of the Lease [default: the pod's own, else that of --namespace, else mxjob-system]
    #[arg(long, value_name = "NAME", value_parser = label)]
    leader_elect_namespace: Option<String>,
    /// The name of the Lease
    #[arg(long, value_name = "NAME", default_value = "mxjob-operator", value_parser = subdomain)]
    leader_elect_name: String,
    /// How long others wait for a leader that says nothing, such as 15s
    #[arg(long, value_name = "TIME", value_parser = super::cli::duration, default_value = "15s")]
    lease_duration: Duration,
    /// After how long without a renewal the leader gives up
    #[arg(long, value_name = "TIME", value_parser = super::cli::duration, default_value = "10s")]
    renew_deadline: Duration,
    /// How often the leader renews, and the others look
    #[arg(long, value_name = "TIME", value_parser = super::cli::duration, default_value = "2s")]
    retry_period: Duration,
    /// Where /metrics is served; port 0 picks a free one [default: port 8080 of every address]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Where /healthz, /livez and /readyz are served; port 0 picks a free one [default: port 8081 of every address]
    #[arg(long, value_name = "ADDR:PORT")]
    probe_listen: Option<SocketAddr>,
    /// Whether to serve the admission webhook [default: true in a pod, false elsewhere, since the cluster must reach it]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    webhook: Option<bool>,
    /// Where the webhook is served; port 0 picks a free one [default: port 9443 of every address]
    #[arg(long, value_name = "ADDR:PORT")]
    webhook_listen: Option<SocketAddr>,
    /// Who starts a job's pods together or not at all: none, volcano, or the name of a scheduler with the coscheduling
    /// plugin
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = gang)]
    gang_scheduler: Gang,
    /// What to log: error, warn, info, debug, trace, or a list such as warn,mxjob_operator=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    log_level: Option<Level>,
}

/// Looks after the cluster's jobs until SIGTERM or ^C.
pub(crate) fn run(args: OperatorArgs) -> Result<(), Failure> {
    logging::start(&level(args.log_level.clone(), logging::DEFAULT)?)?;
    let runtime = up::runtime()?;
    let result = runtime.block_on(Box::pin(operate(args)));
    runtime.shutdown_background();
    result
}

async fn operate(args: OperatorArgs) -> Result<(), Failure> {
    let mut signals =
        Signals::catch().map_err(|error| Failure::doing("cannot catch signals", &error))?;
    let access = Access { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
    let cluster = access.find().await.map_err(|error| Failure::input(chain(&error)))?;
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
                output::note("mxjob: stopping; ^C again ends the operator at once");
            }
        }
    }
    drop(stop);
    tokio::select! {
        ended = &mut operator => ended.map_err(|error| failure(&error)),
        _ = signals.next() => Err(Failure {
            code: crate::exit::Code::Interrupted,
            message: "ended without waiting for open requests".to_owned(),
        }),
    }
}

/// Credentials that cannot be used are a fault of the kubeconfig.
fn failure(error: &mxjob_operator::Error) -> Failure {
    match error {
        mxjob_operator::Error::Client(_) => Failure::input(chain(error)),
        _ => Failure::of(error),
    }
}

/// Listens where that is said, else on a port of every address.
fn listen(address: Option<SocketAddr>, port: u16) -> Result<Bound, Failure> {
    let bound = address.map_or_else(|| mxjob_operator::bind_everywhere(port), serve::bind);
    bound.map_err(|error| Failure::of(&error))
}

/// An address by which this machine reaches a socket; one that listens everywhere is reached by loopback.
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

/// What the flags come to on that cluster.
fn config(args: OperatorArgs, cluster: Cluster) -> Result<Config, Failure> {
    // Operators that look after the same jobs must meet at the same lease, wherever they run.
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
        (None, Some(_)) => Err(Failure::input(
            "--kube-api-burst has no effect without --kube-api-qps: there is no limit to exceed",
        )),
    }
}

/// Who starts pods together.
fn gang(text: &str) -> Result<Gang, String> {
    match text {
        "none" => Ok(Gang::Off),
        "volcano" => Ok(Gang::PodGroups(PodGroups::Volcano)),
        name => {
            let scheduler = subdomain(name)?;
            Ok(Gang::PodGroups(PodGroups::SchedulerPlugins { scheduler }))
        }
    }
}

fn label(text: &str) -> Result<String, String> {
    names::dns1123_label(text)
        .first()
        .map_or_else(|| Ok(text.to_owned()), |fault| Err(fault.to_string()))
}

fn subdomain(text: &str) -> Result<String, String> {
    names::dns1123_subdomain(text)
        .first()
        .map_or_else(|| Ok(text.to_owned()), |fault| Err(fault.to_string()))
}

/// A number of workers: some.
fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1000).contains(&number) => Ok(number),
        _ => Err("not a number from 1 to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests;
