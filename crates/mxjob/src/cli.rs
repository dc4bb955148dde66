//! The command line: the list of commands, and the dispatch to their modules. Each command's module
//! has its arguments.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::fs::Mode;

use crate::apiserver::{self, ApiserverArgs};
use crate::down::{self, DownArgs};
use crate::exit::Failure;
use crate::manifests::{self, ManifestsArgs};
use crate::migrate::{self, MigrateArgs};
use crate::operator::{self, OperatorArgs};
use crate::output;
use crate::run::{self, RunArgs};
use crate::submit::{self, SubmitArgs};
use crate::up::{self, UpArgs};
use crate::validate::{self, ValidateArgs};
use crate::version::{self, VersionArgs};

/// Distributed training jobs of the DMLC family: Apache MXNet and anything else built on ps-lite
#[derive(Debug, Parser)]
#[command(name = "mxjob", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Run `mxjob COMMAND --help` for details.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything: API server, job controller and node agent
    ///
    /// Prints its address and the path of the kubeconfig, then serves until SIGTERM or ^C. Running
    /// jobs keep running after that, and the next `mxjob up` with the same data directory resumes
    /// them; `mxjob down` stops them. A second ^C ends the server without waiting for open
    /// requests.
    Up(UpArgs),
    /// Run the API server only: objects are stored and served, but no controller acts on them
    Apiserver(ApiserverArgs),
    /// Run the job in a file: start a server for it, follow the job, exit with its result
    ///
    /// Log lines of the replicas go to stdout, everything else to stderr. Nothing is left running
    /// when the job ends, fails or is interrupted.
    #[command(after_help = run::EXIT_CODES)]
    Run(RunArgs),
    /// Run the job in a file on a cluster: create it, follow it, exit with its result
    ///
    /// Like `mxjob run`, but uses the API server of a kubeconfig. Log lines of the replicas go to
    /// stdout, everything else to stderr. A job that ends stays on the cluster; ^C and --timeout
    /// delete the objects that were created.
    #[command(after_help = submit::EXIT_CODES)]
    Submit(SubmitArgs),
    /// Check the objects in files as the server of `mxjob up` does, without a server
    ///
    /// Reports unknown fields, invalid values, and fields of pods that the node of `mxjob up` and
    /// `mxjob run` refuses or does not honour. Findings go to stdout as FILE:LINE: KIND/NAME: PATH:
    /// MESSAGE.
    #[command(after_help = validate::EXIT_CODES)]
    Validate(ValidateArgs),
    /// Report MXJobs that older operators left behind, and adopt the running ones
    ///
    /// Reads the jobs of mxnet-operator and training-operator from a cluster or from files and
    /// reports what changes for them. Changes nothing unless --apply is given; then it patches
    /// labels, services and status, so that the controller of `mxjob operator` manages the running
    /// jobs and no pod restarts. Safe to repeat.
    #[command(after_help = migrate::EXIT_CODES)]
    Migrate(MigrateArgs),
    /// Manage the jobs of a Kubernetes cluster
    ///
    /// Runs the controller of `mxjob up` as a client of the cluster's API server until SIGTERM or
    /// ^C. Of several operators one is the leader. Prints the addresses of its probes and metrics
    /// on stdout.
    Operator(OperatorArgs),
    /// Print the manifests that install the operator on a Kubernetes cluster
    ///
    /// One YAML stream with the CRD of the MXJob, the operator, its RBAC rules and its webhook:
    /// `mxjob manifests --image IMAGE | kubectl apply --server-side -f -`.
    Manifests(ManifestsArgs),
    /// Stop the server of a data directory and all pods that run there
    Down(DownArgs),
    /// Print the version
    Version(VersionArgs),
}

/// Parses the command line and runs the command. `umask` is the caller's; the processes of pods get
/// it.
pub(crate) fn main(umask: Mode) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout. A closed pipe is no failure.
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
            Self::Up(args) => up::run(args, umask),
            Self::Apiserver(args) => apiserver::run(args),
            Self::Run(args) => run::run(args, umask),
            Self::Submit(args) => submit::run(args),
            Self::Validate(args) => validate::run(&args),
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

#[cfg(test)]
mod tests;
