//! Running other programs, and where things are in the repository.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The root folder of the repository, wherever the command was started.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// A folder for what is installed, built or recorded locally and is never committed.
pub(crate) fn local() -> PathBuf {
    root().join(".demo")
}

/// `program`, to be started in the root folder.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs us, to be started in the root folder.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The folder that cargo builds into.
pub(crate) fn target() -> Result<PathBuf> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).context("cannot read cargo metadata")?;
    let folder =
        metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(folder))
}

/// Shows the command line, runs it, and fails when it fails.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    quiet(command)
}

/// Runs without showing the command line; fails when it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// As [`check`], but out of reach of the terminal's ^C and with a time limit: for cleaning up.
pub(crate) fn cleanup(command: &mut Command, limit: Duration) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let mut process = Guard::spawn(command)?;
    match poll(limit, Duration::from_millis(20), || Ok(process.0.try_wait()?))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{}` failed ({status})", shown(command)),
        None => bail!("`{}` had not ended after {limit:?}", shown(command)),
    }
}

/// What the command wrote to stdout; its stderr is part of the error when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", shown(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program of this name is on the PATH.
pub(crate) fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// Waits until `ready` gives a value, looking every `every`; `None` after `limit`.
///
/// Only for what cannot tell us when it changes, such as a file of another process.
#[allow(
    clippy::disallowed_methods,
    reason = "another process' file is waited for; nothing would wake us"
)]
pub(crate) fn poll<T>(
    limit: Duration,
    every: Duration,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let began = Instant::now();
    loop {
        if let Some(value) = ready()? {
            return Ok(Some(value));
        }
        if began.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(every);
    }
}

/// A child process that is killed and reaped when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Child);

impl Guard {
    /// Starts the command in a process group of its own, so that a ^C on the terminal reaches only us
    /// and we decide in which order things stop.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        Ok(Self(child))
    }

    /// Waits for the end of the process for at most `limit`; whether it has ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<bool> {
        let ended = poll(limit, Duration::from_millis(20), || Ok(self.0.try_wait()?))?;
        Ok(ended.is_some())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command line for people.
fn shown(command: &Command) -> String {
    let mut words = vec![short(command.get_program())];
    words.extend(command.get_args().map(short));
    words.join(" ")
}

/// A word of a command line; paths inside the repository are shown from its root.
fn short(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let root = format!("{}/", root().display());
    let text = text.strip_prefix(&root).unwrap_or(&text);
    match text.rsplit_once('/') {
        Some((_, "cargo")) => "cargo".to_owned(),
        _ if text.contains(' ') => format!("'{text}'"),
        _ => text.to_owned(),
    }
}
