//! The JSON paths of printer columns: fields, indexes from both ends, slices, wildcards, and
//! filters that compare one field with one value.

use serde_json::Value;

/// Why a text is no JSON path of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse JSON path {path:?}: {why}")]
pub struct ParseError {
    path: String,
    why: &'static str,
}

/// A parsed path, such as `.status.conditions[-1:].type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    Slice { start: Option<i64>, end: Option<i64> },
    All,
    Filter { path: JsonPath, equal: bool, value: Value },
}

// === impl JsonPath ===

impl JsonPath {
    /// Parses a path; braces around it are allowed and mean nothing.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let inner = inner.strip_prefix('$').unwrap_or(inner);
        steps(inner)
            .map(|steps| Self { steps })
            .map_err(|why| ParseError { path: text.to_owned(), why })
    }

    /// The first value it leads to.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.all(value).into_iter().next()
    }

    /// Every value it leads to, in order.
    pub fn all<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => {
                place(*index, items.len()).and_then(|at| items.get(at)).into_iter().collect()
            }
            Self::Slice { start, end } => {
                let bound = |index: i64| {
                    let from_end = i64::try_from(items.len()).unwrap_or(i64::MAX);
                    let index = if index < 0 { index.saturating_add(from_end) } else { index };
                    usize::try_from(index).unwrap_or(0).min(items.len())
                };
                let start = start.map_or(0, bound);
                let end = end.map_or(items.len(), bound);
                items.get(start..end).unwrap_or_default().iter().collect()
            }
            Self::All => match value {
                Value::Object(map) => map.values().collect(),
                _ => items.iter().collect(),
            },
            Self::Filter { path, equal, value } => {
                let holds = |item: &&Value| {
                    path.first(item).is_some_and(|found| crate::json::equal(found, value) == *equal)
                };
                items.iter().filter(holds).collect()
            }
        }
    }
}

/// An index in a list; negative ones count from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let from_end = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index.checked_add(from_end)? } else { index }).ok()
}

fn steps(mut text: &str) -> Result<Vec<Step>, &'static str> {
    let mut out = Vec::new();
    while !text.is_empty() {
        if let Some(rest) = text.strip_prefix('[') {
            let end = closing(rest).ok_or("a bracket is not closed")?;
            let (inside, after) = rest.split_at(end);
            out.push(bracket(inside.trim())?);
            text = after.get(1..).unwrap_or_default();
        } else if let Some(rest) = text.strip_prefix('.') {
            if rest.starts_with('[') {
                text = rest;
                continue;
            }
            let (name, after) = field(rest);
            match name.as_str() {
                "" if after.is_empty() && out.is_empty() => {}
                "" => return Err("a field has no name"),
                "*" => out.push(Step::All),
                _ => out.push(Step::Field(name)),
            }
            text = after;
        } else {
            return Err("a step starts with neither '.' nor '['");
        }
    }
    Ok(out)
}

/// A name up to the next step; a backslash takes the next character as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, text.get(at..).unwrap_or_default()),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket that was opened before the text closes, quotes and nested brackets aside.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Result<Step, &'static str> {
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(inside) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(condition) = inside.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter(condition);
    }
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "an index is no number"),
    };
    match inside.split_once(':') {
        Some((start, end)) => Ok(Step::Slice { start: number(start)?, end: number(end)? }),
        None => number(inside)?.map(Step::Index).ok_or("an index is missing"),
    }
}

fn filter(condition: &str) -> Result<Step, &'static str> {
    let (path, equal, value) = if let Some((path, value)) = condition.split_once("==") {
        (path, true, value)
    } else if let Some((path, value)) = condition.split_once("!=") {
        (path, false, value)
    } else {
        return Err("a filter compares with neither == nor !=");
    };
    let path = path.trim().strip_prefix('@').ok_or("a filter does not start with @")?;
    let value = value.trim();
    let value = match unquoted(value) {
        Some(text) => Value::from(text),
        None => serde_json::from_str(value).map_err(|_| "a filter's value is no JSON")?,
    };
    Ok(Step::Filter { path: JsonPath { steps: steps(path)? }, equal, value })
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}
