//! Changes of bytes.

use mxjob_testkit::Random;

/// Pieces that decoders of text often handle wrongly.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    "\u{feff}".as_bytes(),
    "\u{2028}".as_bytes(),
    "é".as_bytes(),
    "🙂".as_bytes(),
    b"\\ud800",
    b"\\u0000",
    b"\r\n",
    b"\t",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"%",
    b"%00",
    b"%zz",
    b"/",
    b"//",
    b"..",
    b"~0",
    b"~1",
    b"~2",
    b",",
    b",,",
    b"=",
    b"!",
    b"(",
    b")",
    b"[",
    b"]",
    b"{",
    b"}",
    b"{}",
    b"[]",
    b":",
    b"&",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"|",
    b"---\n",
    b"#",
    b"?",
    b"@",
    b"*",
    b"-",
    b"+",
    b".",
    b"0",
    b"-0",
    b"-1",
    b"1e999",
    b"1e-999",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"null",
    b"true",
    b"NaN",
];

/// The input after one change.
pub(super) fn mutate(
    mut input: Vec<u8>,
    other: &[u8],
    words: &[&str],
    random: &mut Random,
) -> Vec<u8> {
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(32) + 1);
    match random.below(10) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.byte();
            }
        }
        2 => drop(input.drain(at..end)),
        3 => input.truncate(at),
        4 => {
            let piece = input.get(at..end).unwrap_or_default().to_vec();
            insert(&mut input, at, &piece);
        }
        5 => {
            let piece = input.get(at..end).unwrap_or_default().repeat(random.below(64));
            insert(&mut input, at, &piece);
        }
        6 => {
            let cut = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(other.get(cut..).unwrap_or_default());
        }
        7 => {
            let piece = random.choose(PIECES).copied().unwrap_or_default();
            // Rarely many of them: deep nesting, and very long lists.
            let piece = if random.one_in(16) { piece.repeat(2000) } else { piece.to_vec() };
            insert(&mut input, at, &piece);
        }
        8 => {
            input.drain(at..end);
            let piece = random.choose(PIECES).copied().unwrap_or_default();
            insert(&mut input, at, piece);
        }
        _ => {
            let word = random.choose(words).copied().unwrap_or("a");
            insert(&mut input, at, word.as_bytes());
        }
    }
    input
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}
