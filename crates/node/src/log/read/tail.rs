//! Finds the last lines of a log without reading the whole file.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

use crate::log::format::Record;

/// Bytes per read. The file is read backwards.
const BLOCK: u64 = 64 * 1024;

/// Enough bytes for the time, stream and tag of a record.
const HEAD: usize = 64;

/// Sets the position of the file before its last `lines` lines. The records of one line count once.
pub(super) fn seek(file: &mut File, lines: u64) -> io::Result<()> {
    let offset = offset(file, lines)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(())
}

fn offset(file: &File, lines: u64) -> io::Result<u64> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut newlines = Newlines { file, start: end, block: Vec::new() };
    // The newest record belongs to line 1; every older record with tag F ends another line.
    let Some(mut record_end) = newlines.next()? else { return Ok(0) };
    let mut count = 1;
    loop {
        let before = newlines.next()?;
        let record_start = before.map_or(0, |newline| newline + 1);
        let newest = count == 1 && record_end + 1 >= end;
        if ends_line(file, record_start)? && !newest {
            count += 1;
            if count > lines {
                return Ok(record_end + 1);
            }
        }
        match before {
            Some(newline) => record_end = newline,
            None => return Ok(0),
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
    use std::io::Write as _;

    use super::*;

    fn check(records: &[&str], lines: u64, expect: &[&str]) {
        let mut file = tempfile::tempfile().unwrap();
        for record in records {
            writeln!(file, "2026-11-24T08:00:00Z stdout {record}").unwrap();
        }
        let offset = offset(&file, lines).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        let text = io::read_to_string(file).unwrap();
        let found: Vec<&str> = text
            .lines()
            .map(|line| line.split_at("2026-11-24T08:00:00Z stdout ".len()).1)
            .collect();
        assert_eq!(found, expect, "{lines} of {records:?}");
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
