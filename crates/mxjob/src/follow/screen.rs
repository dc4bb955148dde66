//! Output of `mxjob run` and `mxjob submit`: log lines of the replicas on stdout, messages on
//! stderr, and a progress line if stderr is a terminal.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// The interval of the spinner.
const TICK: Duration = Duration::from_millis(120);

/// The output.
#[derive(Debug)]
pub(crate) struct Screen {
    /// None if stderr is no terminal.
    progress: Option<ProgressBar>,
    /// The width of the labels, so that lines are aligned.
    width: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let progress = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4}  {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { progress, width: 0 }
    }

    /// Widens the column of labels for this one.
    pub(crate) fn reserve(&mut self, label: &str) {
        self.width = self.width.max(label.len());
    }

    /// Prints a log line. Bytes, since logs need not be UTF-8.
    pub(crate) fn line(&self, label: &str, text: &[u8]) {
        self.above(|| {
            let mut out = std::io::stdout().lock();
            // If stdout is closed, the job continues.
            let _ = write!(out, "{label:<0$} | ", self.width)
                .and_then(|()| out.write_all(text))
                .and_then(|()| out.write_all(b"\n"))
                .and_then(|()| out.flush());
        });
    }

    /// Prints a message.
    pub(crate) fn note(&self, text: impl Display) {
        self.above(|| output::note(format_args!("mxjob: {text}")));
    }

    /// Updates the progress line.
    pub(crate) fn progress(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.progress {
            bar.set_message(text());
        }
    }

    /// Removes the progress line.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.progress {
            bar.finish_and_clear();
        }
    }

    fn above(&self, print: impl FnOnce()) {
        match &self.progress {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}
