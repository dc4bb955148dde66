//! SIGTERM, SIGINT and SIGHUP: the first one asks for a clean stop, the second one for an immediate
//! end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Code, Failure};

/// A signal that asks the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// ^C.
    Interrupt,
    /// SIGTERM, as service managers and `mxjob down` send it, or SIGHUP, as closing terminals do.
    Terminate,
}

impl Stop {
    /// The failure of a command that the signal stopped, and what it did about its objects.
    pub(crate) fn failure(self, outcome: &str) -> Failure {
        let (code, reason) = match self {
            Self::Interrupt => (Code::Interrupted, "interrupted"),
            Self::Terminate => (Code::Terminated, "terminated"),
        };
        Failure { code, message: format!("{reason}; {outcome}") }
    }
}

/// The signal handlers. They stay installed until the process ends.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers. Needs a tokio runtime.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let handler =
            |kind| signal(kind).map_err(|error| Failure::doing("cannot catch signals", &error));
        Ok(Self {
            interrupt: handler(SignalKind::interrupt())?,
            terminate: handler(SignalKind::terminate())?,
            hangup: handler(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancellation safe.
    pub(crate) async fn next(&mut self) -> Stop {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Stop::Interrupt,
            Some(()) = self.terminate.recv() => Stop::Terminate,
            Some(()) = self.hangup.recv() => Stop::Terminate,
            else => std::future::pending().await,
        }
    }
}
