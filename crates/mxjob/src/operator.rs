//! `mxjob operator`: the controller as a client of a cluster, until somebody stops it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mxjob_operator::client::Access;
use mxjob_operator::{Config, Sockets};

use crate::exit::{Failure, chain};
use crate::logging::{self, Level};
use crate::settings::level;
use crate::signals::{Signals, Stop};
use crate::{output, up};

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
    #[arg(long, value_name = "NAME")]
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
    #[arg(long, value_name = "NAME")]
    leader_elect_namespace: Option<String>,
    /// The name of the Lease
    #[arg(long, value_name = "NAME", default_value = "mxjob-operator")]
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
    /// Where /metrics is served; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8080")]
    metrics_listen: SocketAddr,
    /// Where /healthz, /livez and /readyz are served; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8081")]
    probe_listen: SocketAddr,
    /// Whether to serve the admission webhook [default: true in a pod, false elsewhere, since the cluster must reach it]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    webhook: Option<bool>,
    /// Where the webhook is served; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:9443")]
    webhook_listen: SocketAddr,
    /// Who starts a job's pods together or not at all: none, volcano, or the name of a scheduler with the coscheduling
    /// plugin
    #[arg(long, value_name = "NAME", default_value = "none")]
    gang_scheduler: String,
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
    let sockets = Sockets::bind(args.metrics_listen, args.probe_listen)
        .map_err(|error| Failure::of(&error))?;
    output::data(format_args!("mxjob operator for {}", cluster.config.cluster_url));
    output::data(format_args!("metrics at http://{}", sockets.metrics.local_addr()));
    output::data(format_args!("probes at http://{}", sockets.probes.local_addr()));
    let config = Config {
        cluster,
        namespace: args.namespace,
        workers: args.workers,
        gang: mxjob_controller::Gang::Off,
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut operator = std::pin::pin!(mxjob_operator::run(config, sockets, async {
        let _ = stopped.await;
    }));
    tokio::select! {
        ended = &mut operator => return ended.map_err(|error| Failure::of(&error)),
        stop = signals.next() => {
            if stop == Stop::Interrupt {
                output::note("mxjob: stopping; ^C again ends the operator at once");
            }
        }
    }
    drop(stop);
    tokio::select! {
        ended = &mut operator => ended.map_err(|error| Failure::of(&error)),
        _ = signals.next() => Err(Failure {
            code: crate::exit::Code::Interrupted,
            message: "ended without waiting for open requests".to_owned(),
        }),
    }
}

/// A number of workers: some.
fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1000).contains(&number) => Ok(number),
        _ => Err("not a number from 1 to 1000".to_owned()),
    }
}
