//! `mxjob version`

use clap::Args;
use serde_json::json;

use crate::output;
use crate::values::Format;

/// `mxjob version`
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Output format [default: one line of text]
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Prints the version.
pub(crate) fn run(args: &VersionArgs) {
    let version = env!("CARGO_PKG_VERSION");
    let platform = mxjob_apiserver::version::platform();
    let kubernetes = mxjob_apiserver::version::git_version();
    match args.output {
        None => {
            output::data(format_args!("mxjob {version} ({platform}, Kubernetes API {kubernetes})"))
        }
        Some(Format::Json) => {
            let object =
                json!({"version": version, "platform": platform, "kubernetesApi": kubernetes});
            output::data(format_args!("{object:#}"));
        }
        Some(Format::Yaml) => {
            output::data(format_args!(
                "kubernetesApi: {kubernetes}\nplatform: {platform}\nversion: {version}"
            ));
        }
    }
}
