//! What `mxjob run` and `mxjob submit` show: the replicas' lines on stdout, what happens on stderr, and a progress line
//! where stderr is a terminal.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Often enough to look alive.
const TICK: Duration = Duration::from_millis(120);

/// Where things are shown.
#[derive(Debug)]
pub(crate) struct Screen {
    /// None where nobody looks.
    progress: Option<ProgressBar>,
    /// Of the labels, so that the lines stand below each other.
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

    /// Says how long labels are going to be.
    pub(crate) fn reserve(&mut self, label: &str) {
        self.width = self.width.max(label.len());
    }

    /// A line of a replica. Bytes, since programs print what they like.
    pub(crate) fn line(&self, label: &str, text: &[u8]) {
        self.above(|| {
            let mut out = std::io::stdout().lock();
            // Whoever read our output may have gone; the job goes on.
            let _ = write!(out, "{label:<0$} | ", self.width)
                .and_then(|()| out.write_all(text))
                .and_then(|()| out.write_all(b"\n"))
                .and_then(|()| out.flush());
        });
    }

    /// Something that happened.
    pub(crate) fn note(&self, text: impl Display) {
        self.above(|| output::note(format_args!("mxjob: {text}")));
    }

    /// How things stand.
    pub(crate) fn progress(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.progress {
            bar.set_message(text());
        }
    }

    /// Takes the progress line away.
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
