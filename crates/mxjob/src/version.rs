//! `mxjob version`

use serde_json::json;

use crate::cli::{Format, VersionArgs};
use crate::output;

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
