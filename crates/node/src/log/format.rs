//! The CRI log format: splits a byte stream into records, and parses records.
//!
//! A record is one line, `<RFC 3339 time in UTC> <stdout|stderr> <F|P> <text>`: `F` ends a line of
//! the program, `P` is a part of one. Pure: the time is a parameter.

use std::io::Write as _;

use jiff::Timestamp;

/// Maximum size of the text of one record, in bytes: the limit of container runtimes, which log
/// shippers expect.
pub const MAX_TEXT: usize = 16 * 1024;

/// Maximum size of the last line that is kept for a failure message, in bytes.
const MAX_LAST_LINE: usize = 1024;

/// The stream that a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name in the log file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Splits the bytes of one stream into records.
#[derive(Debug)]
pub struct Splitter {
    stream: Stream,
    /// The beginning of an unfinished line; at most [`MAX_TEXT`] bytes between calls.
    pending: Vec<u8>,
    /// The time and stream of the records of one call, formatted once: a call can complete
    /// thousands.
    head: Vec<u8>,
}

/// One record of a log file, borrowed from the line it was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The time as written.
    pub time: &'a [u8],
    /// The stream it was written to.
    pub stream: Stream,
    /// True for `F`: the program's line ends here.
    pub full: bool,
    /// The text without its newline.
    pub text: &'a [u8],
}

/// The newest non-blank line seen, kept for the message of a failed container.
#[derive(Debug, Default)]
pub struct LastLine(Vec<u8>);

// === impl Splitter ===

impl Splitter {
    /// A splitter for `stream`.
    #[must_use]
    pub const fn new(stream: Stream) -> Self {
        Self { stream, pending: Vec::new(), head: Vec::new() }
    }

    /// Takes the next bytes of the stream and appends the records that they complete to `out`.
    /// Returns the number of these records.
    pub fn push(
        &mut self,
        input: &[u8],
        now: Timestamp,
        out: &mut Vec<u8>,
        last: &mut LastLine,
    ) -> u64 {
        self.set_time(now);
        let mut records = 0;
        let mut rest = input;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end);
            records += self.take(line, out);
            if self.pending.last() == Some(&b'\r') {
                self.pending.pop();
            }
            last.remember(&self.pending);
            self.emit(b'F', out);
            records += 1;
            rest = after.get(1..).unwrap_or_default();
        }
        records + self.take(rest, out)
    }

    /// Ends the stream: a last line without a newline becomes a partial record. Returns the number
    /// of records.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>, last: &mut LastLine) -> u64 {
        if self.pending.is_empty() {
            return 0;
        }
        last.remember(&self.pending);
        self.set_time(now);
        self.emit(b'P', out);
        1
    }

    /// Adds bytes without a newline to the pending line, and emits partial records where it gets
    /// too long.
    fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> u64 {
        let mut records = 0;
        while self.pending.len() + bytes.len() > MAX_TEXT {
            let room = MAX_TEXT - self.pending.len();
            let (head, tail) = bytes.split_at(room);
            self.pending.extend_from_slice(head);
            self.emit(b'P', out);
            records += 1;
            bytes = tail;
        }
        self.pending.extend_from_slice(bytes);
        records
    }

    fn set_time(&mut self, now: Timestamp) {
        self.head.clear();
        write_head(now, self.stream, &mut self.head);
    }

    fn emit(&mut self, tag: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        write_text(tag, &self.pending, out);
        self.pending.clear();
    }
}

fn write_head(now: Timestamp, stream: Stream, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{now} {} ", stream.as_str());
}

fn write_text(tag: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.push(b' ');
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Appends one complete record with a note of the runtime itself.
pub fn note(now: Timestamp, text: &str, out: &mut Vec<u8>) {
    write_head(now, Stream::Stderr, out);
    write_text(b'F', text.as_bytes(), out);
}

// === impl Record ===

impl<'a> Record<'a> {
    /// Parses one line of a log file, with or without its newline. `None` if it is not a record.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |&byte| byte == b' ');
        let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let stream = match stream {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let full = match tag {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, stream, full, text: parts.next()? })
    }

    /// The time, if it is valid.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

// === impl LastLine ===

impl LastLine {
    fn remember(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if !line.is_empty() && !is_stack_trace(line) {
            self.0.clear();
            self.0.extend_from_slice(line.get(..MAX_LAST_LINE).unwrap_or(line));
        }
    }

    /// The line, if there was one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| String::from_utf8_lossy(&self.0).into_owned())
    }
}

/// Whether a line belongs to a stack trace of MXNet (dmlc-core). The line before the trace says
/// what went wrong.
fn is_stack_trace(line: &[u8]) -> bool {
    [&b"[bt] ("[..], b"Stack trace:", b"Stack trace returned"]
        .iter()
        .any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-24T08:00:00.12Z";

    fn split(pieces: &[&[u8]]) -> (String, Option<String>) {
        let now: Timestamp = TIME.parse().unwrap();
        let mut splitter = Splitter::new(Stream::Stdout);
        let (mut out, mut last) = (Vec::new(), LastLine::default());
        let mut records = 0;
        for piece in pieces {
            records += splitter.push(piece, now, &mut out, &mut last);
        }
        records += splitter.finish(now, &mut out, &mut last);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(records, text.lines().count() as u64, "records are counted");
        (text.replace(&format!("{TIME} stdout "), ""), last.text())
    }

    fn check(pieces: &[&str], expect: &str) {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        assert_eq!(split(&pieces).0, expect);
    }

    #[test]
    fn lines_become_records() {
        check(&["a\nb\n"], "F a\nF b\n");
        check(&["a", "b\nc", "\n"], "F ab\nF c\n");
        check(&["\n\n"], "F \nF \n");
        check(&[], "");
        check(&["a b  c\n"], "F a b  c\n");
    }

    #[test]
    fn the_last_line_is_not_one_of_a_stack_trace() {
        let text = b"  what():  [13:11:37] server.h:358: Check failed: sync_mode_\n\
            Stack trace:\n  [bt] (0) libmxnet.so(+0x2795cb) [0x7f90]\n  [bt] (1) libc.so.6\n\n";
        let last = split(&[text]).1;
        assert_eq!(
            last.as_deref(),
            Some("what():  [13:11:37] server.h:358: Check failed: sync_mode_")
        );
        assert_eq!(split(&[b"[bt] (0) libmxnet.so\n"]).1, None);
    }

    #[test]
    fn a_last_line_without_newline_is_partial() {
        check(&["a\nb"], "F a\nP b\n");
    }

    #[test]
    fn a_carriage_return_is_removed_only_before_a_newline() {
        check(&["a\r\n"], "F a\n");
        check(&["a\r", "\n"], "F a\n");
        check(&["10%\r20%\r\n"], "F 10%\r20%\n");
        check(&["a\r\r\n"], "F a\r\n");
    }

    #[test]
    fn long_lines_are_cut_at_16384_bytes() {
        let full = "x".repeat(MAX_TEXT);
        check(&[&full, "\n"], &format!("F {full}\n"));
        check(&[&full, "y\n"], &format!("P {full}\nF y\n"));
        check(&[&full, &full, "y"], &format!("P {full}\nP {full}\nP y\n"));
    }

    #[test]
    fn the_last_non_blank_line_is_kept() {
        assert_eq!(split(&[b"one\n", b"two\n\n  \n"]).1.as_deref(), Some("two"));
        assert_eq!(split(&[b"one\ntail"]).1.as_deref(), Some("tail"));
        assert_eq!(split(&[b"\n"]).1, None);
    }

    #[test]
    fn a_record_is_parsed() {
        let record = Record::parse(b"2026-11-24T08:00:00.12Z stderr P a b\n").unwrap();
        assert_eq!((record.stream, record.full, record.text), (Stream::Stderr, false, &b"a b"[..]));
        assert_eq!(record.timestamp().unwrap().to_string(), TIME);
        assert_eq!(Record::parse(b"t stdout F \n").unwrap().text, b"");
        for line in ["", "x", "t stdout", "t other F x", "t stdout X x"] {
            assert_eq!(Record::parse(line.as_bytes()), None, "{line}");
        }
    }
}
