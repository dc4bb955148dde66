//! Output: data on stdout, everything else on stderr. A closed pipe (`| head`) is no failure.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line of data to stdout.
pub(crate) fn data(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line to stderr.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
