//! Running other programs, and the folders of the repository.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The root folder of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// A folder for local installations and results, which are never committed.
pub(crate) fn local() -> PathBuf {
    root().join(".demo")
}

/// A command that starts `program` in the root folder.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// A command that starts, in the root folder, the cargo that runs this program.
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

/// Like [`check`], but a ^C on the terminal does not reach it, and it has a time limit: for
/// cleaning up.
pub(crate) fn cleanup(command: &mut Command, limit: Duration) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let mut process = Guard::spawn(command)?;
    match poll(limit, Duration::from_millis(20), || Ok(process.0.try_wait()?))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{}` failed ({status})", shown(command)),
        None => bail!("`{}` had not ended after {limit:?}", shown(command)),
    }
}

/// The stdout of the command; its stderr is part of the error if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", shown(command), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program of this name is on the PATH.
pub(crate) fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// Calls `ready` every `every` until it returns a value; `None` after `limit`.
///
/// Only for changes without a notification, for example of a file of another process.
#[allow(
    clippy::disallowed_methods,
    reason = "waits for a file of another process, which notifies nobody"
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

/// A child process that is killed and reaped when this value is dropped.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Child);

impl Guard {
    /// Starts the command in a process group of its own, so that a ^C on the terminal reaches only
    /// this program, which decides in which order processes stop.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        Ok(Self(child))
    }

    /// Waits at most `limit` for the end of the process; returns whether it has ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<bool> {
        let ended = poll(limit, Duration::from_millis(20), || Ok(self.0.try_wait()?))?;
        Ok(ended.is_some())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command line as text.
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
