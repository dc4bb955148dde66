//! `mxjob down`: stops the server of a data directory and its pods.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mxjob_node::{StopReport, stop_all};

use crate::exit::Failure;
use crate::lock::{Holder, Lock};
use crate::output;
use crate::settings;
use crate::values::duration;

/// `mxjob down`
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Data directory [default: ~/.local/share/mxjob]
    #[arg(long, value_name = "DIR", env = "MXJOB_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
    /// Time that pods get to stop before they are killed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    grace: Duration,
}

/// The longest time that the server may take to stop. A graceful stop takes less.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Stops the server, then the pods, and prints what was stopped.
pub(crate) fn run(args: &DownArgs) -> Result<(), Failure> {
    let dir = settings::data_dir(args.data_dir.as_deref())?;
    let shown = dir.path().display();
    if !dir.path().is_dir() {
        output::note(format_args!(
            "mxjob: nothing to stop: the data directory {shown} does not exist"
        ));
        return Ok(());
    }
    let server = Holder::find(&dir.lock()).map_err(|error| Failure::of(&error))?;
    if let Some(server) = &server {
        let id = server.id();
        server.terminate().map_err(|error| {
            Failure::doing(&format!("cannot stop the server (process {id})"), &error)
        })?;
        if !server.wait(STOP_TIMEOUT) {
            return Err(Failure::system(format!(
                "the server (process {id}) did not stop within {} s, so its pods were not stopped; end it with `kill -9 {id}` and run this again",
                STOP_TIMEOUT.as_secs()
            )));
        }
    }
    // The lock keeps a server from starting, and from creating pods, while pods are stopped.
    let _lock = Lock::take(dir.path(), &dir.lock()).map_err(|error| Failure::of(&error))?;
    let report = stop_all(&dir.node(), args.grace)
        .map_err(|error| Failure::doing(&format!("cannot read the pods of {shown}"), &error))?;
    if !report.alive.is_empty() {
        return Err(Failure::system(format!(
            "these pods could not be stopped: {}",
            report.alive.join(", ")
        )));
    }
    output::note(format_args!("mxjob: {}", summary(server.as_ref().map(Holder::id), &report)));
    Ok(())
}

fn summary(server: Option<i32>, report: &StopReport) -> String {
    let server = server.map(|id| format!("the server (process {id})"));
    let pods = match report.stopped.as_slice() {
        [] => None,
        [pod] => Some(format!("1 pod ({pod})")),
        pods => Some(format!("{} pods ({})", pods.len(), pods.join(", "))),
    };
    match (server, pods) {
        (None, None) => "nothing to stop: no server and no pod was running".to_owned(),
        (Some(server), None) => format!("stopped {server}; no pod was running"),
        (None, Some(pods)) => format!("no server was running; stopped {pods}"),
        (Some(server), Some(pods)) => format!("stopped {server} and {pods}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_names_what_was_stopped() {
        let check = |server: Option<i32>, pods: &[&str], expected: &str| {
            let stopped = pods.iter().map(|pod| (*pod).to_owned()).collect();
            assert_eq!(summary(server, &StopReport { stopped, alive: Vec::new() }), expected);
        };
        check(None, &[], "nothing to stop: no server and no pod was running");
        check(Some(7), &[], "stopped the server (process 7); no pod was running");
        check(None, &["default/a"], "no server was running; stopped 1 pod (default/a)");
        check(
            Some(7),
            &["default/a", "default/b"],
            "stopped the server (process 7) and 2 pods (default/a, default/b)",
        );
    }
}
