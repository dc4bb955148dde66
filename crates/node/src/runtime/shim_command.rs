//! How the agent starts a shim.

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    process::{self, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::state::{self, LogLimits};

/// The program that becomes the shim; `--state DIR` is added to its arguments.
#[derive(Debug, Clone)]
pub struct ShimCommand {
    /// An absolute path.
    pub program: PathBuf,
    /// The arguments before `--state DIR`.
    pub args: Vec<OsString>,
    /// The whole environment of the shim.
    pub env: Vec<(OsString, OsString)>,
    /// The umask of the programs that the shim starts. The agent and the shim have a stricter one,
    /// which keeps their own files private.
    pub umask: u32,
    /// The limits of the logs that the shims write.
    pub log: LogLimits,
}

/// What the machine permits to the user of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permitted {
    /// Mounts and host names of containers: whether they need a user namespace, or why they are
    /// forbidden.
    pub(crate) namespaces: Result<bool, String>,
    /// Whether the shim can answer system calls of containers, or why not.
    pub(crate) interception: Result<(), String>,
}

impl ShimCommand {
    /// Tries what the machine permits, in a process of its own. Blocks for some milliseconds.
    pub(super) fn probe(&self) -> io::Result<Permitted> {
        let output = process::Command::new(&self.program)
            .args(&self.args)
            .arg("--probe")
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        serde_json::from_slice(&output.stdout).map_err(io::Error::other)
    }

    /// This program itself, called as `<program> shim --state DIR`.
    ///
    /// # Errors
    /// When the path of the running program is not known.
    pub fn current_exe() -> std::io::Result<Self> {
        // The path, and not a link to this process: after an upgrade new attempts get the new shim.
        Ok(Self {
            program: std::env::current_exe()?,
            args: vec!["shim".into()],
            env: Vec::new(),
            umask: state::DEFAULT_UMASK,
            log: LogLimits::default(),
        })
    }
}
