//! The command line: what can be typed, its help, and which command it leads to.
//!
//! Each flag is declared here once, with its help. A flag that the configuration file may set too has no default here, since
//! a default could not be told from something typed; [`settings`](crate::settings) has those.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rustix::fs::Mode;

use crate::exit::Failure;
use crate::logging::Level;
use crate::manifests::{self, ManifestsArgs};
use crate::migrate::{self, MigrateArgs};
use crate::operator::{self, OperatorArgs};
use crate::settings::Settings;
use crate::submit::{self, SubmitArgs};
use crate::{down, output, run, up, version};

/// Distributed training jobs of the DMLC family (Apache MXNet and whatever else stands on ps-lite), on this machine
#[derive(Debug, Parser)]
#[command(name = "mxjob", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "`mxjob COMMAND --help` says more about a command.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything: API server, job controller and node agent
    ///
    /// Prints where it listens and where the kubeconfig is, then serves until SIGTERM or ^C. Jobs that run at that moment
    /// keep running, and the next `mxjob up` with the same data directory finds them again; `mxjob down` stops them too. A
    /// second ^C ends the server without waiting for open requests.
    Up(UpArgs),
    /// Run the API server alone: objects are stored and served, and nothing acts on them
    Apiserver(ApiserverArgs),
    /// Run the job in a file: start a server for it, follow the job, exit with its result
    ///
    /// The lines that the replicas write go to stdout, everything else to stderr. Nothing is left running, whether the job
    /// ends, fails or is interrupted.
    #[command(after_help = RUN_EXIT)]
    Run(RunArgs),
    /// Run the job in a file on a cluster: create it there, follow it, exit with its result
    ///
    /// As `mxjob run`, but with the API server of a kubeconfig. The lines that the replicas write go to stdout, everything
    /// else to stderr. A job that ends stays on the cluster; ^C and --timeout delete what was created.
    #[command(after_help = SUBMIT_EXIT)]
    Submit(SubmitArgs),
    /// Tell what older operators left of MXJobs, and adopt their running jobs
    ///
    /// Reads the jobs of mxnet-operator and training-operator from a cluster or from files and says what will be different. It
    /// changes nothing unless --apply is given; then labels, services and status are patched so that the controller of `mxjob
    /// operator` takes running jobs over, and no pod restarts. Safe to repeat.
    #[command(after_help = MIGRATE_EXIT)]
    Migrate(MigrateArgs),
    /// Look after the jobs of a Kubernetes cluster
    ///
    /// Runs the controller of `mxjob up` against the cluster's own API server, as the leader of all such operators, until
    /// SIGTERM or ^C. Prints on stdout where it can be asked for its health and its metrics.
    Operator(OperatorArgs),
    /// Print what installs the operator on a Kubernetes cluster
    ///
    /// One YAML stream with the definition of the MXJob, the operator, its rights and its webhook: `mxjob manifests --image
    /// IMAGE | kubectl apply --server-side -f -`.
    Manifests(ManifestsArgs),
    /// Stop the server of a data directory, and all pods that it left running
    Down(DownArgs),
    /// Print the version
    Version(VersionArgs),
}

const RUN_EXIT: &str = "\
Exit codes:
  0    the job succeeded
  1    the job failed; the message names the replica that failed first, how, and its last lines
  2    the file or a flag is wrong; nothing was started
  3    the server for the job could not be started, or broke
  124  the job had not finished after --timeout
  130  interrupted by ^C; everything was stopped first
  143  ended by SIGTERM; everything was stopped first";

const SUBMIT_EXIT: &str = "\
Exit codes:
  0    the job succeeded, or was created (--detach)
  1    the job failed; the message names the replica that failed first, how, and its last lines
  2    the file, a flag or the kubeconfig is wrong, or the namespace is missing; nothing was created
  3    the cluster cannot be reached, has no MXJobs, or does not let us; nothing was created
  124  the job had not finished after --timeout
  130  interrupted by ^C; everything was stopped first, unless --keep was given
  143  ended by SIGTERM; everything was stopped first, unless --keep was given";

const MIGRATE_EXIT: &str = "\
Exit codes:
  0    nothing needs a decision; with --apply: everything was adopted
  1    something is lost, stopped or left alone unless somebody acts (`danger` in the report)
  2    a file, a flag or the kubeconfig is wrong
  3    the cluster cannot be reached, has no MXJobs, or does not let us";

/// What `up` and `apiserver` have in common.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Where everything is kept [default: ~/.local/share/mxjob]
    #[arg(long, value_name = "DIR", env = "MXJOB_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Read settings from a file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Users besides the administrator, one a line: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a list such as warn,mxjob_node=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    pub(crate) log_level: Option<Level>,
    /// Whether to delete the dependents of deleted objects, and empty deleted namespaces [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    pub(crate) garbage_collection: Option<bool>,
    /// Where a service that webhooks name can be reached; may be repeated
    #[arg(long = "webhook-service", value_name = "NAMESPACE/NAME=HOST:PORT", value_parser = webhook_service, hide_short_help = true)]
    pub(crate) webhook_services: Vec<((String, String), String)>,
}

/// Reads `NAMESPACE/NAME=HOST:PORT`.
fn webhook_service(text: &str) -> Result<((String, String), String), String> {
    let parts = || {
        let (service, address) = text.split_once('=')?;
        let (namespace, name) = service.split_once('/')?;
        let (host, port) = address.rsplit_once(':')?;
        let complete = !namespace.is_empty() && !name.is_empty() && !host.is_empty();
        (complete && port.parse::<u16>().is_ok())
            .then(|| ((namespace.to_owned(), name.to_owned()), address.to_owned()))
    };
    parts().ok_or_else(|| {
        "NAMESPACE/NAME=HOST:PORT is wanted, such as mxjob-system/mxjob-webhook=127.0.0.1:9443"
            .to_owned()
    })
}

/// `mxjob up`
#[derive(Debug, Default, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Name of this machine's Node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Where pods run, and what their relative paths start from [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// A device that pods may ask for, such as example.com/fpga=2; may be repeated
    #[arg(long = "extended-resource", value_name = "NAME=AMOUNT", value_parser = extended_resource)]
    pub(crate) extended_resources: Vec<(String, i64)>,
}

/// Reads `NAME=AMOUNT`, where the name is qualified as Kubernetes wants it of a resource that it does not know.
pub(crate) fn extended_resource(text: &str) -> Result<(String, i64), String> {
    let (name, amount) =
        text.split_once('=').ok_or("NAME=AMOUNT is wanted, such as example.com/fpga=2")?;
    let amount =
        amount.parse().map_err(|_| format!("the amount {amount:?} is not a whole number"))?;
    resource_amount(name, amount)
}

/// Checks one extended resource.
pub(crate) fn resource_amount(name: &str, amount: i64) -> Result<(String, i64), String> {
    if !name.contains('/') {
        return Err(format!("{name:?} is not a qualified name, such as example.com/fpga"));
    }
    if let Some(fault) = mxjob_machinery::names::qualified_name(name).first() {
        return Err(format!("{name:?} cannot be the name of a resource: {fault}"));
    }
    if amount < 0 {
        return Err(format!("the amount of {name} must not be negative"));
    }
    Ok((name.to_owned(), amount))
}

/// `mxjob apiserver`
#[derive(Debug, Default, Args)]
pub(crate) struct ApiserverArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Whether MXJobs are built in; if not they are served once their definition is installed, as on a cluster [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    pub(crate) builtin_mxjobs: Option<bool>,
}

/// `mxjob run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The job, as YAML or JSON; ConfigMaps and Secrets that it needs may be in the same file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Keep the server's data here instead of in a temporary directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Stop the job when it has not finished after this time, such as 90, 90s, 15m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Where the replicas run, and what their relative paths start from [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// What the server for the job logs to stderr [default: error]
    #[arg(long, value_name = "LEVEL", env = "MXJOB_LOG", hide_env_values = true, value_parser = Level::parse)]
    pub(crate) log_level: Option<Level>,
}

/// `mxjob down`
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// The data directory [default: ~/.local/share/mxjob]
    #[arg(long, value_name = "DIR", env = "MXJOB_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// How long pods may take to end before they are killed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub(crate) grace: Duration,
}

/// `mxjob version`
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// How to print it [default: one line of text]
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// Machine-readable forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Reads the command line and does what it says. `umask`: the caller's, which is for the processes of pods.
pub(crate) fn main(umask: Mode) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, and go to stdout by themselves; a reader that is gone is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command.run(umask) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(format_args!("mxjob: {failure}"));
            failure.code.into()
        }
    }
}

impl Command {
    fn run(self, umask: Mode) -> Result<(), Failure> {
        match self {
            Self::Up(args) => up::run(Settings::for_up(args, umask)?),
            Self::Apiserver(args) => up::run(Settings::for_apiserver(args)?),
            Self::Run(args) => run::run(args, umask),
            Self::Submit(args) => submit::run(args),
            Self::Migrate(args) => migrate::run(&args),
            Self::Operator(args) => operator::run(args),
            Self::Manifests(args) => manifests::run(args),
            Self::Down(args) => down::run(&args),
            Self::Version(args) => {
                version::run(&args);
                Ok(())
            }
        }
    }
}

/// Reads `90`, `90s`, `15m`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(['s', 'm', 'h']).len());
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    let seconds = number.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    // A hundred years; what is beyond breaks arithmetic with points in time.
    match seconds {
        Some(seconds) if unit > 0 && seconds <= 3_155_760_000 => Ok(Duration::from_secs(seconds)),
        _ => Err("not a time such as 90, 90s, 15m or 2h".to_owned()),
    }
}

#[cfg(test)]
mod tests;
