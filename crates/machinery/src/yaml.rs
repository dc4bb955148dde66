//! YAML in and out, as Kubernetes reads and writes it: YAML 1.1 words for booleans (`y`, `on`),
//! sorted keys, lists at the indentation of their key.

mod emit;
mod files;
mod node;
mod scalar;

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Spanned};

use crate::{go, json::DecodeError};

pub use self::files::{SyntaxError, documents};
pub use self::node::{Conflict, Key, Node, Tree};

/// How deep a YAML document may nest. Nothing real comes near it.
const YAML_DEPTH_MAX: usize = 64;
/// The stack of the thread that reads a document: the YAML reader needs up to 64 KiB for each level
/// in a build without optimisation, more than the threads that call it have.
const READER_STACK: usize = 2 * YAML_DEPTH_MAX * 64 * 1024;
/// How many events of the reader (scalars, starts and ends of lists and maps) all aliases together
/// may repeat. Without a bound, nested aliases make a document of 500 bytes cost as much as one of
/// many megabytes. Real files repeat a few lists of environment variables.
const ALIAS_EVENTS_MAX: usize = 20_000;
/// How many events are kept for aliases; an event inside of several anchors is kept once for each.
const ANCHOR_EVENTS_MAX: usize = 100_000;
/// The total length of all scalars, repeated ones included: more than the largest body.
const SCALAR_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The options of the YAML reader for every document that comes from outside: as Kubernetes reads
/// YAML, with bounds on what a small document can cost.
fn options() -> serde_saphyr::Options {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = YAML_DEPTH_MAX;
    budget.max_recorded_anchor_events = ANCHOR_EVENTS_MAX;
    budget.max_recorded_anchor_bytes = SCALAR_BYTES_MAX;
    budget.max_total_scalar_bytes = SCALAR_BYTES_MAX;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = ALIAS_EVENTS_MAX;
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    // The tree keeps all entries in their order, because Kubernetes lets the later one win.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.merge_keys = MergeKeyPolicy::AsOrdinary;
    options
}

/// Decodes one YAML document; of a duplicate key the last value counts, nothing at all is null.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    Ok(read(bytes)?.map_or(Value::Null, |node| node.value()))
}

/// Decodes like [`decode`] and names a key that its map has already, as strict decoding reports it:
/// `line 7: key "jobMode" already set in map`. The first one is enough to find the others by.
pub fn decode_reporting_duplicates(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    let Some(node) = read(bytes)? else { return Ok((Value::Null, Vec::new())) };
    let duplicate = node.conflict().filter(|conflict| !conflict.is_merged).map(|conflict| {
        format!("line {}: key {} already set in map", conflict.line, go::quote(&conflict.key))
    });
    Ok((node.value(), duplicate.into_iter().collect()))
}

fn read(bytes: &[u8]) -> Result<Option<Node>, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| problem("yaml: invalid UTF-8"))?;
    let documents = on_own_stack(|| parse(text)).map_err(|error| {
        let line = error.line.unwrap_or(1);
        problem(&format!("yaml: line {line}: {}", reason(&error.message)))
    })?;
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (_, Some(_)) => Err(problem("yaml: there is more than one document")),
        (first, None) => Ok(first),
    }
}

/// Reads all documents; to be called on a stack of its own.
fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let documents: Result<Vec<Spanned<Tree>>, _> =
        serde_saphyr::from_multiple_with_options(text, options());
    match documents {
        Ok(documents) => Ok(documents.into_iter().map(Node::from).collect()),
        Err(error) => Err(SyntaxError {
            line: error.location().map(|location| location.line()).filter(|line| *line > 0),
            message: error.without_snippet().to_string(),
        }),
    }
}

/// Runs a reader on a thread with enough stack.
fn on_own_stack<T: Send>(
    read: impl FnOnce() -> Result<T, SyntaxError> + Send,
) -> Result<T, SyntaxError> {
    let failed = |message: String| SyntaxError { line: None, message };
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(READER_STACK);
        match reader.spawn_scoped(scope, read) {
            Ok(reader) => {
                reader.join().unwrap_or_else(|_| Err(failed("the YAML reader failed".to_owned())))
            }
            Err(error) => Err(failed(format!("the YAML reader cannot be started: {error}"))),
        }
    })
}

/// The reason without its place, in the words people know from Kubernetes where there are such.
fn reason(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
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
