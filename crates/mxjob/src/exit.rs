//! How the program ends: its exit codes, and the one sentence that goes with a failure.

use std::error::Error;
use std::process::ExitCode;

/// The exit codes, as `docs/reference/cli.md` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The job failed (`run`, `submit`).
    JobFailed,
    /// What was given is wrong: a flag, the configuration, the token file, the job file. Nothing was started.
    Input,
    /// The system did not let us: a lock, a port, a right, the disk.
    System,
    /// The job had not finished in time (`--timeout`), as `timeout` says it.
    Timeout,
    /// Interrupted by ^C, as shells say it.
    Interrupted,
    /// Ended by SIGTERM before the job was done, as shells say it.
    Terminated,
}

/// Why the program ends early: what is printed after `mxjob: `, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// One sentence; several lines only where there is one cause a line.
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
    /// Something given is wrong.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self { code: Code::Input, message: message.into() }
    }

    /// The system did not let us.
    pub(crate) fn system(message: impl Into<String>) -> Self {
        Self { code: Code::System, message: message.into() }
    }

    /// The system did not let us, as an error and its causes say.
    pub(crate) fn of(error: &dyn Error) -> Self {
        Self::system(chain(error))
    }

    /// The same, with the innermost cause alone: where what lies between is the words of a library about itself.
    pub(crate) fn at_root(error: &dyn Error) -> Self {
        let (said, why) = (error.to_string(), root(error));
        Self::system(if said == why { said } else { format!("{said}: {why}") })
    }

    /// The same, with what was attempted before it.
    pub(crate) fn doing(what: &str, error: &dyn Error) -> Self {
        Self::system(format!("{what}: {}", chain(error)))
    }
}

/// The innermost cause alone.
pub(crate) fn root(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// An error and its causes in one sentence. A cause that the error before it has said already is not repeated.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {0}")]
    struct Outer(&'static str, #[source] std::io::Error);

    #[test]
    fn a_cause_is_said_once() {
        let cause = || std::io::Error::other("no such disk");
        assert_eq!(chain(&Outer("a", cause())), "cannot open a: no such disk");
        assert_eq!(chain(&Outer("a: no such disk", cause())), "cannot open a: no such disk");
        assert_eq!(Failure::at_root(&Outer("a", cause())).message, "cannot open a: no such disk");
        assert_eq!(Failure::at_root(&cause()).message, "no such disk");
        assert_eq!(
            Failure::doing("cannot start", &cause()).to_string(),
            "cannot start: no such disk"
        );
    }
}
