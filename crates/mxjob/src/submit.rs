//! `mxjob submit`: creates the objects of a job file on a cluster and follows the jobs to their
//! end.
//!
//! ```text
//! kubeconfig ─▶ cluster ─▶ file ─▶ check rights and CRD ─▶ create ─▶ follow: jobs, pods, log lines
//!                                                                      │ end, ^C, timeout
//!                     created objects are deleted, or --keep ◀─────────┘
//! ```
//!
//! Needs the rights of a user of one namespace, and reads only that namespace.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::Client;

use crate::check::Nodes;
use crate::cluster::{self, Cluster, ClusterArgs};
use crate::create::Creation;
use crate::exit::Failure;
use crate::follow::{End, Follow, Remains};
use crate::logging::{self, Level};
use crate::manifest::{Manifest, Namespace};
use crate::signals::{Signals, Stop};
use crate::values::duration;
use crate::{output, process};

/// Failures are reported as messages; the log of the client library would repeat them.
const LOG_LEVEL: &str = "off";
/// Time that pods get to stop: more than Kubernetes' default grace period.
const STOP_TIMEOUT: Duration = Duration::from_secs(45);
/// Time that a running creation gets to finish after ^C.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);

/// Exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    the job succeeded, or was created (--detach)
  1    the job failed or was deleted; the message has the first failed replica and its last lines
  2    the file, a flag or the kubeconfig is invalid, or the cluster rejected an object; nothing
       remains
  3    the cluster cannot be reached, does not serve MXJobs, or denies access; an object could
       not be deleted; or the result is unknown
  124  the job did not finish within --timeout; everything was deleted, unless --keep was given
  130  interrupted by ^C; everything was deleted, unless --keep was given
  143  ended by SIGTERM; everything was deleted, unless --keep was given";

/// `mxjob submit`
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// File or folder with the job as YAML or JSON, as `kubectl create -f` reads it; it may also
    /// contain ConfigMaps and Secrets; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespace of the objects [default: that of the file, else that of the context]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Delete the job if it does not finish within this time, for example 90, 90s, 15m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Do not follow the job: print the created objects and exit
    #[arg(long, conflicts_with_all = ["timeout", "keep"])]
    detach: bool,
    /// Keep the job running after ^C or --timeout
    #[arg(long)]
    keep: bool,
    /// Also log to stderr, at this level [default: off]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    log_level: Option<Level>,
}

/// Runs the job of a file on a cluster.
pub(crate) fn run(args: SubmitArgs) -> Result<(), Failure> {
    logging::start(&logging::level(args.log_level.clone(), LOG_LEVEL)?)?;
    process::block_on(submit(args))
}

async fn submit(args: SubmitArgs) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let ready = async {
        let cluster = Cluster::find(&args.cluster).await?;
        let namespace = match &args.namespace {
            Some(name) => Namespace::Always(cluster::check_namespace(name)?),
            None => Namespace::OrElse(&cluster.namespace),
        };
        let manifest = Manifest::load(&args.file, namespace, Nodes::Cluster)?;
        for namespace in manifest.namespaces() {
            cluster.check_jobs(namespace).await?;
        }
        Ok((cluster, manifest))
    };
    let (cluster, manifest) = tokio::select! {
        ready = ready => ready?,
        stop = signals.next() => return Err(stop.failure("nothing was created")),
    };
    let mut creation = Creation::new(cluster.creating.clone());
    let mut follow = match create(&cluster.client, &mut creation, &manifest, &mut signals).await {
        Ok(follow) => follow,
        Err(failure) => {
            let left = creation.undo().await;
            return Err(match left.as_slice() {
                [] => failure,
                left => Failure {
                    message: format!(
                        "{}\nmxjob: these objects could not be deleted: {}",
                        failure.message,
                        left.join("; ")
                    ),
                    ..failure
                },
            });
        }
    };
    if args.detach {
        for object in creation.created() {
            output::data(format_args!("{} created", object.shown));
        }
        return Ok(());
    }
    for job in follow.jobs() {
        output::note(format_args!(
            "mxjob: job {} is in namespace {} of {}",
            job.name, job.namespace, cluster.shown
        ));
    }
    let end = Box::pin(follow.run(std::future::pending(), &mut signals, args.timeout)).await;
    let mut outcome = match &end {
        End::Stopped(_) | End::TimedOut(_) if args.keep => kept(&follow, &args.cluster),
        End::Stopped(_) | End::TimedOut(_) => {
            stop(&follow, &mut creation, &end, &mut signals).await?
        }
        End::Finished(_) | End::Failed(_) => String::new(),
    };
    if let (End::TimedOut(_), Some(hint)) = (&end, follow.not_picked_up()) {
        outcome = format!("{outcome}\nmxjob: {hint}");
    }
    end.result(args.timeout, &outcome)
}

/// Creates the objects of the file. After a failure, `creation` has the objects that were created
/// before.
async fn create(
    client: &Client,
    creation: &mut Creation,
    manifest: &Manifest,
    signals: &mut Signals,
) -> Result<Follow, Failure> {
    let mut all = std::pin::pin!(creation.all(manifest));
    let jobs = tokio::select! {
        jobs = &mut all => jobs?,
        stop = signals.next() => {
            // Let the creation finish: an object whose answer is not awaited may exist
            // nevertheless.
            let outcome = match tokio::time::timeout(CREATE_TIMEOUT, all).await {
                Ok(Err(failure)) => format!("{}; the created objects were deleted", failure.message),
                Ok(Ok(_)) => "the created objects were deleted".to_owned(),
                Err(_) => "the created objects were deleted, but the last request was not answered; check whether its object exists".to_owned(),
            };
            return Err(stop.failure(&outcome));
        }
    };
    let mut follow = Follow::new(client.clone());
    follow.expect(&jobs);
    Ok(follow)
}

/// Deletes the created objects and waits until the pods are deleted. Returns a message about it.
async fn stop(
    follow: &Follow,
    creation: &mut Creation,
    end: &End,
    signals: &mut Signals,
) -> Result<String, Failure> {
    if matches!(end, End::Stopped(Stop::Interrupt)) {
        output::note("mxjob: stopping; press ^C again to exit without waiting for the pods");
    }
    let clean = async {
        let Remains { mut jobs, pods } = follow.remove_jobs(STOP_TIMEOUT).await;
        if jobs.is_empty() {
            jobs.extend(creation.undo_others().await);
        } else {
            // A job that keeps running needs its ConfigMaps and Secrets.
            let others = creation.created().iter().filter(|object| !object.is_job);
            jobs.extend(others.map(|object| format!("{} was kept for it", object.shown)));
        }
        (jobs, pods)
    };
    let (left, pods) = tokio::select! {
        left = Box::pin(clean) => left,
        again = signals.next() => {
            return Err(again.failure("the jobs are being deleted; their pods may still run"));
        }
    };
    match (left.as_slice(), pods) {
        ([], 0) => Ok("everything was deleted".to_owned()),
        ([], pods) => Ok(format!("everything was deleted; {pods} pods are still terminating")),
        (left, _) => Err(Failure::system(format!("could not be deleted: {}", left.join("; ")))),
    }
}

/// The commands to watch and delete the jobs that keep running.
fn kept(follow: &Follow, args: &ClusterArgs) -> String {
    let mut kubectl = "kubectl".to_owned();
    if let Some(file) = &args.kubeconfig {
        kubectl = format!("{kubectl} --kubeconfig {}", process::shell_word(file));
    }
    if let Some(context) = &args.context {
        kubectl = format!("{kubectl} --context {}", process::shell_word(context.as_ref()));
    }
    let lines = follow.jobs().map(|job| {
        let kubectl = format!("{kubectl} -n {}", job.namespace);
        format!(
            "job {name} keeps running\n  {kubectl} get mxjob {name} --watch\n  {kubectl} delete mxjob {name}",
            name = job.name
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}
