//! Files of objects, as `kubectl create -f` reads them: YAML documents, or JSON documents one after
//! the other. What kubectl reads silently in another way than the author means is an error.

use serde_json::Value;

use super::node::{Conflict, Node};
use super::{on_own_stack, parse};
use crate::go;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: Option<u64>,
    /// The reason without the line.
    pub message: String,
}

/// The documents of a file, without empty ones.
///
/// # Errors
///
/// A syntax error, or a key that has two values in its map.
pub fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = on_own_stack(|| {
        let json = text.trim_start().starts_with('{').then(|| json_documents(text)).flatten();
        json.map_or_else(|| yaml_documents(text), Ok)
    })?;
    match documents.iter().find_map(Node::conflict) {
        Some(conflict) => Err(conflict.into()),
        None => Ok(documents),
    }
}

fn yaml_documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let documents =
        parse(text).map_err(|error| SyntaxError { message: one_line(&error.message), ..error })?;
    Ok(documents.into_iter().filter(|node| !node.is_null()).collect())
}

/// The JSON documents of a text; `None` if it is not JSON. The YAML reader finds the lines; the
/// values are those of the JSON reader, because some JSON strings are no YAML strings.
fn json_documents(text: &str) -> Option<Vec<Node>> {
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let (mut start, mut line) = (0, 0);
    while let Some(value) = values.next() {
        let value = value.ok()?;
        let source = text.get(start..values.byte_offset())?;
        let read = yaml_documents(source).ok().and_then(|mut read| read.pop());
        documents.push(match read {
            Some(node) if node.value() == value => node.moved(line),
            _ => Node::without_lines(value, line + 1),
        });
        start = values.byte_offset();
        line += source.bytes().filter(|byte| *byte == b'\n').count() as u64;
    }
    Some(documents)
}

/// The parser's message without its position, which is reported separately.
fn one_line(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    text.split(" at line ").next().unwrap_or_default().trim_end_matches([':', ' ']).to_owned()
}

// === impl SyntaxError ===

impl From<Conflict> for SyntaxError {
    fn from(conflict: Conflict) -> Self {
        let (key, earlier) = (go::quote(&conflict.key), conflict.earlier);
        let message = if conflict.is_merged {
            format!(
                "{key} is set before `<<`, whose map has it too, and kubectl takes that one; write {key} after `<<`"
            )
        } else if earlier == conflict.line {
            format!("{key} is set twice")
        } else {
            format!("{key} is set twice; it is already in line {earlier}")
        };
        // The line to edit is that of the own key, not one in the merged map.
        let line = if conflict.is_merged { earlier } else { conflict.line };
        Self { line: Some(line).filter(|line| *line > 0), message }
    }
}
