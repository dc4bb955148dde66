//! `mxjob migrate`: what the Go operators left, what will be different, and how running jobs change hands without a restart.
//!
//! ```text
//! cluster or files ─▶ source: jobs, pods, services ─▶ mxjob_api::legacy ─▶ report ─▶ stdout
//!                  └▶ surroundings: definition, operators, webhooks ──────┘    └▶ adopt: patches, with --apply
//! ```
//!
//! Reads only, unless told otherwise. What the jobs' findings say and which patches adopt them is decided in [`mxjob_api`].

mod adopt;
mod report;
mod rewrite;
mod source;
mod surroundings;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use crate::cli::Format;
use crate::cluster::{Cluster, ClusterArgs, check_namespace};
use crate::exit::{Code, Failure};
use crate::signals::{Signals, Stop};
use crate::{logging, output, settings, up};
use report::Report;
use surroundings::Surroundings;

/// What goes wrong is told in sentences.
const LOG_LEVEL: &str = "off";

/// `mxjob migrate`
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Look at one namespace [default: all of them]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Read jobs (and their pods and services, where they are in it) from a file instead of a cluster; - is standard input; may
    /// be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["kubeconfig", "context"])]
    files: Vec<PathBuf>,
    /// How to print the report [default: text]
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    /// Adopt the jobs: patch their pods, services and status as the report says
    #[arg(long, conflicts_with_all = ["files", "rewrite"])]
    apply: bool,
    /// Adopt them even while an operator runs, the cluster's definition of MXJobs is not ours, or neither can be seen
    #[arg(long, requires = "apply")]
    force: bool,
    /// Print the jobs of the files so that they can be created anew: without status and without what a server writes
    #[arg(long, requires = "files")]
    rewrite: bool,
}

/// Reports, and adopts if asked to.
pub(crate) fn run(args: &MigrateArgs) -> Result<(), Failure> {
    logging::start(&settings::level(None, LOG_LEVEL)?)?;
    if !args.files.is_empty() {
        return files(args);
    }
    let runtime = up::runtime()?;
    let result = runtime.block_on(Box::pin(async {
        let mut signals =
            Signals::catch().map_err(|error| Failure::doing("cannot catch signals", &error))?;
        tokio::select! {
            result = cluster(args) => result,
            stop = signals.next() => Err(Failure {
                code: if stop == Stop::Interrupt { Code::Interrupted } else { Code::Terminated },
                message: "ended before everything was looked at; it may be repeated at any time"
                    .to_owned(),
            }),
        }
    }));
    runtime.shutdown_background();
    result
}

fn files(args: &MigrateArgs) -> Result<(), Failure> {
    let found = source::from_files(&args.files, args.namespace.as_deref())?;
    if args.rewrite {
        return rewrite::print(&found.jobs, args.output.unwrap_or(Format::Yaml));
    }
    let report = Report::new(&found, None, Timestamp::now());
    report.print(args.output);
    verdict(&report, false)
}

async fn cluster(args: &MigrateArgs) -> Result<(), Failure> {
    let namespace = args.namespace.as_deref().map(check_namespace).transpose()?;
    let cluster = Cluster::find(&args.cluster).await?;
    let found = source::from_cluster(&cluster, namespace).await?;
    let surroundings = Surroundings::read(&cluster).await;
    let report = Report::new(&found, Some(surroundings), Timestamp::now());
    report.print(args.output);
    if !args.apply {
        return verdict(&report, true);
    }
    let obstacles = report.obstacles();
    if !(obstacles.is_empty() || args.force) {
        return Err(Failure {
            code: Code::JobFailed,
            message: format!(
                "nothing was adopted, since {}; --force does it all the same",
                obstacles.join(", and ")
            ),
        });
    }
    adopt::adopt(&cluster, &found, &report).await
}

/// Says what comes next.
fn verdict(report: &Report, is_cluster: bool) -> Result<(), Failure> {
    let what = format!("{}; nothing was changed", report.summary());
    let next = match report.patches() {
        0 => String::new(),
        patches if is_cluster => {
            format!("; `mxjob migrate --apply` adopts the running jobs ({patches} patches)")
        }
        _ => String::new(),
    };
    if report.needs_a_decision() {
        return Err(Failure { code: Code::JobFailed, message: format!("{what}{next}") });
    }
    output::note(format_args!("mxjob: {what}{next}"));
    Ok(())
}
