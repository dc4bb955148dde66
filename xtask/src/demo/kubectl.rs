//! kubectl with the demonstration's kubeconfig: single calls, and streams of lines or watch events.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run::{self, Guard};

/// Calls kubectl as the server's administrator.
#[derive(Debug)]
pub(crate) struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned() }
    }

    /// A kubectl to which the caller adds the arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = run::command("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Reads one object by its path.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let text = run::output(self.command().args(["get", "--raw", path]))?;
        serde_json::from_str(&text).with_context(|| format!("the answer to GET {path} is not JSON"))
    }

    /// Replaces one object with a `PUT` of this body.
    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Value> {
        let mut child = self
            .command()
            .args(["replace", "--raw", path, "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(body.to_string().as_bytes())
                .context("cannot pass the object to kubectl")?;
        }
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        if !output.status.success() {
            anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the answer to PUT {path} is not JSON"))
    }

    /// Passes every line of kubectl's output to `each` in a thread of its own, until the stream or
    /// the guard ends.
    pub(crate) fn lines(
        &self,
        arguments: &[&str],
        mut each: impl FnMut(String) + Send + 'static,
    ) -> Result<Guard> {
        self.stream(arguments, move |output| {
            BufReader::new(output).lines().map_while(Result::ok).for_each(&mut each);
        })
    }

    /// Passes every object of a `get … --watch` to `each` in a thread of its own.
    pub(crate) fn watch(
        &self,
        what: &[&str],
        mut each: impl FnMut(Value) + Send + 'static,
    ) -> Result<Guard> {
        let mut arguments = vec!["get", "--watch", "--output=json"];
        arguments.extend(what);
        self.stream(&arguments, move |output| {
            let objects = serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter();
            objects.map_while(Result::ok).for_each(&mut each);
        })
    }

    fn stream(
        &self,
        arguments: &[&str],
        read: impl FnOnce(Box<dyn Read>) + Send + 'static,
    ) -> Result<Guard> {
        let mut command = self.command();
        // kubectl's error about a stream that is closed at the end would only confuse.
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = Guard::spawn(&mut command)?;
        let output = guard.0.stdout.take().context("kubectl has no stdout")?;
        std::thread::spawn(move || read(Box::new(output)));
        Ok(guard)
    }
}
