//! YAML as manifests are written: block style, sorted keys, quotes only where a reader needs them.

use serde_json::Value;
use std::fmt::Write as _;

/// The document.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// Writes a value that starts at the beginning of a line.
fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                indent(depth, out);
                member(name, value, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(depth, out);
                out.push('-');
                after_dash(item, depth, out);
            }
        }
        flat => {
            indent(depth, out);
            out.push_str(&scalar(flat));
            out.push('\n');
        }
    }
}

/// Writes one member, its indentation done.
fn member(name: &str, value: &Value, depth: usize, out: &mut String) {
    let _ = write!(out, "{}:", text(name));
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            block(value, depth + 1, out);
        }
        // Items stand under their name, as kubectl writes them.
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(value, depth, out);
        }
        flat => {
            let _ = writeln!(out, " {}", scalar(flat));
        }
    }
}

/// Writes what follows the dash of an item: an object starts on the same line.
fn after_dash(item: &Value, depth: usize, out: &mut String) {
    match item {
        Value::Object(members) if !members.is_empty() => {
            for (index, (name, value)) in members.iter().enumerate() {
                if index == 0 {
                    out.push(' ')
                } else {
                    indent(depth + 1, out)
                }
                member(name, value, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(item, depth + 1, out);
        }
        flat => {
            let _ = writeln!(out, " {}", scalar(flat));
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        // Empty lists and objects, numbers, truth values and null are the same in YAML.
        other => other.to_string(),
    }
}

/// A string: plain where nothing could take it for something else, else as JSON, which is YAML too.
fn text(string: &str) -> String {
    let starts_plain =
        string.starts_with(|first: char| first.is_ascii_alphabetic() || first == '$');
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| string.eq_ignore_ascii_case(word));
    let is_plain = string.chars().all(|character| character.is_ascii_graphic() || character == ' ')
        && !string.contains(": ")
        && !string.contains(" #")
        && !string.ends_with([':', ' ']);
    if starts_plain && is_plain && !is_word {
        string.to_owned()
    } else {
        Value::from(string).to_string()
    }
}
