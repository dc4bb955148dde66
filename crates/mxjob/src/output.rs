//! What people and scripts read: data on stdout, everything else on stderr.
//!
//! Whoever reads may stop reading (`| head`); that ends our output and is no failure.

use std::fmt::Display;
use std::io::Write as _;

/// A line of data.
pub(crate) fn data(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line for whoever watches.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
