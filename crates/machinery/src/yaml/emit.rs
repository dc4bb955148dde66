//! Writes YAML block style.

use serde_json::{Map, Value};

use super::scalar::{self, Style};

/// Lines are folded at the first space beyond this column.
const BEST_WIDTH: usize = 80;
const STEP: usize = 2;

/// The whole document.
pub(super) fn document(value: &Value) -> String {
    let mut emitter = Emitter { out: String::new(), column: 0 };
    emitter.node(value, 0, Place::Root);
    emitter.line_break();
    emitter.out
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// After `key:`.
    Value,
    /// After `- `.
    Item,
}

struct Emitter {
    out: String,
    column: usize,
}

impl Emitter {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line_break(&mut self) {
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.column = 0;
    }

    fn indent(&mut self, indent: usize) {
        self.line_break();
        for _ in 0..indent {
            self.out.push(' ');
        }
        self.column = indent;
    }

    /// A node whose own entries stand at `indent`.
    fn node(&mut self, value: &Value, indent: usize, place: Place) {
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, indent, place),
            Value::Array(items) if !items.is_empty() => self.sequence(items, indent, place),
            leaf => {
                if place == Place::Value {
                    self.push(" ");
                }
                self.leaf(leaf, indent);
            }
        }
    }

    fn mapping(&mut self, map: &Map<String, Value>, indent: usize, place: Place) {
        for (at, (key, value)) in map.iter().enumerate() {
            // The first key of an item stands on the line of its dash.
            if at > 0 || place == Place::Value {
                self.indent(indent);
            }
            self.text(key, indent, true);
            self.push(":");
            let below = if value.is_array() { indent } else { indent + STEP };
            self.node(value, below, Place::Value);
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, place: Place) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 || place == Place::Value {
                self.indent(indent);
            }
            self.push("- ");
            self.node(item, indent + STEP, Place::Item);
        }
    }

    fn leaf(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.push("null"),
            Value::Bool(flag) => self.push(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.push(&scalar::number(number)),
            Value::String(text) => self.text(text, indent, false),
            Value::Array(_) => self.push("[]"),
            Value::Object(_) => self.push("{}"),
        }
    }

    fn text(&mut self, text: &str, indent: usize, key: bool) {
        match scalar::style(text, key) {
            Style::Plain => self.folded(text, "", indent, key),
            Style::SingleQuoted => self.folded(&text.replace('\'', "''"), "'", indent, key),
            Style::DoubleQuoted => self.double_quoted(text, indent, key),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn folded(&mut self, text: &str, quote: &str, indent: usize, key: bool) {
        self.push(quote);
        let mut chars = text.chars().peekable();
        let mut after_space = false;
        let mut first = true;
        while let Some(c) = chars.next() {
            let folds = c == ' '
                && !key
                && !after_space
                && !first
                && self.column > BEST_WIDTH
                && chars.peek().is_some_and(|next| *next != ' ');
            if folds {
                self.indent(indent);
            } else {
                self.push(c.encode_utf8(&mut [0; 4]));
            }
            after_space = c == ' ';
            first = false;
        }
        self.push(quote);
    }

    fn double_quoted(&mut self, text: &str, indent: usize, key: bool) {
        self.push("\"");
        let mut chars = text.chars().peekable();
        let mut after_space = false;
        let mut first = true;
        while let Some(c) = chars.next() {
            let folds = c == ' '
                && !key
                && !after_space
                && !first
                && self.column > BEST_WIDTH
                && chars.peek().is_some();
            if folds {
                self.indent(indent);
                // A space at the start of a line would be lost.
                if chars.peek() == Some(&' ') {
                    self.push("\\");
                }
            } else {
                let escaped = scalar::escape(c);
                self.push(&escaped);
            }
            after_space = c == ' ';
            first = false;
        }
        self.push("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        let body = text.strip_suffix('\n');
        self.push("|");
        if text.starts_with([' ', '\n']) {
            self.push(&STEP.to_string());
        }
        match body {
            None => self.push("-"),
            Some(body) if body.is_empty() || body.ends_with('\n') => self.push("+"),
            Some(_) => {}
        }
        self.out.push('\n');
        let lines: Vec<&str> = body.unwrap_or(text).split('\n').collect();
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                self.out.push('\n');
            }
            if !line.is_empty() {
                for _ in 0..indent.max(STEP) {
                    self.out.push(' ');
                }
                self.out.push_str(line);
            }
        }
        if body.is_some() {
            self.out.push('\n');
        }
        self.column = 0;
    }
}
