//! `mxjob migrate`: reads jobs from a cluster or files, prints what [`mxjob_migrate`] finds, and
//! sends its patches.
//!
//! Changes the cluster only with `--apply`.

use std::path::PathBuf;

use clap::Args;
use http::Method;
use mxjob_client::request::{self, MERGE_PATCH};
use mxjob_machinery::yaml;
use mxjob_migrate::{ClusterScan, Inventory, Report, RequestError, adopt, rewrite, violations};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterArgs, check_namespace};
use crate::exit::{Code, Failure};
use crate::signals::{Signals, Stop};
use crate::values::Format;
use crate::{clock, logging, objects, output, process};

/// Exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    no finding needs a decision; with --apply: all jobs were adopted
  1    a finding needs a decision (`danger` in the report), --apply was refused, or a rewritten
       job is invalid
  2    a file, a flag or the kubeconfig is invalid
  3    the cluster cannot be reached, does not serve MXJobs, or denies access; or a patch failed
  130  interrupted by ^C
  143  ended by SIGTERM";

/// Failures are reported as messages, so nothing is logged.
const LOG_LEVEL: &str = "off";

/// `mxjob migrate`
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Read jobs of this namespace only [default: all namespaces]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Read jobs, and pods and services if present, from a file or folder instead of a cluster;
    /// `-` is standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["kubeconfig", "context"])]
    files: Vec<PathBuf>,
    /// Output format of the report [default: text]
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    /// Adopt the jobs: send the patches of the report to pods, services and status
    #[arg(long, conflicts_with_all = ["files", "rewrite"])]
    apply: bool,
    /// Adopt even while an operator runs, if the cluster's CRD would drop fields, or if neither can
    /// be read
    #[arg(long, requires = "apply")]
    force: bool,
    /// Print the jobs of the files as manifests: without status and without metadata that a server
    /// writes
    #[arg(long, requires = "files")]
    rewrite: bool,
}

/// Prints the report, and adopts the jobs with `--apply`.
pub(crate) fn run(args: &MigrateArgs) -> Result<(), Failure> {
    logging::start(&logging::level(None, LOG_LEVEL)?)?;
    if !args.files.is_empty() {
        return from_files(args);
    }
    process::block_on(async {
        let mut signals = Signals::catch()?;
        tokio::select! {
            result = from_cluster(args) => result,
            stop = signals.next() => Err(Failure {
                code: if stop == Stop::Interrupt { Code::Interrupted } else { Code::Terminated },
                message: "stopped before all jobs were read or adopted; it is safe to run it again"
                    .to_owned(),
            }),
        }
    })
}

fn from_files(args: &MigrateArgs) -> Result<(), Failure> {
    let mut inventory = Inventory::default();
    for file in &args.files {
        for object in objects::read(file)? {
            inventory.add(object.value, args.namespace.as_deref());
        }
    }
    if inventory.jobs().is_empty() {
        return Err(Failure::input("the files contain no MXJob"));
    }
    if args.rewrite {
        return print_rewritten(inventory.jobs(), args.output.unwrap_or(Format::Yaml));
    }
    let report = Report::new(&inventory, None, clock::now());
    print(&report, args.output);
    verdict(&report, false)
}

async fn from_cluster(args: &MigrateArgs) -> Result<(), Failure> {
    let namespace = args.namespace.as_deref().map(check_namespace).transpose()?;
    let cluster = Cluster::find(&args.cluster).await?;
    let failed = |error: RequestError| cluster.request_failure(error);
    let inventory = Inventory::read(&cluster, namespace).await.map_err(failed)?;
    let scan = ClusterScan::read(&cluster).await;
    let report = Report::new(&inventory, Some(scan), clock::now());
    print(&report, args.output);
    if !args.apply {
        return verdict(&report, true);
    }
    let obstacles = report.obstacles();
    if !(obstacles.is_empty() || args.force) {
        return Err(Failure {
            code: Code::JobFailed,
            message: format!(
                "nothing was adopted, because {}; --force adopts the jobs anyway",
                obstacles.join(", and ")
            ),
        });
    }
    let adopted = adopt(&cluster, inventory, clock::now()).await.map_err(failed)?;
    let done = format!(
        "{}; adopted {} jobs with {} patches",
        report.summary(),
        adopted.jobs,
        adopted.patches
    );
    if !adopted.failures.is_empty() {
        return Err(Failure::system(format!(
            "{done}, but some objects could not be patched; services and the status of a job are patched after its pods, so run this again before an operator starts:\n  {}",
            adopted.failures.join("\n  ")
        )));
    }
    output::note(format_args!(
        "mxjob: {done}; now start the operator: mxjob manifests --image IMAGE | kubectl apply --server-side -f -"
    ));
    Ok(())
}

fn print(report: &Report, format: Option<Format>) {
    match format {
        None => output::data(report.text().trim_end()),
        Some(Format::Json) => output::data(format_args!("{:#}", report.json())),
        Some(Format::Yaml) => output::data(yaml::encode(&report.json()).trim_end()),
    }
}

/// Prints the summary and the next step.
fn verdict(report: &Report, is_cluster: bool) -> Result<(), Failure> {
    let mut message = format!("{}; nothing was changed", report.summary());
    let patches = report.patches();
    if is_cluster && patches > 0 {
        message = format!(
            "{message}; `mxjob migrate --apply` adopts the running jobs ({patches} patches)"
        );
    }
    if report.needs_a_decision() {
        return Err(Failure { code: Code::JobFailed, message });
    }
    output::note(format_args!("mxjob: {message}"));
    Ok(())
}

/// Prints jobs as manifests, one document each, and fails if the server would reject one of them.
fn print_rewritten(jobs: &[Value], format: Format) -> Result<(), Failure> {
    let jobs: Vec<Value> = jobs.iter().map(rewrite).collect();
    match (format, jobs.as_slice()) {
        (Format::Json, [job]) => output::data(format_args!("{job:#}")),
        (Format::Json, jobs) => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": jobs});
            output::data(format_args!("{list:#}"));
        }
        (Format::Yaml, jobs) => {
            let documents: Vec<_> = jobs.iter().map(yaml::encode).collect();
            output::data(documents.join("---\n").trim_end());
        }
    }
    let violations: Vec<String> = jobs.iter().flat_map(violations).collect();
    if violations.is_empty() {
        return Ok(());
    }
    Err(Failure {
        code: Code::JobFailed,
        message: format!(
            "the server will reject these manifests until they are fixed:\n  {}",
            violations.join("\n  ")
        ),
    })
}

// === impl Cluster ===

impl mxjob_migrate::Cluster for Cluster {
    async fn get(&self, path: &str) -> Result<Value, RequestError> {
        request::get(&self.client, path).await.map_err(|error| self.request_error(error))
    }

    async fn merge_patch(&self, path: &str, body: &Value) -> Result<(), RequestError> {
        let sent = request::send(&self.client, Method::PATCH, path, MERGE_PATCH, Some(body)).await;
        sent.map(drop).map_err(|error| self.request_error(error))
    }
}

impl Cluster {
    fn request_error(&self, error: kube::Error) -> RequestError {
        match error {
            kube::Error::Api(status) => {
                RequestError { code: Some(status.code), message: status.message }
            }
            error => RequestError { code: None, message: self.no_answer(&error) },
        }
    }

    fn request_failure(&self, error: RequestError) -> Failure {
        match error.code {
            Some(code) => self.rejection(code, &error.message),
            None => Failure::system(error.message),
        }
    }
}
