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
            problem(&format!("yaml: line {line}: {}", reason(&error.to_string())))
        })?;
    Ok(value.unwrap_or(Value::Null))
}

/// The reason without its place, in the words people know from Kubernetes where there are such.
fn reason(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let line = line.split("; use from_").next().unwrap_or(line);
    let why = line.split(" at line ").next().unwrap_or(line);
    if why.starts_with("unclosed bracket") {
        "did not find expected node content"
    } else if why.starts_with("unclosed quote") {
        "found unexpected end of stream"
    } else {
        why
    }
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
