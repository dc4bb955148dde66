//! An `mxjob` server as a child process, on a free port and with a data directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Much longer than a start takes, so that it does not fail on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A graceful stop finishes open requests and syncs the store.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// `bench` measures when the kubeconfig appears, so the interval is short.
const READY_POLL: Duration = Duration::from_millis(1);

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: run::Guard,
    /// Its address, as `https://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// The admin kubeconfig that it wrote.
    pub(crate) kubeconfig: PathBuf,
    /// From the start of the process until it was ready.
    pub(crate) start_took: Duration,
}

impl Server {
    /// Starts `mxjob` with `arguments` (`up …` or `apiserver …`) and waits until it is ready.
    ///
    /// Its output goes to `log`; if it does not start, the error has the last lines.
    pub(crate) fn start(
        binary: &Path,
        arguments: &[&str],
        data: &Path,
        log: &Path,
    ) -> Result<Self> {
        let output =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().context("cannot share the log file")?;
        let mut command: Command = run::command(binary);
        command.args(arguments).arg("--data-dir").arg(data).args(["--listen", "127.0.0.1:0"]);
        command.stdout(output).stderr(errors);
        let began = Instant::now();
        let mut process = run::Guard::spawn(&mut command)?;
        // The server writes this file once it answers requests.
        let kubeconfig = data.join("kubeconfig");
        let ready = run::poll(START_LIMIT, READY_POLL, || {
            if let Some(status) = process.0.try_wait()? {
                bail!("the server exited ({status}) before it was ready:\n{}", last_lines(log, 20));
            }
            Ok(kubeconfig.exists().then(|| began.elapsed()))
        })?;
        let Some(start_took) = ready else {
            bail!("the server was not ready after {START_LIMIT:?}:\n{}", last_lines(log, 20));
        };
        let url = address(&kubeconfig)?;
        Ok(Self { process, url, kubeconfig, start_took })
    }

    /// The process id of the server.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends SIGTERM to the server and waits for its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.id().to_string();
        run::quiet(run::command("kill").args(["-TERM", &id]))
            .context("cannot signal the server")?;
        self.ended()
    }

    /// Waits for the end of a server that is already stopping.
    pub(crate) fn ended(&mut self) -> Result<()> {
        if !self.process.wait(STOP_LIMIT)? {
            bail!("the server had not stopped after {STOP_LIMIT:?} and was killed");
        }
        Ok(())
    }
}

/// The server's address in its kubeconfig.
fn address(kubeconfig: &Path) -> Result<String> {
    let text = std::fs::read_to_string(kubeconfig)
        .with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("server:"));
    let url = line.with_context(|| format!("{} names no server", kubeconfig.display()))?;
    Ok(url.trim().trim_matches('"').to_owned())
}

/// The end of a log file, indented.
pub(crate) fn last_lines(log: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines.iter().skip(from).map(|line| format!("    {line}\n")).collect()
}
