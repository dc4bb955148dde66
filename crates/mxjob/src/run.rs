//! `mxjob run`: a server for one file, followed to its end, and nothing left of it.
//!
//! ```text
//! file ─▶ manifest ─▶ server in a temporary directory ─▶ create ─▶ follow: jobs, pods, log lines
//!                                                                     │ end, ^C, time is up, server broken
//!              directory removed ◀─ pods stopped ◀─ server stopped ◀──┘
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use mxjob_access::identity::Identity;
use mxjob_node::stop::stop_all_after_agent;
use rustix::fs::Mode;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::RunArgs;
use crate::create::Creation;
use crate::data_dir::DataDir;
use crate::exit::{Code, Failure};
use crate::follow::story::Verdict;
use crate::follow::{End, Follow};
use crate::manifest::{Manifest, Namespace};
use crate::server::Server;
use crate::settings::{self, NodeSettings, Settings};
use crate::signals::{Signals, Stop};
use crate::up::{runtime, shell_word};
use crate::{logging, output};

/// The server's own log would get between the lines of the job.
const LOG_LEVEL: &str = "error";
/// How long what is still running may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long the node agent may take to end the step that it is in.
const AGENT_LIMIT: Duration = Duration::from_secs(10);

/// Runs the job in a file.
pub(crate) fn run(args: RunArgs, umask: Mode) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file, Namespace::OrElse("default"))?;
    let node = NodeSettings::new(None, args.workdir, umask)?;
    let log_level = settings::level(args.log_level, LOG_LEVEL)?;
    logging::start(&log_level)?;
    let place = Place::new(args.data_dir.as_deref())?;
    let settings = Settings {
        data_dir: place.dir,
        listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        token_file: None,
        log_level,
        extensions: mxjob_apiserver::Extensions::default(),
        garbage_collection: true,
        node: Some(node),
    };
    let runtime = runtime()?;
    let result = runtime.block_on(Box::pin(serve(settings, &manifest, args.timeout)));
    runtime.shutdown_background();
    result
}

/// Where the server's data is.
struct Place {
    dir: DataDir,
    /// Removed with everything in it at the end.
    _temporary: Option<TempDir>,
}

impl Place {
    fn new(asked: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = asked {
            return Ok(Self { dir: DataDir::new(path)?, _temporary: None });
        }
        let temporary =
            tempfile::Builder::new().prefix("mxjob-run-").tempdir().map_err(|error| {
                Failure::doing("cannot make a temporary directory for the server's data", &error)
            })?;
        Ok(Self { dir: DataDir::new(temporary.path())?, _temporary: Some(temporary) })
    }
}

async fn serve(
    settings: Settings,
    manifest: &Manifest,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let mut signals =
        Signals::catch().map_err(|error| Failure::doing("cannot catch signals", &error))?;
    let dir = settings.data_dir.clone();
    let mut server = tokio::select! {
        server = Box::pin(Server::start(settings)) => server?,
        stop = signals.next() => return Err(interrupted(stop)),
    };
    output::note(format_args!(
        "mxjob: for kubectl meanwhile: export KUBECONFIG={}",
        shell_word(&dir.kubeconfig())
    ));
    let client = server.client(Identity::admin(), "mxjob-run");
    let mut follow = Follow::new(client.clone());
    let mut creation = Creation::new(client);
    let end = match create(&mut creation, manifest).await {
        Ok(jobs) => {
            follow.expect(&jobs);
            Box::pin(follow.run(server.broken(), &mut signals, timeout)).await
        }
        Err(failure) => {
            // In a directory that is kept, they would be there for the next server.
            creation.undo().await;
            End::Failed(failure)
        }
    };
    if matches!(end, End::Stopped(Stop::Interrupt)) {
        output::note("mxjob: stopping; ^C again kills what still runs");
    }
    let early = !matches!(end, End::Finished(_));
    let clean = async {
        if early {
            // In a directory that is kept, the job would go on with the next server.
            follow.remove_jobs(GRACE).await;
        }
        server.stop().await;
    };
    let grace = tokio::select! {
        () = Box::pin(clean) => GRACE,
        // Asked for again: no more waiting.
        _ = signals.next() => Duration::ZERO,
    };
    let node = dir.node();
    // A server that was cut short may still be starting a container.
    let stopped =
        tokio::task::spawn_blocking(move || stop_all_after_agent(&node, grace, AGENT_LIMIT));
    match stopped.await {
        Ok(Ok(report)) if report.alive.is_empty() => {}
        Ok(Ok(report)) => {
            return Err(Failure::system(format!(
                "these pods could not be stopped: {}",
                report.alive.join(", ")
            )));
        }
        Ok(Err(error)) => {
            return Err(Failure::doing("cannot stop what the job left running", &error));
        }
        Err(error) => return Err(Failure::doing("cannot stop what the job left running", &error)),
    }
    match end {
        End::Finished(Verdict::Succeeded) => Ok(()),
        End::Finished(Verdict::Failed(message)) => Err(Failure { code: Code::JobFailed, message }),
        End::Finished(Verdict::Unknown(message)) => Err(Failure::system(message)),
        End::Failed(failure) => Err(failure),
        End::Stopped(stop) => Err(interrupted(stop)),
        End::TimedOut(unfinished) => Err(Failure {
            code: Code::Timeout,
            message: format!(
                "{unfinished} had not finished after {} s; everything was stopped",
                timeout.unwrap_or_default().as_secs()
            ),
        }),
    }
}

async fn create(creation: &mut Creation, manifest: &Manifest) -> Result<Vec<Value>, Failure> {
    creation.namespaces(manifest).await?;
    creation.all(manifest).await
}

fn interrupted(stop: Stop) -> Failure {
    let (code, what) = match stop {
        Stop::Interrupt => (Code::Interrupted, "interrupted"),
        Stop::Terminate => (Code::Terminated, "told to stop"),
    };
    Failure { code, message: format!("{what}; everything was stopped") }
}
