//! `mxjob submit`: what `mxjob run` does, on a cluster that is there already.
//!
//! ```text
//! kubeconfig ─▶ cluster ─▶ file ─▶ may we, is it there? ─▶ create ─▶ follow: jobs, pods, log lines
//!                                                                      │ end, ^C, time is up
//!                        what was created is deleted, or --keep ◀──────┘
//! ```
//!
//! Needs the rights of a user of one namespace; reads nothing else of the cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::Client;

use crate::cluster::{self, Cluster, ClusterArgs};
use crate::create::Creation;
use crate::exit::{Code, Failure};
use crate::follow::story::Verdict;
use crate::follow::{End, Follow, Left};
use crate::logging::{self, Level};
use crate::manifest::{Manifest, Namespace};
use crate::settings;
use crate::signals::{Signals, Stop};
use crate::{cli, output, up};

/// What goes wrong is told in sentences; the log of the client libraries would tell it again.
const LOG_LEVEL: &str = "off";
/// How long pods may take to end: more than the grace period that Kubernetes gives them by default.
const STOP_LIMIT: Duration = Duration::from_secs(45);
/// How long a creation may take that ^C found under way.
const CREATE_LIMIT: Duration = Duration::from_secs(10);

/// `mxjob submit`
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// The job, as YAML or JSON; ConfigMaps and Secrets that it needs may be in the same file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where the objects go [default: as the file says, else the namespace of the context]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Stop the job when it has not finished after this time, such as 90, 90s, 15m or 2h
    #[arg(long, value_name = "TIME", value_parser = cli::duration)]
    timeout: Option<Duration>,
    /// Do not follow the job: print what was created, and end
    #[arg(long, conflicts_with_all = ["timeout", "keep"])]
    detach: bool,
    /// After ^C or --timeout, leave the job running
    #[arg(long)]
    keep: bool,
    /// What to log to stderr besides [default: off]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    log_level: Option<Level>,
}

/// Runs the job of a file on a cluster.
pub(crate) fn run(args: SubmitArgs) -> Result<(), Failure> {
    logging::start(&settings::level(args.log_level.clone(), LOG_LEVEL)?)?;
    let runtime = up::runtime()?;
    let result = runtime.block_on(Box::pin(submit(args)));
    runtime.shutdown_background();
    result
}

async fn submit(args: SubmitArgs) -> Result<(), Failure> {
    let mut signals =
        Signals::catch().map_err(|error| Failure::doing("cannot catch signals", &error))?;
    let ready = async {
        let cluster = Cluster::find(&args.cluster).await?;
        let namespace = match &args.namespace {
            Some(name) => Namespace::Always(cluster::check_namespace(name)?),
            None => Namespace::OrElse(&cluster.namespace),
        };
        let manifest = Manifest::load(&args.file, namespace)?;
        for namespace in manifest.namespaces() {
            cluster.has_jobs(namespace).await?;
        }
        Ok((cluster, manifest))
    };
    let (cluster, manifest) = tokio::select! {
        ready = ready => ready?,
        stop = signals.next() => return Err(interrupted(stop, "nothing was created")),
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
                        "{}\nmxjob: could not be removed again: {}",
                        failure.message,
                        left.join("; ")
                    ),
                    ..failure
                },
            });
        }
    };
    if args.detach {
        creation
            .made()
            .iter()
            .for_each(|made| output::data(format_args!("{} created", made.shown)));
        return Ok(());
    }
    for job in follow.jobs() {
        output::note(format_args!(
            "mxjob: job {} is in namespace {} of {}",
            job.name, job.namespace, cluster.shown
        ));
    }
    let end = Box::pin(follow.run(std::future::pending(), &mut signals, args.timeout)).await;
    let stopped = match &end {
        End::Stopped(_) | End::TimedOut(_) if args.keep => kept(&follow, &args.cluster),
        End::Stopped(_) | End::TimedOut(_) => {
            stop(&follow, &mut creation, &end, &mut signals).await?
        }
        End::Finished(_) | End::Failed(_) => String::new(),
    };
    match end {
        End::Finished(Verdict::Succeeded) => Ok(()),
        End::Finished(Verdict::Failed(message)) => Err(Failure { code: Code::JobFailed, message }),
        End::Finished(Verdict::Unknown(message)) => Err(Failure::system(message)),
        End::Failed(failure) => Err(failure),
        End::Stopped(stop) => Err(interrupted(stop, &stopped)),
        End::TimedOut(unfinished) => {
            let seconds = args.timeout.unwrap_or_default().as_secs();
            let why = follow.untaken().map(|why| format!("\nmxjob: {why}")).unwrap_or_default();
            let message =
                format!("{unfinished} had not finished after {seconds} s; {stopped}{why}");
            Err(Failure { code: Code::Timeout, message })
        }
    }
}

/// Creates the objects of the file. What was created before a failure is known to `creation`.
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
            // To its end, since an answer that nobody waits for may be that of an object that was created.
            let what = match tokio::time::timeout(CREATE_LIMIT, all).await {
                // Said with what is to be done about it.
                Ok(Err(failure)) => format!("{}; what was created has been deleted", failure.message),
                Ok(Ok(_)) => "what was created has been deleted".to_owned(),
                Err(_) => "what is known to be created has been deleted, but the last request was not answered: look whether its object is there".to_owned(),
            };
            return Err(interrupted(stop, &what));
        }
    };
    let mut follow = Follow::new(client.clone());
    follow.expect(&jobs);
    Ok(follow)
}

/// Deletes what was created and waits until it is gone; what is to be said about it.
async fn stop(
    follow: &Follow,
    creation: &mut Creation,
    end: &End,
    signals: &mut Signals,
) -> Result<String, Failure> {
    if matches!(end, End::Stopped(Stop::Interrupt)) {
        output::note("mxjob: stopping; ^C again does not wait for the pods to end");
    }
    let clean = async {
        let Left { mut jobs, pods } = follow.remove_jobs(STOP_LIMIT).await;
        if jobs.is_empty() {
            jobs.extend(creation.undo_others().await);
        } else {
            // A job that goes on needs its ConfigMaps and Secrets.
            let others = creation.made().iter().filter(|made| !made.is_job);
            jobs.extend(others.map(|made| format!("{} was left for it", made.shown)));
        }
        (jobs, pods)
    };
    let (left, pods) = tokio::select! {
        left = Box::pin(clean) => left,
        again = signals.next() => {
            return Err(interrupted(again, "the jobs are being deleted, but their pods were not waited for"));
        }
    };
    match (left.as_slice(), pods) {
        ([], 0) => Ok("everything was stopped".to_owned()),
        ([], pods) => Ok(format!("everything was deleted, and {pods} pods are still ending")),
        (left, _) => Err(Failure::system(format!("could not be deleted: {}", left.join("; ")))),
    }
}

/// Says how to go on with jobs that are left running.
fn kept(follow: &Follow, args: &ClusterArgs) -> String {
    let mut kubectl = "kubectl".to_owned();
    if let Some(file) = &args.kubeconfig {
        kubectl = format!("{kubectl} --kubeconfig {}", up::shell_word(file));
    }
    if let Some(context) = &args.context {
        kubectl = format!("{kubectl} --context {}", up::shell_word(context.as_ref()));
    }
    let lines = follow.jobs().map(|job| {
        let kubectl = format!("{kubectl} -n {}", job.namespace);
        format!(
            "job {name} goes on\n  {kubectl} get mxjob {name} --watch\n  {kubectl} delete mxjob {name}",
            name = job.name
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn interrupted(stop: Stop, what: &str) -> Failure {
    let (code, how) = match stop {
        Stop::Interrupt => (Code::Interrupted, "interrupted"),
        Stop::Terminate => (Code::Terminated, "told to stop"),
    };
    Failure { code, message: format!("{how}; {what}") }
}
