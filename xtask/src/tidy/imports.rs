//! The rule for imports: blocks in one order, an empty line between two blocks.
//!
//! The order is: `std`, `core` and `alloc`; other crates, those of the workspace included; `crate`,
//! `super`, `self` and the file's own modules; re-exports. rustfmt sorts the lines of a block.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::Tree;
use super::scan::{Line, lines};

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in tree.with_extension("rs") {
        found.extend(problems(file, &tree.text(file)?));
    }
    Ok(found)
}

/// The blocks in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Standard,
    External,
    Local,
    Reexport,
}

/// One `use` declaration.
#[derive(Debug)]
struct Import {
    /// The lines of the attributes and comments above it and of itself.
    first: usize,
    end: usize,
    origin: Origin,
}

/// Imports with nothing but empty lines between them.
type Run = Vec<Import>;

fn problems(file: &Path, text: &str) -> Vec<String> {
    let out_of_order = runs(&lines(text)).into_iter().filter(|run| !is_in_order(run));
    out_of_order
        .filter_map(|run| {
            let line = run.first()?.first + 1;
            let order = "std, other crates, crate and super, re-exports";
            Some(format!(
                "{}:{line}: imports are not in blocks ({order}); run `cargo xtask fmt`",
                file.display()
            ))
        })
        .collect()
}

/// The text with its imports in blocks. Lines move only within a run.
pub(super) fn sorted(text: &str) -> String {
    let lines = lines(text);
    let mut result: Vec<&str> = Vec::new();
    let mut at = 0;
    for mut run in runs(&lines).into_iter().filter(|run| !is_in_order(run)) {
        let first = run.first().map_or(at, |import| import.first);
        let end = run.last().map_or(at, |import| import.end);
        result.extend(lines.get(at..first).unwrap_or_default().iter().map(|line| line.text));
        run.sort_by_key(|import| import.origin);
        let mut last = None;
        for import in run {
            if last.is_some_and(|last| last != import.origin) {
                result.push("");
            }
            last = Some(import.origin);
            let own = lines.get(import.first..import.end).unwrap_or_default();
            result.extend(own.iter().map(|line| line.text));
        }
        at = end;
    }
    result.extend(lines.get(at..).unwrap_or_default().iter().map(|line| line.text));
    result.into_iter().flat_map(|line| [line, "\n"]).collect()
}

/// Whether each block has one origin, and the origins rise from block to block.
fn is_in_order(run: &Run) -> bool {
    run.windows(2).all(|pair| {
        let [one, two] = pair else { return true };
        if one.end == two.first { one.origin == two.origin } else { one.origin < two.origin }
    })
}

fn runs(lines: &[Line<'_>]) -> Vec<Run> {
    let modules: BTreeSet<&str> = lines.iter().filter_map(module).collect();
    let mut runs: Vec<Run> = Vec::new();
    // Where attributes and comments above the next import begin.
    let mut above: Option<usize> = None;
    let mut is_open = false;
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let code = line.code();
        let comment = line.whole_comment();
        if !line.in_code {
            (above, is_open) = (None, false);
        } else if let Some((path, is_public)) = import(code) {
            let rest = lines.get(at..).unwrap_or_default();
            let length = rest.iter().take_while(|line| !line.code().ends_with(';')).count() + 1;
            let import = Import {
                first: above.take().unwrap_or(at),
                end: at + length,
                origin: if is_public { Origin::Reexport } else { origin(path, &modules) },
            };
            match runs.last_mut() {
                Some(run) if is_open => run.push(import),
                _ => runs.push(vec![import]),
            }
            is_open = true;
            at += length;
            continue;
        } else if line.text.trim().is_empty() {
            // A comment that an empty line follows is about no import.
            is_open &= above.is_none();
            above = None;
        } else if (code.starts_with("#[") && code.ends_with(']'))
            || comment.is_some_and(|comment| !comment.starts_with("//!"))
        {
            above = above.or(Some(at));
        } else {
            (above, is_open) = (None, false);
        }
        at += 1;
    }
    runs
}

/// The path of a `use` declaration, and whether it is a re-export.
fn import(code: &str) -> Option<(&str, bool)> {
    if let Some(path) = code.strip_prefix("use ") {
        return Some((path, false));
    }
    Some((without_visibility(code)?.strip_prefix("use ")?, true))
}

/// What follows `pub` or `pub(…)`.
fn without_visibility(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("pub")?;
    let rest =
        rest.strip_prefix('(').and_then(|rest| Some(rest.split_once(')')?.1)).unwrap_or(rest);
    rest.strip_prefix(' ')
}

/// The name of the module that a line declares.
fn module<'t>(line: &Line<'t>) -> Option<&'t str> {
    let code = line.code();
    let name = without_visibility(code).unwrap_or(code).strip_prefix("mod ")?;
    name.split([';', ' ', '{']).next()
}

fn origin(path: &str, modules: &BTreeSet<&str>) -> Origin {
    let root = path.split([':', ';', ' ', '{']).next().unwrap_or_default();
    match root {
        "std" | "core" | "alloc" => Origin::Standard,
        "crate" | "super" | "self" => Origin::Local,
        _ if modules.contains(root) => Origin::Local,
        // The variants of an enum of this file.
        _ if root.starts_with(|first: char| first.is_uppercase()) => Origin::Local,
        _ => Origin::External,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let once = sorted(text);
        assert_eq!(once, expected);
        assert_eq!(sorted(&once), once, "a second run changes nothing");
        assert_eq!(problems(Path::new("a.rs"), text).is_empty(), text == expected);
    }

    #[test]
    fn imports_are_put_into_blocks() {
        check(
            "mod b;\n\nuse crate::a;\nuse b::B;\nuse serde::{\n    de,\n};\nuse std::fs;\n\nfn f() {}\n",
            "mod b;\n\nuse std::fs;\n\nuse serde::{\n    de,\n};\n\nuse crate::a;\nuse b::B;\n\nfn f() {}\n",
        );
        check("use a::A;\n\nuse std::fs;\n", "use std::fs;\n\nuse a::A;\n");
    }

    #[test]
    fn blocks_of_one_origin_become_one() {
        check("use std::fs;\n\nuse std::io;\n", "use std::fs;\nuse std::io;\n");
    }

    #[test]
    fn what_is_in_order_stays() {
        let text = "use std::fs;\n\nuse a::A;\n\nuse crate::b;\n\npub use b::B;\n";
        check(text, text);
        let text = "fn f() {\n    use std::fs;\n    let a = \"\nuse b;\n\";\n}\n";
        check(text, text);
    }

    #[test]
    fn re_exports_come_last() {
        check("pub(crate) use b::B;\nuse std::fs;\n", "use std::fs;\n\npub(crate) use b::B;\n");
    }

    #[test]
    fn attributes_and_comments_move_with_their_import() {
        check(
            "// Why.\n#[cfg(test)]\nuse crate::a;\nuse std::fs; // trait\n",
            "use std::fs; // trait\n\n// Why.\n#[cfg(test)]\nuse crate::a;\n",
        );
        let text = "use a::A;\n// About what follows.\n\nuse std::fs;\n";
        check(text, text);
    }
}
