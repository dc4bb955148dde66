//! Exit codes, and the message of a failure.

use std::error::Error;
use std::process::ExitCode;

use mxjob_machinery::error::{chain, root_cause};

/// The exit codes, documented in `docs/reference/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The job failed (`run`, `submit`), or a report needs a decision (`migrate`).
    JobFailed,
    /// The input is invalid: a flag, the configuration, the token file, the job file. Nothing was
    /// started.
    Input,
    /// The system or the cluster prevented it: a lock, a port, a missing right, the disk, the
    /// network.
    System,
    /// The job did not finish within `--timeout`; the code of `timeout(1)`.
    Timeout,
    /// Interrupted by ^C; the code that shells use.
    Interrupted,
    /// Ended by SIGTERM before the job was done; the code that shells use.
    Terminated,
}

/// Why the program fails: the message that is printed after `mxjob: `, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// One sentence, or one error per line.
    pub(crate) message: String,
}

// === impl Code ===

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(match code {
            Code::JobFailed => 1,
            Code::Input => 2,
            Code::System => 3,
            Code::Timeout => 124,
            Code::Interrupted => 130,
            Code::Terminated => 143,
        })
    }
}

// === impl Failure ===

impl Failure {
    /// Invalid input.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self { code: Code::Input, message: message.into() }
    }

    /// The system or the cluster prevented it.
    pub(crate) fn system(message: impl Into<String>) -> Self {
        Self { code: Code::System, message: message.into() }
    }

    /// The same, with an error and its causes as the message.
    pub(crate) fn of(error: &dyn Error) -> Self {
        Self::system(chain(error))
    }

    /// The same, with the error and its innermost cause, for errors whose causes in between only
    /// name a library.
    pub(crate) fn at_root(error: &dyn Error) -> Self {
        let (text, cause) = (error.to_string(), root_cause(error));
        Self::system(if text == cause { text } else { format!("{text}: {cause}") })
    }

    /// The same, with the failed action before the error: `cannot start the log`.
    pub(crate) fn doing(action: &str, error: &dyn Error) -> Self {
        Self::system(format!("{action}: {}", chain(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {0}")]
    struct Outer(&'static str, #[source] std::io::Error);

    #[test]
    fn messages_name_each_cause_once() {
        let cause = || std::io::Error::other("no such disk");
        assert_eq!(Failure::of(&Outer("a", cause())).message, "cannot open a: no such disk");
        assert_eq!(Failure::at_root(&Outer("a", cause())).message, "cannot open a: no such disk");
        assert_eq!(Failure::at_root(&cause()).message, "no such disk");
        assert_eq!(
            Failure::doing("cannot start", &cause()).to_string(),
            "cannot start: no such disk"
        );
    }
}
