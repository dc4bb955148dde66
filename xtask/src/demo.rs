//! `demo`: a real MXNet training on this machine.
//!
//! It uses the commands of a user: `mxjob up`, `kubectl`, `mxjob down`. It stops every process that
//! it started, also after a failure or an interruption.

mod follow;
mod kubectl;
mod screen;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::interrupt::{Flag, Interrupted};
use crate::server::{self, Server};
use crate::{environment, run};
use follow::Outcome;
use kubectl::Kubectl;
use screen::Screen;

/// The submitted file.
const MANIFEST: &str = "examples/digits-dist.yaml";
/// The name of the job in [`MANIFEST`].
const JOB: &str = "digits";

/// Longer than the grace period of pods (30 s), after which they are killed.
const DOWN_LIMIT: Duration = Duration::from_secs(60);

/// Runs the demonstration.
pub(crate) fn run(_: &[String]) -> Result<()> {
    let interrupted = Flag::install()?;
    let began = Instant::now();
    environment::prepare()?;
    environment::kubectl()?;
    interrupted.check()?;
    eprintln!("Building mxjob …");
    // The development profile, because the tests build the same files: an optimised build would
    // double the time of the first run, and Python takes nearly all of the demonstration's time.
    run::check(run::cargo().args(["build", "--quiet", "--locked", "--package", "mxjob"]))?;
    let binary = run::target()?.join("debug/mxjob");
    interrupted.check()?;

    let folder = run::local().join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let outcome = train(&binary, &folder, &interrupted);
    let clean = || {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))
    };
    match outcome {
        Ok(accuracy) => {
            clean()?;
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "\nSucceeded: accuracy {accuracy} after {seconds:.1} s in all; nothing is left running."
            );
            Ok(())
        }
        Err(error) if error.is::<Interrupted>() => {
            clean()?;
            Err(error)
        }
        Err(error) => {
            eprintln!("The server's data and log are kept in {}", folder.display());
            Err(error)
        }
    }
}

/// Starts a server, runs the job, stops everything; returns the accuracy that the job reached.
fn train(binary: &Path, folder: &Path, interrupted: &Flag) -> Result<String> {
    let data = folder.join("data");
    let log = folder.join("server.log");
    eprintln!("$ mxjob up --data-dir {} --listen 127.0.0.1:0", shown(&data));
    let mut server = Server::start(binary, &["up"], &data, &log)?;
    println!("  ready at {} after {} ms", server.url, server.start_took.as_millis());
    let result = submit_and_follow(&server, interrupted);
    if result.as_ref().is_err_and(|error| !error.is::<Interrupted>()) {
        eprintln!("The last lines of the server's log:\n{}", server::last_lines(&log, 10));
    }
    // Pods outlive their server by design, so `down` stops them, also after a failure.
    let down =
        run::cleanup(run::command(binary).arg("down").arg("--data-dir").arg(&data), DOWN_LIMIT);
    let stopped = down.and_then(|()| server.ended()).and_then(|()| nothing_left(folder));
    let accuracy = result?;
    stopped.context("the training succeeded, but stopping did not")?;
    Ok(accuracy)
}

fn submit_and_follow(server: &Server, interrupted: &Flag) -> Result<String> {
    let kubectl = Kubectl::new(&server.kubeconfig);
    eprintln!("$ export KUBECONFIG={}", shown(&server.kubeconfig));
    run::check(kubectl.command().args(["create", "-f", MANIFEST]))?;
    let mut screen = Screen::new();
    let outcome = follow::follow(&kubectl, JOB, &mut screen, interrupted);
    screen.finish();
    match outcome? {
        Outcome::Succeeded { accuracy } => {
            run::check(kubectl.command().args(["get", "mxjobs,pods"]))?;
            Ok(accuracy)
        }
        Outcome::Failed { message } => bail!("the job failed: {message}"),
    }
}

/// Fails if a process still has the run's folder in its command line.
fn nothing_left(folder: &Path) -> Result<()> {
    let needle = folder.to_string_lossy().into_owned();
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list the processes")?.flatten() {
        // A process may end at this moment; then its command line cannot be read.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&needle) {
            left.push(format!("{} ({})", entry.file_name().to_string_lossy(), line.trim()));
        }
    }
    if !left.is_empty() {
        bail!("still running: {}", left.join(", "));
    }
    Ok(())
}

/// A path as a user in the root folder would type it.
fn shown(path: &Path) -> String {
    let relative: PathBuf = path.strip_prefix(run::root()).unwrap_or(path).to_owned();
    relative.display().to_string()
}
