//! YAML in and out, as Kubernetes reads and writes it: YAML 1.1 words for booleans (`y`, `on`),
//! sorted keys, lists at the indentation of their key.

mod emit;
mod scalar;

use serde_json::Value;

use crate::json::{DecodeError, MAX_DEPTH};

/// Decodes one YAML document; of a duplicate key the last value counts, nothing at all is null.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = MAX_DEPTH;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.duplicate_keys = serde_saphyr::DuplicateKeyPolicy::LastWins;
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    let text = std::str::from_utf8(bytes).map_err(|_| problem("yaml: invalid UTF-8"))?;
    let value: Option<Value> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let why = error.to_string();
            // One line, and no place in it: the line number stands before it already.
            let why = why.lines().next().unwrap_or_default();
            problem(&format!("yaml: line {line}: {why}"))
        })?;
    Ok(value.unwrap_or(Value::Null))
}

fn problem(why: &str) -> DecodeError {
    DecodeError(format!("error converting YAML to JSON: {why}"))
}

/// Writes a value as a YAML document, ending in a newline.
pub fn encode(value: &Value) -> String {
    emit::document(value)
}

#[cfg(test)]
mod tests;
