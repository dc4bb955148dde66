//! JSON pointers (RFC 6901), and walking a document along them.

use serde_json::Value;

/// A pointer cut into its parts, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    pub(super) fn parse(text: &str) -> Self {
        Self(
            text.split('/')
                .skip(1)
                .map(|part| part.replace("~1", "/").replace("~0", "~"))
                .collect(),
        )
    }

    /// The container's pointer and the last part; `None` for the document itself.
    pub(super) fn split_last(&self) -> Option<(&[String], &str)> {
        self.0.split_last().map(|(last, parents)| (parents, last.as_str()))
    }
}

/// Where `parts` lead, if they lead anywhere.
pub(super) fn find<'a>(document: &'a Value, parts: &[String]) -> Option<&'a Value> {
    parts.iter().try_fold(document, |value, part| get(value, part))
}

/// The same, to change it.
pub(super) fn find_mut<'a>(document: &'a mut Value, parts: &[String]) -> Option<&'a mut Value> {
    parts.iter().try_fold(document, |value, part| match value {
        Value::Object(map) => map.get_mut(part),
        Value::Array(items) => index(part, items.len()).and_then(|at| items.get_mut(at)),
        _ => None,
    })
}

/// One step down.
pub(super) fn get<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(part),
        Value::Array(items) => index(part, items.len()).and_then(|at| items.get(at)),
        _ => None,
    }
}

/// An index below `length`; negative ones count from the end.
pub(super) fn index(part: &str, length: usize) -> Option<usize> {
    let number: i64 = part.parse().ok()?;
    let at = if number < 0 { number.checked_add(i64::try_from(length).ok()?)? } else { number };
    usize::try_from(at).ok().filter(|at| *at < length)
}
