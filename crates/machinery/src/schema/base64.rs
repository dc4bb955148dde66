//! Bytes in JSON are base64, and Go's decoder names the first byte that does not fit.

/// The offset at which Go would stop reading the text as padded base64; `None` where it reads all
/// of it.
pub(super) fn first_mismatch(text: &str) -> Option<usize> {
    let all = text.as_bytes();
    // Line breaks are passed over wherever they are, but they count in the offset.
    let mut rest =
        all.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\n' | b'\r')).peekable();
    loop {
        for position in 0..4 {
            let Some((offset, byte)) = rest.next() else {
                // Between groups is the right place to end.
                return (position > 0).then(|| all.len() - position);
            };
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {}
                b'=' if position == 3 => return rest.next().map(|(offset, _)| offset),
                b'=' if position == 2 => {
                    return match rest.next() {
                        None => Some(all.len()),
                        Some((_, b'=')) => rest.next().map(|(offset, _)| offset),
                        Some((offset, _)) => Some(offset - 1),
                    };
                }
                _ => return Some(offset),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_does_not_fit_is_named() {
        for (text, expected) in [
            ("", None),
            ("aGk=", None),
            ("aGVsbG8=", None),
            ("aA==", None),
            ("aG\nk=\n", None),
            ("aGkx", None),
            ("a b=", Some(1)),
            ("aGk", Some(0)),
            ("aGkxa", Some(4)),
            ("=", Some(0)),
            ("aA=", Some(3)),
            ("aA=x", Some(2)),
            ("aGk=aGk=", Some(4)),
            ("plain text", Some(5)),
        ] {
            assert_eq!(first_mismatch(text), expected, "{text:?}");
        }
    }
}
