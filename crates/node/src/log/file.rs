//! The log file of its writer. It contains whole records only, and a write error never stops the
//! container.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use jiff::Timestamp;

use super::format;

/// The log file of one attempt, to append to. The shim is its only writer.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    /// Offset of the next record: the end of the last whole one.
    end: u64,
    /// Number of dropped records.
    dropped: u64,
    /// Dropped records that the log does not mention yet.
    unreported: u64,
}

impl LogFile {
    /// Opens or creates the file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let end = file.metadata()?.len();
        Ok(Self { file, end, dropped: 0, unreported: 0 })
    }

    /// Writes `count` whole records. If that fails (on a full disk) they are dropped and counted: a
    /// program must never stop because its output cannot be stored.
    pub(crate) fn append(&mut self, records: &[u8], count: u64, now: Timestamp) {
        if count == 0 {
            return;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_drops_records_and_counts_them() {
        let mut log = LogFile::open(Path::new("/dev/full")).unwrap();
        log.append(b"a\nb\n", 2, Timestamp::UNIX_EPOCH);
        log.append(b"c\n", 1, Timestamp::UNIX_EPOCH);
        assert_eq!(log.dropped(), 3);
    }

    #[test]
    fn the_log_notes_dropped_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path).unwrap();
        log.drop_records(2);
        log.append(b"next\n", 1, Timestamp::UNIX_EPOCH);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "1970-01-01T00:00:00Z stderr F mxjob: 2 log lines were dropped: disk full\nnext\n"
        );
    }
}
