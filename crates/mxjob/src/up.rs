//! `mxjob up` and `mxjob apiserver`: a server until somebody stops it.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exit::{Code, Failure};
use crate::server::{Server, Stopped};
use crate::settings::Settings;
use crate::signals::{Signals, Stop};
use crate::{logging, output};

/// Serves until SIGTERM or ^C.
pub(crate) fn run(settings: Settings) -> Result<(), Failure> {
    logging::start(&settings.log_level)?;
    let runtime = runtime()?;
    let result = runtime.block_on(serve(settings));
    // What still blocks (a read of a log that nobody wants any more) is no reason to stay.
    runtime.shutdown_background();
    result
}

/// Open files that are enough for thousands of watches, logs and shims. Not all that would be allowed: processes of pods inherit
/// the limit, and some programs go through all numbers up to it.
const OPEN_FILES: u64 = 65_536;

/// Asks for more open files than the 1,024 that shells give. Without them thousands of watches and logs still fail as before.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

/// The runtime that a server or a client lives in.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    raise_open_files();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start the runtime", &error))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let mut signals =
        Signals::catch().map_err(|error| Failure::doing("cannot catch signals", &error))?;
    let mut server = tokio::select! {
        server = Box::pin(Server::start(settings)) => server?,
        _ = signals.next() => return Ok(()),
    };
    announce(&server);
    let (stop, failure) = tokio::select! {
        stop = signals.next() => (Some(stop), None),
        failure = server.broken() => (None, Some(failure)),
    };
    if stop == Some(Stop::Interrupt) {
        output::note("mxjob: stopping; ^C again ends the server at once");
    }
    let data_dir = server.settings().data_dir.clone();
    let stopped = tokio::select! {
        stopped = Box::pin(server.stop()) => stopped,
        _ = signals.next() => {
            return Err(Failure {
                code: Code::Interrupted,
                message: "ended without waiting for open requests; pods keep running".to_owned(),
            });
        }
    };
    let left = left_running(&stopped, data_dir.path());
    match failure {
        Some(failure) => Err(Failure { message: format!("{failure}; {left}"), ..failure }),
        None => {
            output::note(format_args!("mxjob: stopped; {left}"));
            Ok(())
        }
    }
}

fn announce(server: &Server) {
    let dir = &server.settings().data_dir;
    output::data(format_args!("mxjob is ready at {}", server.url()));
    output::data(format_args!("\n  export KUBECONFIG={}", shell_word(&dir.kubeconfig())));
    let hint = match server.settings().node {
        Some(_) => "kubectl create -f job.yaml && kubectl get mxjobs --watch",
        None => "kubectl get mxjobs",
    };
    output::data(format_args!("  {hint}\n"));
}

/// What `stopped` leaves, and how to end that.
fn left_running(stopped: &Stopped, dir: &Path) -> String {
    match stopped.pods {
        0 => "no pod is running".to_owned(),
        1 => format!("1 pod keeps running (`mxjob down --data-dir {}` stops it)", shell_word(dir)),
        pods => format!(
            "{pods} pods keep running (`mxjob down --data-dir {}` stops them)",
            shell_word(dir)
        ),
    }
}

/// A path as a shell reads it.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=~".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        let check = |path: &str, want: &str| assert_eq!(shell_word(Path::new(path)), want);
        check("/tmp/a-b_c.d", "/tmp/a-b_c.d");
        check("/tmp/my data", "'/tmp/my data'");
        check("/tmp/it's", r"'/tmp/it'\''s'");
    }

    #[test]
    fn what_is_left_is_said() {
        let say = |pods: usize| left_running(&Stopped { pods }, Path::new("/d"));
        assert_eq!(say(0), "no pod is running");
        assert_eq!(say(1), "1 pod keeps running (`mxjob down --data-dir /d` stops it)");
        assert_eq!(say(4), "4 pods keep running (`mxjob down --data-dir /d` stops them)");
    }
}
