//! Connections into pods, from the API server's point of view.

use std::{fmt, io};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::LogStream;

/// A command to run and its streams.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// Uid of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether to open standard input.
    pub stdin: bool,
    /// Whether to read standard output.
    pub stdout: bool,
    /// Whether to read standard error; never with a terminal, which has one output.
    pub stderr: bool,
    /// Whether to run it in a terminal.
    pub tty: bool,
}

/// A running command. Dropping it kills the command.
pub struct ExecSession {
    /// Standard input; dropping it ends the input.
    pub stdin: Option<Box<dyn Stdin>>,
    /// Standard output.
    pub stdout: Option<LogStream>,
    /// Standard error.
    pub stderr: Option<LogStream>,
    /// Sets the size of the terminal, if there is one.
    pub resize: Option<Resize>,
    /// The exit code; 128 plus the signal for a killed command. `None` if output is only followed.
    pub exit: Option<BoxFuture<'static, io::Result<i32>>>,
}

/// Sets a terminal's columns and rows.
pub type Resize = Box<dyn Fn(u16, u16) + Send + Sync>;

/// The input of a command.
pub trait Stdin: Send {
    /// Writes everything.
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, io::Result<()>>;
}

/// A port of a pod.
#[derive(Debug, Clone)]
pub struct PortRequest {
    /// Uid of the pod.
    pub uid: String,
    /// The port.
    pub port: u16,
}

/// A connection to a port.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

// === impl ExecSession ===

impl fmt::Debug for ExecSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExecSession")
            .field("stdin", &self.stdin.is_some())
            .field("tty", &self.resize.is_some())
            .finish_non_exhaustive()
    }
}
