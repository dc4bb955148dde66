//! The value at fault, as field errors show it.

use std::fmt;

use serde_json::Value;

use crate::go;

/// What a field error shows of the value at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// Text, shown in quotes.
    Text(String),
    /// Anything else, shown as it is written here.
    Bare(String),
}

impl BadValue {
    /// A value shown as written, without quotes.
    pub fn bare(text: impl fmt::Display) -> Self {
        Self::Bare(text.to_string())
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&go::quote(text)),
            Self::Bare(text) => f.write_str(text),
        }
    }
}

impl From<&str> for BadValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for BadValue {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for BadValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Value> for BadValue {
    fn from(value: &Value) -> Self {
        match value {
            // Go's nil is shown as the quoted word.
            Value::Null => Self::Text("null".to_owned()),
            Value::String(text) => Self::Text(text.clone()),
            other => Self::Bare(other.to_string()),
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
