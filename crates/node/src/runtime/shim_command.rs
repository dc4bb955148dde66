//! How the agent starts a shim.

use std::{ffi::OsString, path::PathBuf};

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

impl ShimCommand {
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
