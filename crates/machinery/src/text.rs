//! Text of bounded length, for messages about requests that may be of any size.

use std::fmt::{self, Write as _};

/// What stands for the rest of a text that was cut.
const ELLIPSIS: &str = "...";

/// The text of a value, cut after `max` bytes. Reads no more of the value than it keeps.
pub(crate) fn cut(value: impl fmt::Display, max: usize) -> String {
    append(String::new(), value, max)
}

/// Appends a value to a text that may have `max` bytes. A text that has them already stays as it
/// is.
pub(crate) fn append(text: String, value: impl fmt::Display, max: usize) -> String {
    if text.len() >= max {
        return text;
    }
    let mut out = Cut { text, max };
    // The only error is that the text is full.
    let _ = write!(out, "{value}");
    out.text
}

/// The same for a text that exists already.
pub(crate) fn shorten(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push_str(ELLIPSIS);
    }
    text
}

/// How many bytes a text may take as part of a JSON string, at most: quoted as Go quotes it and
/// then escaped, one byte may become six.
pub(crate) fn encoded_len(text: &str) -> usize {
    let escaped =
        text.bytes().filter(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'));
    text.len() + 5 * escaped.count()
}

struct Cut {
    text: String,
    max: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.max.saturating_sub(self.text.len());
        if part.len() <= room {
            self.text.push_str(part);
            return Ok(());
        }
        self.text.push_str(part.get(..part.floor_char_boundary(room)).unwrap_or_default());
        self.text.push_str(ELLIPSIS);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_cut_at_a_char_boundary() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcdef...");
        assert_eq!(cut("äöü", 5), "äö...");
        assert_eq!(shorten("äöü".to_owned(), 5), "äö...");
        assert_eq!(append("abcdef...".to_owned(), ".g", 6), "abcdef...");
        assert_eq!(append("ab".to_owned(), "cdefg", 6), "abcdef...");
    }

    #[test]
    fn json_is_cut_like_any_text() {
        assert_eq!(cut(json!(["a", "b"]), 100), r#"["a","b"]"#);
        assert_eq!(cut(json!(vec!["a"; 100_000]), 6), r#"["a","..."#);
    }

    #[test]
    fn the_encoded_length_is_never_too_small() {
        for text in ["plain", "a\"b\\c", "\u{1}\n\t", "é\u{a0}\u{200b}\u{e0001}"] {
            let encoded = serde_json::to_string(&crate::go::quote(text)).unwrap();
            // Both pairs of quotes, of which the inner one is escaped.
            assert!(encoded.len() - 6 <= encoded_len(text), "{encoded}");
        }
        assert_eq!(encoded_len("plain"), 5);
    }
}
