//! The files of one log, read one after the other while their writer begins new ones.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
};

use super::tail;
use crate::state::AttemptDir;

/// How often a file is looked for that its writer renames at the same time.
const ATTEMPTS: u32 = 1000;

/// A position in the files of a log.
#[derive(Debug)]
pub(super) struct LogFiles {
    dir: AttemptDir,
    current: Option<Numbered>,
}

/// An open file, and the number that it has or will have when it is no longer written.
#[derive(Debug)]
struct Numbered {
    number: u64,
    file: File,
}

impl LogFiles {
    /// The beginning of the log, or its last lines.
    pub(super) fn open(dir: AttemptDir, tail_lines: Option<u64>) -> io::Result<Self> {
        let mut files = Self { dir, current: None };
        match tail_lines {
            None => files.current = files.after(0)?,
            Some(lines) => files.seek_tail(lines)?,
        }
        Ok(files)
    }

    /// Appends at most `limit` bytes of the current file to `raw`. Returns their number.
    pub(super) fn read(&mut self, limit: u64, raw: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.current {
            Some(current) => (&mut current.file).take(limit).read_to_end(raw),
            None => Ok(0),
        }
    }

    /// Whether nothing more is written to the current file. What was read before this call may not
    /// be all of it.
    pub(super) fn is_complete(&self) -> io::Result<bool> {
        let Some(current) = &self.current else { return Ok(true) };
        // A reader that is slower than the writer has a file that was removed.
        Ok(self.dir.rotated_log(current.number).exists() || current.file.metadata()?.nlink() == 0)
    }

    /// Continues with the next file. Returns whether there is one.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        let number = self.current.as_ref().map_or(0, |current| current.number);
        let next = self.after(number)?;
        let found = next.is_some();
        if found {
            self.current = next;
        }
        Ok(found)
    }

    /// The first file with a higher number.
    fn after(&self, number: u64) -> io::Result<Option<Numbered>> {
        for _ in 0..ATTEMPTS {
            let earlier = self.dir.rotated_logs()?;
            if let Some(&next) = earlier.iter().find(|next| **next > number) {
                match File::open(self.dir.rotated_log(next)) {
                    // It was removed to keep the limit.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    file => return Ok(Some(Numbered { number: next, file: file? })),
                }
            }
            let file = match File::open(self.dir.log()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                file => Some(file?),
            };
            // Otherwise the opened file may have got a number.
            if self.dir.rotated_logs()? != earlier {
                continue;
            }
            let written = earlier.last().map_or(1, |newest| newest + 1);
            match file {
                Some(file) if written > number => {
                    return Ok(Some(Numbered { number: written, file }));
                }
                Some(_) => return Ok(None),
                None if earlier.is_empty() => return Ok(None),
                // Between the two renames of the writer.
                None => {}
            }
        }
        Ok(None)
    }

    /// Goes to the beginning of the last `lines` lines.
    fn seek_tail(&mut self, lines: u64) -> io::Result<()> {
        let mut counter = tail::Counter::new(lines);
        let mut numbers = self.dir.rotated_logs()?;
        let mut newer = self.after(numbers.last().copied().unwrap_or_default())?;
        loop {
            if let Some(current) = &newer
                && let Some(offset) = counter.offset(&current.file)?
            {
                (&current.file).seek(SeekFrom::Start(offset))?;
                self.current = newer;
                return Ok(());
            }
            let Some(number) = numbers.pop() else { break };
            match File::open(self.dir.rotated_log(number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                file => newer = Some(Numbered { number, file: file? }),
            }
        }
        // The log has fewer lines: from the beginning of the oldest file.
        self.current = newer;
        Ok(())
    }
}
