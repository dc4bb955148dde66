//! `mxjob down`: stops the server of a data directory and everything that it runs.

use std::time::Duration;

use mxjob_node::stop::{StopReport, stop_all};

use crate::cli::DownArgs;
use crate::exit::Failure;
use crate::lock::{Holder, Lock};
use crate::output;
use crate::settings;

/// More than a graceful stop takes at most.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Stops the server, then the pods, and says what it stopped.
pub(crate) fn run(args: &DownArgs) -> Result<(), Failure> {
    let dir = settings::data_dir(args.data_dir.as_deref())?;
    let shown = dir.path().display();
    if !dir.path().is_dir() {
        output::note(format_args!("mxjob: nothing to stop: there is no data directory {shown}"));
        return Ok(());
    }
    let server = Holder::find(&dir.lock()).map_err(|error| Failure::of(&error))?;
    if let Some(server) = &server {
        let id = server.id();
        server.terminate().map_err(|error| {
            Failure::doing(&format!("cannot stop the server (process {id})"), &error)
        })?;
        if !server.wait(STOP_LIMIT) {
            return Err(Failure::system(format!(
                "the server (process {id}) did not stop within {} s, so its pods were left alone; `kill -9 {id}` ends it",
                STOP_LIMIT.as_secs()
            )));
        }
    }
    // Held, so that no server starts and makes pods while they are being stopped.
    let _lock = Lock::take(dir.path(), &dir.lock()).map_err(|error| Failure::of(&error))?;
    let report = stop_all(&dir.node(), args.grace)
        .map_err(|error| Failure::doing(&format!("cannot read the pods of {shown}"), &error))?;
    if !report.alive.is_empty() {
        return Err(Failure::system(format!(
            "these pods could not be stopped: {}",
            report.alive.join(", ")
        )));
    }
    output::note(format_args!("mxjob: {}", said(server.as_ref().map(Holder::id), &report)));
    Ok(())
}

fn said(server: Option<i32>, report: &StopReport) -> String {
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
    fn what_was_stopped_is_said() {
        let check = |server: Option<i32>, pods: &[&str], want: &str| {
            let stopped = pods.iter().map(|pod| (*pod).to_owned()).collect();
            assert_eq!(said(server, &StopReport { stopped, alive: Vec::new() }), want);
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
