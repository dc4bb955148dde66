//! Logs: what a container writes becomes records, which are read again.

use mxjob_node::log::format::{LastLine, Record, Splitter, Stream};

pub(super) const WORDS: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    "stdout",
    "stderr",
    " F ",
    " P ",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z stdout F a\n",
    "2026-01-01T00:00:00.123456789Z stderr P ",
];

pub(super) fn run(input: &[u8]) {
    read_anything(input);
    let now = "2026-01-01T00:00:00.5Z".parse().expect("a time");
    let (mut written, mut last) = (Vec::new(), LastLine::default());
    let mut splitter = Splitter::new(Stream::Stdout);
    let (first, second) = input.split_at(input.len() / 2);
    let mut count = 0;
    for piece in [first, second] {
        count += splitter.push(piece, now, &mut written, &mut last);
    }
    count += splitter.finish(now, &mut written, &mut last);
    let mut text = Vec::new();
    for line in written.split_inclusive(|byte| *byte == b'\n') {
        let record = Record::parse(line).expect("what was written is a record");
        assert_eq!(record.timestamp(), Some(now));
        text.extend_from_slice(record.text);
        text.extend(record.full.then_some(b'\n'));
        count -= 1;
    }
    assert_eq!(count, 0, "each record is counted");
    let expected = input.split_inclusive(|byte| *byte == b'\n').flat_map(|line| {
        // Lines that end as on Windows lose that end.
        match line.strip_suffix(b"\r\n") {
            Some(line) => [line, b"\n"],
            None => [line, b""],
        }
    });
    assert_eq!(text, expected.collect::<Vec<_>>().concat(), "records have the text of the stream");
    let _ = last.text();
}

/// Lines of a file that something else wrote.
fn read_anything(input: &[u8]) {
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if let Some(record) = Record::parse(line) {
            let _ = record.timestamp();
        }
    }
}
