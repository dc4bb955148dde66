//! YAML in and out, as Kubernetes reads and writes it: YAML 1.1 words for booleans (`y`, `on`),
//! sorted keys, lists at the indentation of their key.

mod emit;
mod scalar;

use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use crate::{go, json::DecodeError};

/// How deep a YAML document may nest: less than JSON may, because the YAML reader needs some 16 KiB
/// of stack for each level in a build without optimisation, and threads have 2 MiB. Nothing real
/// comes near it.
const YAML_DEPTH_MAX: usize = 64;

/// Decodes one YAML document; of a duplicate key the last value counts, nothing at all is null.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    read(bytes, DuplicateKeyPolicy::LastWins).map_err(|error| match error {
        ReadError::Utf8 => problem("yaml: invalid UTF-8"),
        ReadError::Yaml(error) => {
            let line = error.location().map_or(1, |location| location.line());
            problem(&format!("yaml: line {line}: {}", reason(&error.to_string())))
        }
    })
}

/// Decodes like [`decode`] and names a key that its map has already, as strict decoding reports it:
/// `line 7: key "jobMode" already set in map`. The first one is enough to find the others by.
pub fn decode_reporting_duplicates(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    match read(bytes, DuplicateKeyPolicy::Error) {
        Ok(value) => Ok((value, Vec::new())),
        Err(error) => Ok((decode(bytes)?, error.duplicate().into_iter().collect())),
    }
}

enum ReadError {
    Utf8,
    Yaml(serde_saphyr::Error),
}

fn read(bytes: &[u8], duplicate_keys: DuplicateKeyPolicy) -> Result<Value, ReadError> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = YAML_DEPTH_MAX;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.duplicate_keys = duplicate_keys;
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    let text = std::str::from_utf8(bytes).map_err(|_| ReadError::Utf8)?;
    let value: Option<Value> =
        serde_saphyr::from_str_with_options(text, options).map_err(ReadError::Yaml)?;
    Ok(value.unwrap_or(Value::Null))
}

// === impl ReadError ===

impl ReadError {
    /// The duplicate key that it is about, if it is.
    fn duplicate(&self) -> Option<String> {
        match self {
            Self::Yaml(serde_saphyr::Error::DuplicateMappingKey { key, location }) => {
                let key = go::quote(key.as_deref().unwrap_or_default());
                Some(format!("line {}: key {key} already set in map", location.line()))
            }
            Self::Yaml(_) | Self::Utf8 => None,
        }
    }
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
