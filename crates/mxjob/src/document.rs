//! YAML and JSON files with the line of every value, so that errors name the line.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// The largest file that is read; jobs and configurations are much smaller.
const MAX_BYTES: u64 = 3 * 1024 * 1024;

/// A value and the line where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Counted from 1; 0 if unknown.
    pub(crate) line: u64,
    pub(crate) tree: Tree,
}

/// The content of a value.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key and its line.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) line: u64,
    pub(crate) name: String,
}

/// A syntax error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    pub(crate) line: Option<u64>,
    pub(crate) message: String,
}

/// Reads a file's text.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: io::Error| format!("cannot read {shown}: {error}");
    let mut bytes = Vec::new();
    // One byte beyond the limit shows that the file is too large, also for a pipe.
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{shown} is larger than {} MiB", MAX_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

/// Reads all documents of a file; JSON is YAML too.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Error> {
    // As Kubernetes parses YAML.
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    let documents: Result<Vec<Spanned<Tree>>, _> =
        serde_saphyr::from_multiple_with_options(text, options);
    match documents {
        Ok(documents) => {
            Ok(documents.into_iter().map(Node::from).filter(|node| !node.is_null()).collect())
        }
        Err(error) => Err(Error {
            line: error.location().map(|location| location.line()).filter(|line| *line > 0),
            message: one_line(&error),
        }),
    }
}

/// The parser's message without its position, which is reported separately.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    text.split(" at line ").next().unwrap_or_default().trim_end_matches([':', ' ']).to_owned()
}

// === impl Node ===

impl Node {
    fn is_null(&self) -> bool {
        matches!(self.tree, Tree::Scalar(Value::Null))
    }

    /// The value alone.
    pub(crate) fn value(&self) -> Value {
        match &self.tree {
            Tree::Scalar(value) => value.clone(),
            Tree::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Tree::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.name.clone(), node.value()));
                Value::Object(Map::from_iter(entries))
            }
        }
    }

    /// The line of a field by its JSON path (`spec.a[0].b`), or of its nearest existing parent.
    pub(crate) fn line_of(&self, path: &str) -> u64 {
        let mut node = self;
        let mut line = self.line;
        for step in steps(path) {
            let found = match &node.tree {
                Tree::Map(entries) => entries
                    .iter()
                    .find(|(key, _)| key.name == step)
                    .map(|(key, node)| (key.line, node)),
                Tree::List(items) => step
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get(index))
                    .map(|node| (node.line, node)),
                Tree::Scalar(_) => None,
            };
            let Some((at, next)) = found else { break };
            if at > 0 {
                line = at;
            }
            node = next;
        }
        line
    }

    /// The entries of a mapping.
    pub(crate) fn entries(&self) -> Option<&[(Key, Self)]> {
        match &self.tree {
            Tree::Map(entries) => Some(entries),
            Tree::Scalar(_) | Tree::List(_) => None,
        }
    }
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Self {
        // For an alias, the line of the anchored value, because that is the line to edit.
        Self { line: spanned.defined.line(), tree: spanned.value }
    }
}

/// The steps of `spec.mxReplicaSpecs[Worker].template.spec.containers[0]`. A key in brackets may
/// contain dots.
fn steps(path: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = inside.split_once(']').unwrap_or((inside, ""));
            steps.push(step);
            after
        } else {
            let plain = rest.strip_prefix('.').unwrap_or(rest);
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            let (step, after) = plain.split_at(end);
            steps.push(step);
            after
        };
    }
    steps
}

// === impl Tree ===

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value)
            .ok_or_else(|| E::custom("a number that JSON cannot represent"))?;
        Ok(Tree::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Tree>>()? {
            items.push(item.into());
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let node = access.next_value::<Spanned<Tree>>()?.into();
            entries.push((Key { line: key.referenced.line(), name: key.value }, node));
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "kind: A\nspec:\n  list:\n    - a: 1\n    - b: &x\n        c: two\n  again: *x\n---\n# nothing\n---\n{\"kind\": \"B\",\n \"n\": 1.5}\n";

    #[test]
    fn documents_are_parsed_as_json_values() {
        let documents = parse(TEXT).unwrap();
        let values: Vec<Value> = documents.iter().map(Node::value).collect();
        assert_eq!(
            values,
            [
                json!({"kind": "A", "spec": {"list": [{"a": 1}, {"b": {"c": "two"}}], "again": {"c": "two"}}}),
                json!({"kind": "B", "n": 1.5}),
            ]
        );
    }

    #[test]
    fn every_field_has_its_line() {
        let documents = parse(TEXT).unwrap();
        let check = |path: &str, line: u64| assert_eq!(documents[0].line_of(path), line, "{path}");
        check("kind", 1);
        check("spec", 2);
        check("spec.list[0].a", 4);
        check("spec.list[1].b.c", 6);
        check("spec[list][1]", 5);
        check("spec.list[7].x", 3);
        check("metadata.name", 1);
        assert_eq!(documents[1].line_of("n"), 12);
    }

    #[test]
    fn syntax_error_has_a_line() {
        let check = |text: &str, line: Option<u64>| {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(!error.message.contains('\n') && !error.message.contains("line"), "{error}");
        };
        check("a: [1, 2\nb: 3\n", Some(2));
        check("a: 'open\n", Some(1));
        check("a: 1\n\tb: 2\n", Some(1));
        check("a: 1\nb: 2\na: 3\n", Some(3));
    }
}
