//! `mxjob apiserver`: the API server and its store, without controller and node agent.

use clap::Args;

use crate::exit::Failure;
use crate::settings::Settings;
use crate::up::{ServeArgs, serve};

/// `mxjob apiserver`
#[derive(Debug, Default, Args)]
pub(crate) struct ApiserverArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Serve MXJobs as a built-in kind; if false, they are served once their CRD is created, as on
    /// a cluster [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    builtin_mxjobs: Option<bool>,
}

/// Serves until SIGTERM or ^C.
pub(crate) fn run(args: ApiserverArgs) -> Result<(), Failure> {
    serve(args.settings()?)
}

impl ApiserverArgs {
    fn settings(self) -> Result<Settings, Failure> {
        let config = self.serve.config_file()?;
        let mut settings = self.serve.settings(config, None)?;
        settings.extensions.built_in_mxjobs = self.builtin_mxjobs.unwrap_or(true);
        Ok(settings)
    }
}
