//! The lines of a Rust file, for rules about comments and imports.
//!
//! A token stream has no line comments, so this reads the text itself: strings, character literals
//! and block comments are skipped, because what looks like a comment or an import in them is none.

/// One line without its line break.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'t> {
    pub(super) text: &'t str,
    /// False if the line begins inside a string or a block comment.
    pub(super) in_code: bool,
    /// The byte where a line comment (`//`, `///`, `//!`) begins.
    pub(super) comment: Option<usize>,
}

impl<'t> Line<'t> {
    /// The part before the line comment, without spaces around it.
    pub(super) fn code(&self) -> &'t str {
        self.text.get(..self.comment.unwrap_or(self.text.len())).unwrap_or_default().trim()
    }

    /// The line comment, if the line has nothing else.
    pub(super) fn whole_comment(&self) -> Option<&'t str> {
        let comment = self.text.get(self.comment?..)?;
        (self.in_code && self.code().is_empty()).then_some(comment)
    }

    /// The number of spaces before the first other character.
    pub(super) fn indent(&self) -> usize {
        indent(self.text)
    }
}

/// The number of leading spaces.
pub(super) fn indent(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// What the scanner is inside of at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Inside {
    Code,
    /// A block comment, which nests.
    Block(usize),
    Text,
    /// A raw string with this many `#`.
    Raw(usize),
}

/// The lines of a file.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut inside = Inside::Code;
    text.lines()
        .map(|line| {
            let in_code = inside == Inside::Code;
            let comment;
            (inside, comment) = scan(line, inside);
            Line { text: line, in_code, comment }
        })
        .collect()
}

/// Reads one line; returns what its end is inside of, and where a line comment begins.
fn scan(line: &str, mut inside: Inside) -> (Inside, Option<usize>) {
    let mut at = 0;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let width = rest.chars().next().map_or(1, char::len_utf8);
        at += match inside {
            Inside::Code if rest.starts_with("//") => return (inside, Some(at)),
            Inside::Code if rest.starts_with("/*") => {
                inside = Inside::Block(1);
                2
            }
            Inside::Code if rest.starts_with('"') => {
                let before = line.get(..at).unwrap_or_default();
                let hashes = before.len() - before.trim_end_matches('#').len();
                let is_raw = before.trim_end_matches('#').ends_with('r');
                inside = if is_raw { Inside::Raw(hashes) } else { Inside::Text };
                1
            }
            Inside::Code if rest.starts_with('\'') => character(rest),
            Inside::Block(depth) if rest.starts_with("*/") => {
                inside = if depth > 1 { Inside::Block(depth - 1) } else { Inside::Code };
                2
            }
            Inside::Block(depth) if rest.starts_with("/*") => {
                inside = Inside::Block(depth + 1);
                2
            }
            Inside::Text if rest.starts_with('\\') => {
                1 + rest.chars().nth(1).map_or(0, char::len_utf8)
            }
            Inside::Text if rest.starts_with('"') => {
                inside = Inside::Code;
                1
            }
            Inside::Raw(hashes)
                if rest
                    .strip_prefix('"')
                    .is_some_and(|end| end.len() - end.trim_start_matches('#').len() >= hashes) =>
            {
                inside = Inside::Code;
                1 + hashes
            }
            _ => width,
        };
    }
    (inside, None)
}

/// The length of the character literal that `rest` begins with; 1 for the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            characters.next();
            characters.find(|(_, next)| *next == '\'').map_or(1, |(end, _)| end + 1)
        }
        Some(_) => {
            characters.next().filter(|(_, next)| *next == '\'').map_or(1, |(end, _)| end + 1)
        }
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_found_in_code_only() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<&str> =
                lines(text).iter().filter_map(|line| line.text.get(line.comment?..)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("let a = 1; // one\n//! two", &["// one", "//! two"]);
        check(r#"f("// no", 'x', '"', "\"// no"); // yes"#, &["// yes"]);
        check("f(r#\"a \" // no\n// no\n\"#); // yes", &["// yes"]);
        check("f(\"// no\n// no\"); // yes", &["// yes"]);
        check("/* // no /* \n */ // no\n */ // yes", &["// yes"]);
        check(r"fn f<'a>(b: &'a str, c: '\'', d: '\u{7f}') {} // yes", &["// yes"]);
    }

    #[test]
    fn lines_inside_strings_are_marked() {
        let in_code: Vec<bool> =
            lines("f(\"a\nuse b;\");\nuse c;").iter().map(|line| line.in_code).collect();
        assert_eq!(in_code, [true, false, true]);
    }
}
