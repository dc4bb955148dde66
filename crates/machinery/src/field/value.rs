//! The wrong value, as field errors show it.

use std::fmt;

use serde_json::Value;

use super::MAX_PART;
use crate::{go, text};

/// What a field error shows of the wrong value. A large value is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    text: String,
    is_quoted: bool,
}

impl BadValue {
    /// A value shown as written, without quotes.
    pub fn bare(value: impl fmt::Display) -> Self {
        Self { text: text::cut(value, MAX_PART), is_quoted: false }
    }

    /// A list of words, shown as Go prints one.
    pub fn list(words: &[&str]) -> Self {
        let mut shown = "[]string{".to_owned();
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                shown.push_str(", ");
            }
            shown = text::append(shown, go::quote(word), MAX_PART);
            if shown.len() >= MAX_PART {
                break;
            }
        }
        shown.push('}');
        Self::bare(shown)
    }

    fn quoted(value: &str) -> Self {
        Self { text: text::cut(value, MAX_PART), is_quoted: true }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_quoted { f.write_str(&go::quote(&self.text)) } else { f.write_str(&self.text) }
    }
}

impl From<&str> for BadValue {
    fn from(text: &str) -> Self {
        Self::quoted(text)
    }
}

impl From<&String> for BadValue {
    fn from(text: &String) -> Self {
        Self::quoted(text)
    }
}

impl From<String> for BadValue {
    fn from(text: String) -> Self {
        Self::quoted(&text)
    }
}

impl From<&Value> for BadValue {
    fn from(value: &Value) -> Self {
        match value {
            // Go's nil is shown as the quoted word.
            Value::Null => Self::quoted("null"),
            Value::String(text) => Self::quoted(text),
            other => Self::bare(other),
        }
    }
}

macro_rules! bare_from {
    ($($number:ty),*) => {
        $(impl From<$number> for BadValue {
            fn from(value: $number) -> Self {
                Self::bare(value)
            }
        })*
    };
}

bare_from!(bool, i32, i64, u32, u64, usize, f64);
