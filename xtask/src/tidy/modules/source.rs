//! One Rust file as the module graph sees it: its child modules, the paths that it names and the
//! names that it re-exports.
//!
//! Works on tokens, so paths inside macro calls count, too. Code under `#[cfg(test)]` is ignored:
//! tests may use anything.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path as written, its segments in order: `["crate", "names", "label"]`.
pub(super) type Path = Vec<String>;

/// The modules that a file declares and names.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Modules declared with `mod NAME;`.
    pub(super) children: BTreeSet<String>,
    /// Paths that are imported or named in code.
    pub(super) paths: Vec<Path>,
    /// `pub use` declarations: the new name (`*` for a glob) and the path behind it.
    pub(super) exports: Vec<(String, Path)>,
    /// Every identifier outside `use` declarations, to distinguish a re-export that the file itself
    /// uses from other ones.
    words: BTreeSet<String>,
}

impl Source {
    /// Reads the text of a file.
    pub(super) fn read(text: &str) -> Result<Self> {
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow!("not Rust tokens: {error}"))?;
        let mut source = Self::default();
        source.walk(&tokens.into_iter().collect::<Vec<_>>());
        Ok(source)
    }

    /// Whether code of the file names this identifier.
    pub(super) fn names(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    fn walk(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let rest = tokens.get(at..).unwrap_or_default();
            if let Some(length) = test_item(rest) {
                at += length;
                continue;
            }
            at += match token {
                TokenTree::Group(group) => {
                    self.walk(&group.stream().into_iter().collect::<Vec<_>>());
                    1
                }
                TokenTree::Ident(word) if word == "mod" => self.module(rest),
                TokenTree::Ident(word) if word == "use" => {
                    let is_public = is_public(tokens.get(..at).unwrap_or_default());
                    self.import(rest, is_public)
                }
                TokenTree::Ident(word) => {
                    self.words.insert(word.to_string());
                    self.path(rest)
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => 1,
            };
        }
    }

    /// `mod name;` is a child; `mod name { … }` is read as part of this file.
    fn module(&mut self, tokens: &[TokenTree]) -> usize {
        if let [_, TokenTree::Ident(name), TokenTree::Punct(end), ..] = tokens
            && end.as_char() == ';'
        {
            self.children.insert(name.to_string());
            return 3;
        }
        1
    }

    fn import(&mut self, tokens: &[TokenTree], is_public: bool) -> usize {
        let end = tokens.iter().position(|token| is_punct(token, ';')).unwrap_or(tokens.len());
        let mut found = Vec::new();
        tree(tokens.get(1..end).unwrap_or_default(), &mut Vec::new(), &mut found);
        for (name, path) in found {
            if is_public {
                self.exports.push((name, path));
            } else {
                self.paths.push(path);
            }
        }
        end + 1
    }

    /// A path of two or more segments in code.
    fn path(&mut self, tokens: &[TokenTree]) -> usize {
        let mut path = Vec::new();
        let mut at = 0;
        while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
            path.push(segment.to_string());
            self.words.insert(segment.to_string());
            if !is_separator(tokens.get(at + 1..).unwrap_or_default()) {
                break;
            }
            at += 3;
        }
        if path.len() < 2 {
            return 1;
        }
        self.paths.push(path);
        // A generic argument list or a group after the last `::` is walked like any other token.
        if matches!(tokens.get(at), Some(TokenTree::Ident(_))) { at + 1 } else { at }
    }
}

/// Flattens the tree of one `use` declaration into the imported names and their paths.
fn tree(tokens: &[TokenTree], prefix: &mut Path, found: &mut Vec<(String, Path)>) {
    for branch in tokens.split(|token| is_punct(token, ',')) {
        let depth = prefix.len();
        let mut alias = None;
        let mut inner = None;
        let mut words = branch.iter();
        while let Some(token) = words.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    alias = words.next().map(ToString::to_string);
                }
                TokenTree::Ident(word) => prefix.push(word.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    inner = Some(group);
                }
                TokenTree::Punct(mark) if mark.as_char() == '*' => prefix.push("*".to_owned()),
                _ => {}
            }
        }
        if let Some(group) = inner {
            tree(&group.stream().into_iter().collect::<Vec<_>>(), prefix, found);
        } else if prefix.len() > depth {
            let mut path = prefix.clone();
            // `use a::b::{self}` imports `b`.
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
            found.push((name, path));
        }
        prefix.truncate(depth);
    }
}

/// The length of an item under `#[cfg(test)]`, if one begins here.
pub(in crate::tidy) fn test_item(tokens: &[TokenTree]) -> Option<usize> {
    let [TokenTree::Punct(mark), TokenTree::Group(attribute), ..] = tokens else { return None };
    if mark.as_char() != '#' || !is_test_condition(attribute) {
        return None;
    }
    let item = tokens.get(2..)?;
    let end = item.iter().position(|token| {
        is_punct(token, ';')
            || matches!(token, TokenTree::Group(body) if body.delimiter() == Delimiter::Brace)
    });
    Some(2 + end.map_or(item.len(), |end| end + 1))
}

fn is_test_condition(attribute: &Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test") || text == "test"
}

/// Whether `pub` or `pub(…)` is directly before.
fn is_public(before: &[TokenTree]) -> bool {
    let last = match before {
        [rest @ .., TokenTree::Group(scope)] if scope.delimiter() == Delimiter::Parenthesis => {
            rest.last()
        }
        _ => before.last(),
    };
    matches!(last, Some(TokenTree::Ident(word)) if word == "pub")
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

pub(in crate::tidy) fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_punct(first, ':') && is_punct(second, ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Source::read(text).unwrap().paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_are_read_from_imports_code_and_macros() {
        assert_eq!(
            paths("use crate::a::{B, c::{self, D as E}}; fn f() { super::x(); m!(crate::y::Z) }"),
            ["crate::a::B", "crate::a::c", "crate::a::c::D", "super::x", "crate::y::Z"]
        );
        assert_eq!(paths("fn f() -> a::B<c::D> { e.f::<g::H>() }"), ["a::B", "c::D", "g::H"]);
    }

    #[test]
    fn code_of_tests_is_ignored() {
        assert!(paths("#[cfg(test)] mod tests { use crate::a; }").is_empty());
        assert!(paths("#[cfg(test)] mod tests;").is_empty());
        assert!(paths("#[cfg(test)] use crate::a;").is_empty());
        assert_eq!(paths("#[test] fn f() { crate::a() } fn g() { crate::b() }"), ["crate::b"]);
    }

    #[test]
    fn re_exports_and_children_are_no_imports() {
        let source =
            Source::read("mod a; pub mod b; pub use a::X; pub(crate) use b::{Y as Z}; use b::W;")
                .unwrap();
        assert_eq!(source.children.iter().collect::<Vec<_>>(), ["a", "b"]);
        let exports: Vec<_> = source
            .exports
            .iter()
            .map(|(name, path)| format!("{name}={}", path.join("::")))
            .collect();
        assert_eq!(exports, ["X=a::X", "Z=b::Y"]);
        assert_eq!(source.paths, [["b", "W"]]);
        assert!(!source.names("X"));
    }
}
