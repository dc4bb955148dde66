use tokio::sync::mpsc;

use super::*;

/// Reads a log after an earlier read. Returns the lines that are sent.
fn read_on(place: &mut Place, log: &[u8]) -> Vec<String> {
    let source = Source {
        namespace: "n".to_owned(),
        pod: "p".to_owned(),
        uid: "u".to_owned(),
        container: "c".to_owned(),
        restarts: 0,
        label: "l".to_owned(),
    };
    let (sender, mut receiver) = mpsc::channel(100);
    let reading = Reading {
        source: &source,
        sender: &sender,
        skip: place.lines,
        seen: 0,
        since: place.time,
        place,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let end = runtime.block_on(reading.all(futures_util::io::Cursor::new(log)));
    assert_eq!(end, End::Complete);
    let mut lines = Vec::new();
    while let Ok(Message::Line(line)) = receiver.try_recv() {
        lines.push(String::from_utf8(line.text).unwrap());
    }
    lines
}

#[test]
fn two_reads_send_every_line_once() {
    let check = |first: &str, second: &str, expected: &[&str]| {
        let mut place = Place::default();
        let mut lines = read_on(&mut place, first.as_bytes());
        lines.extend(read_on(&mut place, second.as_bytes()));
        assert_eq!(lines, expected, "{first:?} {second:?}");
    };
    let at = |second: u32, text: &str| format!("2026-11-24T10:00:{second:02}.5Z {text}\n");
    let (a, b, c) = (at(1, "a"), at(1, "b"), at(2, "c"));
    check(&a, &[a.as_str(), &b, &c].concat(), &["a", "b", "c"]);
    check(&[a.as_str(), &b].concat(), &[a.as_str(), &b, &c].concat(), &["a", "b", "c"]);
    check(&[a.as_str(), &b, &c].concat(), &c, &["a", "b", "c"]);
    check("", &a, &["a"]);
    // A line without a timestamp is sent unchanged.
    check("no time\n", &a, &["no time", "a"]);
    check(&at(1, ""), &at(2, "2026-11-24T10:00:09Z x"), &["", "2026-11-24T10:00:09Z x"]);
}

#[test]
fn long_line_is_split() {
    let long = format!(
        "2026-11-24T10:00:01Z {}\n2026-11-24T10:00:02Z b\n",
        "x".repeat(3 * MAX_LINE_BYTES)
    );
    let mut place = Place::default();
    let lines = read_on(&mut place, long.as_bytes());
    assert_eq!(lines.len(), 5);
    assert_eq!(lines.concat(), format!("{}b", "x".repeat(3 * MAX_LINE_BYTES)));
    // All pieces were already sent.
    assert_eq!(read_on(&mut place, long.as_bytes()), [""; 0]);
}
