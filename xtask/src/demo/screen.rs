//! The demonstration's output: lines, and on a terminal a progress line below them.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// Width of the bar in characters.
const BAR: usize = 24;

/// Writes to the terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    began: Instant,
    /// The current progress line.
    progress: String,
    /// The last step that was printed.
    step: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { terminal, began: Instant::now(), progress: String::new(), step: 0 }
    }

    /// Prints a line with the seconds since the start and its source.
    pub(crate) fn line(&mut self, who: &str, text: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.clear();
        println!("{seconds:7.2}  {who:<12} {text}");
        self.draw();
    }

    /// Sets the progress line: `done` of `of` steps, and a text.
    pub(crate) fn progress(&mut self, done: usize, of: usize, text: &str) {
        let filled = (BAR * done).checked_div(of).unwrap_or_default().min(BAR);
        let bar: String = (0..BAR).map(|cell| if cell < filled { '█' } else { '░' }).collect();
        let line = format!("{bar} {text}");
        if line == self.progress {
            return;
        }
        self.progress = line;
        if self.terminal {
            self.clear();
            self.draw();
        } else if done != self.step {
            // A log shows each step once.
            println!("         {:<12} {}", "progress", self.progress);
        }
        self.step = done;
    }

    /// Keeps the last progress line on the screen.
    pub(crate) fn finish(&mut self) {
        if self.terminal && !self.progress.is_empty() {
            println!();
        }
        self.progress.clear();
    }

    fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[K");
        }
    }

    fn draw(&self) {
        if self.terminal {
            print!("{}", self.progress);
            // A closed terminal is noticed at the next line.
            let _ = std::io::stdout().flush();
        }
    }
}
