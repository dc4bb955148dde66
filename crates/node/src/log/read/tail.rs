//! Finds the last lines of a log without reading all of it.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use crate::log::format::Record;

/// Bytes per read. The file is read backwards.
const BLOCK: u64 = 64 * 1024;

/// Enough bytes for the time, stream and tag of a record.
const HEAD: usize = 64;

/// Counts lines backwards over the files of a log, the newest first. The records of one line count
/// once, also where they are in two files.
#[derive(Debug)]
pub(super) struct Counter {
    /// The number of lines to find.
    lines: u64,
    /// The lines that have begun, seen from the end.
    count: u64,
}

impl Counter {
    pub(super) const fn new(lines: u64) -> Self {
        Self { lines, count: 0 }
    }

    /// The offset of the last lines in a file, or `None` if they begin in an earlier one.
    pub(super) fn offset(&mut self, file: &File) -> io::Result<Option<u64>> {
        let end = file.metadata()?.len();
        if self.lines == 0 {
            return Ok(Some(end));
        }
        let mut newlines = Newlines { file, start: end, block: Vec::new() };
        let Some(mut record_end) = newlines.next()? else { return Ok(None) };
        loop {
            let before = newlines.next()?;
            let record_start = before.map_or(0, |newline| newline + 1);
            // The newest record belongs to line 1; every older record with tag F ends another line.
            if self.count == 0 || ends_line(file, record_start)? {
                self.count += 1;
                if self.count > self.lines {
                    return Ok(Some(record_end + 1));
                }
            }
            match before {
                Some(newline) => record_end = newline,
                None => return Ok(None),
            }
        }
    }
}

fn ends_line(file: &File, record_start: u64) -> io::Result<bool> {
    let mut head = [0; HEAD];
    let length = file.read_at(&mut head, record_start)?;
    Ok(Record::parse(head.get(..length).unwrap_or_default()).is_none_or(|record| record.full))
}

/// Positions of newlines, last first.
struct Newlines<'a> {
    file: &'a File,
    /// Offset of `block` in the file.
    start: u64,
    /// The bytes that were not searched yet.
    block: Vec<u8>,
}

impl Newlines<'_> {
    fn next(&mut self) -> io::Result<Option<u64>> {
        loop {
            if let Some(at) = self.block.iter().rposition(|&byte| byte == b'\n') {
                self.block.truncate(at);
                return Ok(Some(self.start + at as u64));
            }
            if self.start == 0 {
                return Ok(None);
            }
            let length = BLOCK.min(self.start);
            self.start -= length;
            self.block.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            self.file.read_exact_at(&mut self.block, self.start)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    /// The records from the offset on, of files whose records are given oldest first.
    fn check_files(files: &[&[&str]], lines: u64, expect: &[&str]) {
        let mut counter = Counter::new(lines);
        let mut found: Vec<String> = Vec::new();
        for records in files.iter().rev() {
            let mut file = tempfile::tempfile().unwrap();
            for record in *records {
                writeln!(file, "2026-11-24T08:00:00Z stdout {record}").unwrap();
            }
            let offset = counter.offset(&file).unwrap();
            file.seek(SeekFrom::Start(offset.unwrap_or_default())).unwrap();
            let text = io::read_to_string(file).unwrap();
            let texts =
                text.lines().map(|line| line["2026-11-24T08:00:00Z stdout ".len()..].to_owned());
            found.splice(0..0, texts);
            if offset.is_some() {
                break;
            }
        }
        assert_eq!(found, expect, "{lines} of {files:?}");
    }

    fn check(records: &[&str], lines: u64, expect: &[&str]) {
        check_files(&[records], lines, expect);
    }

    #[test]
    fn lines_are_counted_over_files() {
        let files: &[&[&str]] = &[&["F a", "P b"], &["F b"], &[], &["F c", "P d"]];
        check_files(files, 0, &[]);
        check_files(files, 1, &["P d"]);
        check_files(files, 2, &["F c", "P d"]);
        check_files(files, 3, &["P b", "F b", "F c", "P d"]);
        check_files(files, 4, &["F a", "P b", "F b", "F c", "P d"]);
        check_files(files, 9, &["F a", "P b", "F b", "F c", "P d"]);
    }

    #[test]
    fn records_of_one_line_count_once() {
        check(&[], 3, &[]);
        check(&["F a", "F b", "F c"], 0, &[]);
        check(&["F a", "F b", "F c"], 1, &["F c"]);
        check(&["F a", "F b", "F c"], 2, &["F b", "F c"]);
        check(&["F a", "F b", "F c"], 9, &["F a", "F b", "F c"]);
        check(&["F a", "P b", "P b", "F b", "F c"], 2, &["P b", "P b", "F b", "F c"]);
        check(&["F a", "P b"], 1, &["P b"]);
        check(&["F a", "P b"], 2, &["F a", "P b"]);
    }

    #[test]
    fn lines_may_cross_blocks() {
        let long = format!("F {}", "x".repeat(60_000));
        check(&[&long, &long, "F end"], 2, &[&long, "F end"]);
    }
}
