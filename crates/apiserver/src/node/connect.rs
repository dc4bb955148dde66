//! Live connections into pods, as the API server sees them.

use std::{fmt, io};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::LogStream;

/// Which command to run, and what of it is wanted.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// Uid of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether it gets standard input.
    pub stdin: bool,
    /// Whether its output is read.
    pub stdout: bool,
    /// Whether its errors are read; never with a terminal, which has one output.
    pub stderr: bool,
    /// Whether it runs in a terminal.
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
    /// The exit code; 128 and the signal for a killed command. `None` where output is only followed.
    pub exit: Option<BoxFuture<'static, io::Result<i32>>>,
}

/// Tells a terminal its columns and rows.
pub type Resize = Box<dyn Fn(u16, u16) + Send + Sync>;

/// The input of a command.
pub trait Stdin: Send {
    /// Writes everything.
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, io::Result<()>>;
}

/// Which port of which pod.
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
