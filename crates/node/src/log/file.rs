//! The log files of their writer. They contain whole records only, and a write error never stops
//! the container.
//!
//! The writer appends to the file `log`. When that has reached its maximum size, it becomes
//! `log.<number>` and a new `log` is begun.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use jiff::Timestamp;

use super::format;
use crate::state::{AttemptDir, LogLimits};

/// The log of one attempt, to append to. The shim is its only writer.
#[derive(Debug)]
pub(crate) struct LogFile {
    dir: AttemptDir,
    limits: LogLimits,
    file: File,
    /// Offset of the next record: the end of the last whole one.
    end: u64,
    /// The number that the file gets when the next one is begun.
    number: u64,
    /// Number of dropped records.
    dropped: u64,
    /// Dropped records that the log does not mention yet.
    unreported: u64,
}

impl LogFile {
    /// Opens or creates the log of an attempt.
    pub(crate) fn open(dir: &AttemptDir, limits: LogLimits) -> io::Result<Self> {
        let file = open(&dir.log())?;
        let end = file.metadata()?.len();
        let number = dir.rotated_logs()?.last().map_or(1, |newest| newest + 1);
        Ok(Self { dir: dir.clone(), limits, file, end, number, dropped: 0, unreported: 0 })
    }

    /// Writes `count` whole records. If that fails (on a full disk) they are dropped and counted: a
    /// program must never stop because its output cannot be stored.
    pub(crate) fn append(&mut self, records: &[u8], count: u64, now: Timestamp) {
        if count == 0 {
            return;
        }
        if self.end > 0 && self.end + records.len() as u64 > self.limits.max_bytes {
            self.rotate();
        }
        if self.unreported > 0 {
            let mut note = Vec::new();
            let text = format!("mxjob: {} log lines were dropped: disk full", self.unreported);
            format::note(now, &text, &mut note);
            if self.write_whole(&note).is_err() {
                self.drop_records(count);
                return;
            }
            self.unreported = 0;
        }
        if self.write_whole(records).is_err() {
            self.drop_records(count);
        }
    }

    /// Number of records that were dropped.
    #[must_use]
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    const fn drop_records(&mut self, count: u64) {
        self.dropped += count;
        self.unreported += count;
    }

    fn write_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all_at(bytes, self.end) {
            Ok(()) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Removes a partial record. Truncating works on a full disk.
                let _ = self.file.set_len(self.end);
                Err(error)
            }
        }
    }

    /// Begins a new file. If that fails, the old one is begun again from its start: the limit
    /// protects the disk that the whole node uses.
    fn rotate(&mut self) {
        if self.begin_file().is_err() && self.file.set_len(0).is_ok() {
            self.end = 0;
        }
    }

    fn begin_file(&mut self) -> io::Result<()> {
        // Created first, so that a failure leaves everything as it is.
        let new = self.dir.path().join("log.new");
        let file = open(&new)?;
        let earlier = self.dir.rotated_log(self.number);
        fs::rename(self.dir.log(), &earlier)?;
        if let Err(error) = fs::rename(&new, self.dir.log()) {
            let _ = fs::rename(&earlier, self.dir.log());
            return Err(error);
        }
        (self.file, self.end) = (file, 0);
        self.number += 1;
        let kept = u64::from(self.limits.max_files.max(1));
        for number in self.dir.rotated_logs().unwrap_or_default() {
            if number + kept <= self.number {
                let _ = fs::remove_file(self.dir.rotated_log(number));
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &tempfile::TempDir, max_bytes: u64, max_files: u32) -> LogFile {
        let dir = AttemptDir::new(folder.path().to_owned());
        LogFile::open(&dir, LogLimits { max_bytes, max_files }).unwrap()
    }

    #[test]
    fn a_full_disk_drops_records_and_counts_them() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("log")).unwrap();
        let mut log = log(&folder, 1024, 2);
        log.append(b"a\nb\n", 2, Timestamp::UNIX_EPOCH);
        log.append(b"c\n", 1, Timestamp::UNIX_EPOCH);
        assert_eq!(log.dropped(), 3);
    }

    #[test]
    fn the_log_notes_dropped_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(&folder, 1024, 2);
        log.drop_records(2);
        log.append(b"next\n", 1, Timestamp::UNIX_EPOCH);
        let text = fs::read_to_string(folder.path().join("log")).unwrap();
        assert_eq!(
            text,
            "1970-01-01T00:00:00Z stderr F mxjob: 2 log lines were dropped: disk full\nnext\n"
        );
    }

    #[test]
    fn the_newest_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(&folder, 4, 3);
        for record in ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n", "7\n", "long line\n", "8\n"] {
            log.append(record.as_bytes(), 1, Timestamp::UNIX_EPOCH);
        }
        let dir = AttemptDir::new(folder.path().to_owned());
        assert_eq!(dir.rotated_logs().unwrap(), [4, 5]);
        let read = |path| fs::read_to_string(path).unwrap();
        assert_eq!(read(dir.rotated_log(4)), "7\n");
        assert_eq!(read(dir.rotated_log(5)), "long line\n");
        assert_eq!(read(dir.log()), "8\n");
        assert!(!folder.path().join("log.new").exists());
    }
}
