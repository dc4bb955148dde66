//! `mxjob run`: starts a server for one job file, follows the jobs to their end, and removes
//! everything.
//!
//! ```text
//! file ─▶ manifest ─▶ server in a temporary directory ─▶ create ─▶ follow: jobs, pods, log lines
//!                                                                     │ end, ^C, timeout, server failure
//!              directory removed ◀─ pods stopped ◀─ server stopped ◀──┘
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use mxjob_access::identity::Identity;
use mxjob_node::stop_all_after_agent;
use rustix::fs::Mode;
use serde_json::Value;
use tempfile::TempDir;

use crate::check::Nodes;
use crate::config::Config;
use crate::create::Creation;
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::follow::{End, Follow};
use crate::logging::{self, Level};
use crate::manifest::{Manifest, Namespace};
use crate::output;
use crate::process::{self, shell_word};
use crate::server::Server;
use crate::settings::{LogLimitArgs, NodeSettings, RunAsArgs, Settings};
use crate::signals::{Signals, Stop};
use crate::values::duration;

/// The default level of the log, so that events of the server do not interrupt the log lines of the
/// job.
const LOG_LEVEL: &str = "error";
/// Time that running pods get to stop before they are killed.
const GRACE_PERIOD: Duration = Duration::from_secs(10);
/// Time that the node agent gets to finish its current step.
const AGENT_TIMEOUT: Duration = Duration::from_secs(10);
/// What was done when the command ends.
const STOPPED: &str = "everything was stopped";

/// Exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    the job succeeded
  1    the job failed or was deleted; the message has the first failed replica and its last lines
  2    the file or a flag is invalid, or the server rejected an object; nothing was started
  3    the server failed or could not be started, a pod could not be stopped, or the result is
       unknown
  124  the job did not finish within --timeout; everything was stopped
  130  interrupted by ^C; everything was stopped
  143  ended by SIGTERM; everything was stopped";

/// `mxjob run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// File or folder with the job as YAML or JSON, as `kubectl create -f` reads it; it may also
    /// contain ConfigMaps and Secrets; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data directory of the server, which is kept [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Stop the job if it does not finish within this time, for example 90, 90s, 15m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Default working directory of the replicas, and base of their relative paths [default: the
    /// current directory]
    #[arg(long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    #[command(flatten)]
    user: RunAsArgs,
    /// Log level of the server, on stderr [default: error]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    log_level: Option<Level>,
    #[command(flatten)]
    logs: LogLimitArgs,
}

/// Runs the job in a file.
pub(crate) fn run(args: RunArgs, umask: Mode) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file, Namespace::OrElse("default"), Nodes::Processes)?;
    for warning in &manifest.warnings {
        output::note(format_args!("mxjob: warning: {warning}"));
    }
    let mut node = NodeSettings::new(None, args.workdir, umask)?;
    node.run_as = args.user.identity(&Config::default())?;
    node.logs = args.logs.limits(&Config::default());
    let log_level = logging::level(args.log_level, LOG_LEVEL)?;
    logging::start(&log_level)?;
    let server_dir = ServerDir::new(args.data_dir.as_deref())?;
    let settings = Settings {
        data_dir: server_dir.dir,
        listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        token_file: None,
        log_level,
        extensions: mxjob_apiserver::Extensions::default(),
        garbage_collection: true,
        event_ttl: mxjob_apiserver::expiry::EVENT_TTL,
        node: Some(node),
    };
    process::block_on(serve(settings, &manifest, args.timeout))
}

/// The data directory of the server.
struct ServerDir {
    dir: DataDir,
    /// Removed with its content when it is dropped.
    _temporary: Option<TempDir>,
}

impl ServerDir {
    fn new(given: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = given {
            return Ok(Self { dir: DataDir::new(path)?, _temporary: None });
        }
        let temporary =
            tempfile::Builder::new().prefix("mxjob-run-").tempdir().map_err(|error| {
                Failure::doing("cannot create a temporary directory for the server's data", &error)
            })?;
        Ok(Self { dir: DataDir::new(temporary.path())?, _temporary: Some(temporary) })
    }
}

async fn serve(
    settings: Settings,
    manifest: &Manifest,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let dir = settings.data_dir.clone();
    let mut server = tokio::select! {
        server = Box::pin(Server::start(settings)) => server?,
        stop = signals.next() => return Err(stop.failure(STOPPED)),
    };
    output::note(format_args!(
        "mxjob: to use kubectl while the job runs: export KUBECONFIG={}",
        shell_word(&dir.kubeconfig())
    ));
    let client = server.client(Identity::admin(), "mxjob-run");
    let mut follow = Follow::new(client.clone());
    let mut creation = Creation::new(client);
    let end = match create(&mut creation, manifest).await {
        Ok(jobs) => {
            follow.expect(&jobs);
            Box::pin(follow.run(server.failed(), &mut signals, timeout)).await
        }
        Err(failure) => {
            // In a data directory that is kept, the next server would find the objects.
            creation.undo().await;
            End::Failed(failure)
        }
    };
    if matches!(end, End::Stopped(Stop::Interrupt)) {
        output::note("mxjob: stopping; press ^C again to kill the pods immediately");
    }
    let early = !matches!(end, End::Finished(_));
    let clean = async {
        if early {
            // In a data directory that is kept, the next server would resume the job.
            follow.remove_jobs(GRACE_PERIOD).await;
        }
        server.stop().await;
    };
    let grace = tokio::select! {
        () = Box::pin(clean) => GRACE_PERIOD,
        // The second signal: do not wait any longer.
        _ = signals.next() => Duration::ZERO,
    };
    let node = dir.node();
    // A server that was interrupted may still be starting a container.
    let stopped =
        tokio::task::spawn_blocking(move || stop_all_after_agent(&node, grace, AGENT_TIMEOUT));
    match stopped.await {
        Ok(Ok(report)) if report.alive.is_empty() => {}
        Ok(Ok(report)) => {
            return Err(Failure::system(format!(
                "these pods could not be stopped: {}",
                report.alive.join(", ")
            )));
        }
        Ok(Err(error)) => {
            return Err(Failure::doing("cannot stop the remaining pods", &error));
        }
        Err(error) => return Err(Failure::doing("cannot stop the remaining pods", &error)),
    }
    end.result(timeout, STOPPED)
}

async fn create(creation: &mut Creation, manifest: &Manifest) -> Result<Vec<Value>, Failure> {
    creation.namespaces(manifest).await?;
    creation.all(manifest).await
}
