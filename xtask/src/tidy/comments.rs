//! The rule for comments: at most 100 columns.
//!
//! Paragraphs and list items of `//`, `///` and `//!` comments are wrapped; tables, headings, code
//! blocks, drawings and aligned columns stay as they are, and so does what cannot be broken.

use std::path::Path;

use anyhow::Result;

use super::Tree;
use super::scan::{Line, indent, lines};

const WIDTH: usize = 100;
/// A longer code span may be broken between its words.
const LONGEST_SPAN: usize = 60;

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in tree.with_extension("rs") {
        found.extend(problems(file, &tree.text(file)?));
    }
    Ok(found)
}

/// One problem for each comment block that [`wrapped`] would change.
fn problems(file: &Path, text: &str) -> Vec<String> {
    let lines = lines(text);
    let problem = |number: usize| {
        let place = format!("{}:{}", file.display(), number + 1);
        format!("{place}: a comment is wider than {WIDTH} columns; run `cargo xtask fmt`")
    };
    let trailing = lines.iter().enumerate().filter(|(_, line)| is_wide_trailing(line));
    let mut found: Vec<String> = trailing.map(|(number, _)| problem(number)).collect();
    for block in blocks(&lines) {
        let old = lines.get(block.first..block.end).unwrap_or_default();
        let new = block.wrapped();
        let differs = |(line, new): (&Line<'_>, &String)| line.text != new;
        if old.len() != new.len() || old.iter().zip(&new).any(differs) {
            found.push(problem(block.first));
        }
    }
    found
}

/// The text with wide comments wrapped. Code is not changed.
pub(super) fn wrapped(text: &str) -> String {
    // A wide comment behind code becomes a line of its own above it.
    let mut moved = String::new();
    for line in lines(text) {
        let comment = line.text.get(line.comment.unwrap_or_default()..).unwrap_or_default();
        if is_wide_trailing(&line) {
            let space = " ".repeat(line.indent());
            moved.push_str(&format!("{space}{comment}\n{space}{}\n", line.code()));
        } else {
            moved.push_str(line.text);
            moved.push('\n');
        }
    }
    let lines = lines(&moved);
    let mut result = String::new();
    let mut at = 0;
    for block in blocks(&lines) {
        let before = lines.get(at..block.first).unwrap_or_default();
        let before = before.iter().map(|line| line.text.to_owned());
        for line in before.chain(block.wrapped()) {
            result.push_str(&line);
            result.push('\n');
        }
        at = block.end;
    }
    for line in lines.get(at..).unwrap_or_default() {
        result.push_str(line.text);
        result.push('\n');
    }
    result
}

fn is_wide_trailing(line: &Line<'_>) -> bool {
    line.in_code
        && line.comment.is_some()
        && !line.code().is_empty()
        && line.text.chars().count() > WIDTH
}

/// Comment lines one after the other with the same indentation and marker.
#[derive(Debug)]
struct Block<'t> {
    first: usize,
    end: usize,
    /// Indentation and marker.
    prefix: String,
    /// What follows the marker and a space.
    contents: Vec<&'t str>,
}

fn blocks<'t>(lines: &[Line<'t>]) -> Vec<Block<'t>> {
    let mut blocks: Vec<Block<'t>> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some((marker, content)) = line.whole_comment().and_then(split) else { continue };
        let prefix = format!("{}{marker}", " ".repeat(line.indent()));
        match blocks.last_mut() {
            Some(block) if block.end == number && block.prefix == prefix => {
                block.end += 1;
                block.contents.push(content);
            }
            _ => blocks.push(Block {
                first: number,
                end: number + 1,
                prefix,
                contents: vec![content],
            }),
        }
    }
    blocks
}

/// The marker of a comment and its content; none for one without a space between them.
fn split(comment: &str) -> Option<(&'static str, &str)> {
    let marker = ["///", "//!", "//"].into_iter().find(|marker| comment.starts_with(marker))?;
    let rest = comment.strip_prefix(marker)?;
    if rest.is_empty() { Some((marker, "")) } else { Some((marker, rest.strip_prefix(' ')?)) }
}

impl Block<'_> {
    fn wrapped(&self) -> Vec<String> {
        let width = WIDTH.saturating_sub(self.prefix.len() + 1);
        let mut result = Vec::new();
        let mut is_fenced = false;
        let mut at = 0;
        while let Some(rest @ [line, ..]) = self.contents.get(at..) {
            let length = match lead(line) {
                Lead::Fence => {
                    is_fenced = !is_fenced;
                    1
                }
                Lead::Text | Lead::Item(_) if !is_fenced => paragraph(rest),
                _ => 1,
            };
            let lines = rest.get(..length).unwrap_or_default();
            at += length;
            let is_prose = !is_fenced && !matches!(lead(line), Lead::Fence | Lead::Other);
            if is_prose
                && lines.iter().any(|line| line.chars().count() > width)
                && !is_laid_out(lines)
            {
                result.extend(fill(lines, width));
            } else {
                result.extend(lines.iter().map(|line| (*line).to_owned()));
            }
        }
        let line = |content: String| format!("{} {content}", self.prefix).trim_end().to_owned();
        result.into_iter().map(line).collect()
    }
}

/// How a line of a comment begins.
#[derive(Debug, PartialEq)]
enum Lead {
    Fence,
    /// An item of a list; the length of its marker and the spaces around it.
    Item(usize),
    Text,
    /// Blank, a heading, a table, a quotation, the target of a link, indented code.
    Other,
}

fn lead(line: &str) -> Lead {
    let text = line.trim_start();
    let word = text.split(' ').next().unwrap_or_default();
    let only = |characters: &str| !word.is_empty() && word.chars().all(|c| characters.contains(c));
    if text.starts_with("```") || text.starts_with("~~~") {
        Lead::Fence
    } else if is_item(word) {
        let gap = indent(text.get(word.len()..).unwrap_or_default());
        Lead::Item(indent(line) + word.len() + gap)
    } else if text.is_empty()
        || indent(line) >= 4
        || only("#")
        || only("=")
        || only("-")
        || text.starts_with(['|', '>'])
        || (word.starts_with('[') && word.ends_with("]:"))
    {
        Lead::Other
    } else {
        Lead::Text
    }
}

fn is_item(word: &str) -> bool {
    let number = word.strip_suffix(['.', ')']).unwrap_or_default();
    matches!(word, "*" | "-" | "+")
        || (!number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit()))
}

/// The number of lines that belong to the paragraph or item that begins with the first.
fn paragraph(lines: &[&str]) -> usize {
    let Some((first, rest)) = lines.split_first() else { return 0 };
    let continues = |line: &&&str| match (lead(first), lead(line.trim_start())) {
        (Lead::Item(_), Lead::Text) => indent(line) > indent(first),
        (_, Lead::Text) => indent(line) == indent(first),
        _ => false,
    };
    1 + rest.iter().take_while(continues).count()
}

/// Drawings, aligned columns and hard line breaks.
fn is_laid_out(lines: &[&str]) -> bool {
    lines.iter().any(|line| {
        line.contains(|character| ('\u{2500}'..='\u{259f}').contains(&character))
            || line.trim().contains("   ")
            || line.ends_with("  ")
            || line.ends_with('\\')
    })
}

fn fill(lines: &[&str], width: usize) -> Vec<String> {
    let first = lines.first().copied().unwrap_or_default();
    let length = match lead(first) {
        Lead::Item(length) => length,
        _ => indent(first),
    };
    let (marker, text) = first.split_at(length);
    let hanging = lines.get(1).map_or(length, |second| indent(second));
    let words: Vec<&str> = text
        .split_whitespace()
        .chain(lines.iter().skip(1).flat_map(|line| line.split_whitespace()))
        .collect();
    let mut result = Vec::new();
    let mut line = marker.to_owned();
    let mut is_empty = true;
    for part in parts(&words) {
        if !is_empty && line.chars().count() + 1 + part.chars().count() > width {
            result.push(std::mem::replace(&mut line, " ".repeat(hanging)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(&part);
        is_empty = false;
    }
    result.push(line);
    result
}

/// Words, joined where a line must not begin or end: inside of short code spans, and before a word
/// that would begin a list, a table or the like.
fn parts(words: &[&str]) -> Vec<String> {
    let is_odd = |word: &&str| word.matches('`').count() % 2 == 1;
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some((word, rest)) = words.get(at..).and_then(<[&str]>::split_first) {
        let close = if is_odd(word) { rest.iter().position(is_odd) } else { None };
        let span = words.get(at..close.map_or(at + 1, |close| at + close + 2)).unwrap_or_default();
        let span = match span.join(" ") {
            joined if joined.chars().count() <= LONGEST_SPAN => joined,
            _ => (*word).to_owned(),
        };
        at += span.split(' ').count();
        match parts.last_mut() {
            Some(last) if lead(&format!("{word} …")) != Lead::Text => {
                last.push(' ');
                last.push_str(&span);
            }
            _ => parts.push(span),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let once = wrapped(text);
        assert_eq!(once, expected);
        assert_eq!(wrapped(&once), once, "a second run changes nothing");
        assert_eq!(problems(Path::new("a.rs"), text).is_empty(), text == expected);
        assert_eq!(problems(Path::new("a.rs"), &once), Vec::<String>::new());
    }

    fn words(count: usize) -> String {
        vec!["word"; count].join(" ")
    }

    #[test]
    fn a_wide_paragraph_is_wrapped() {
        for marker in ["//", "///", "//!"] {
            let long = format!("    {marker} {}\n    {marker} end.\n", words(25));
            let (first, second) = (words(18), words(7));
            check(&long, &format!("    {marker} {first}\n    {marker} {second} end.\n"));
        }
    }

    #[test]
    fn narrow_comments_and_code_stay() {
        check("// One.\n// Two.\nfn f() {}\n", "// One.\n// Two.\nfn f() {}\n");
        let code = format!("let a = \"{}\n// {}\";\n", words(25), words(25));
        check(&code, &code);
    }

    #[test]
    fn tables_code_and_drawings_stay() {
        let wide = words(25);
        for line in [format!("| {wide} |"), format!("# {wide}"), format!("a   {wide}")] {
            check(&format!("// {line}\n"), &format!("// {line}\n"));
        }
        let block = format!("//! ```text\n//! {wide}\n//! ```\n//! a ─▶ {wide}\n");
        check(&block, &block);
        let unbroken = format!("// {}\n", "x".repeat(120));
        check(&unbroken, &unbroken);
    }

    #[test]
    fn an_item_of_a_list_keeps_its_indentation() {
        let text = format!("/// * {}\n/// * short\n", words(20));
        let expected = format!("/// * {}\n///   {}\n/// * short\n", words(19), words(1));
        check(&text, &expected);
    }

    #[test]
    fn no_line_begins_with_what_markdown_would_read_as_a_list() {
        let text = format!("// {} - 2. {}\n", words(19), words(3));
        check(&text, &format!("// {}\n// word - 2. {}\n", words(18), words(3)));
    }

    #[test]
    fn a_code_span_is_not_broken() {
        let text = format!("// {} `one two three` end\n", words(18));
        check(&text, &format!("// {}\n// `one two three` end\n", words(18)));
    }

    #[test]
    fn a_wide_comment_behind_code_moves_above_it() {
        let text = format!("    f(); // {}\n", words(19));
        check(&text, &format!("    // {}\n    // word\n    f();\n", words(18)));
    }
}
