//! Rules for Rust files: their length, module layout, and words that must not be in them.

use super::Tree;
use anyhow::Result;
use std::path::Path;

/// A file longer than this holds more than one idea and is split. Tests are exempt.
const LONGEST: usize = 600;
/// Files that may be longer, each with the reason. A file that no longer needs its entry must lose it.
const LONG_FILES: &[(&str, &str)] = &[];
/// The only place where `unsafe` may be: what happens between fork and exec cannot be said without it.
const UNSAFE_ALLOWED: &[&str] = &["crates/node/src/runtime", "crates/node/src/sys"];

/// The words are put together here, so that this file does not contain them.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["todo", "!("], "finish it, or open an issue"),
    (&["unimplemented", "!("], "finish it, or open an issue"),
    (
        &["#[", "ignore"],
        "a test that does not run proves nothing: assert what happens today instead",
    ),
];

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in tree.with_extension("rs") {
        let text = tree.text(file)?;
        found.extend(problems(file, &text));
    }
    for (file, _) in LONG_FILES {
        let lines = tree.text(Path::new(file)).map(|text| text.lines().count()).unwrap_or_default();
        if lines <= LONGEST {
            found.push(format!("{file}: no longer needs its entry in the list of long files"));
        }
    }
    Ok(found)
}

fn problems(file: &Path, text: &str) -> Vec<String> {
    let shown = file.display();
    let mut found = Vec::new();
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        found.push(format!("{shown}: a module is `name.rs` beside `name/`, never `mod.rs`"));
    }
    // A list of cases is one idea, however long; and what a test module is for is said by what it tests.
    let tests = file.file_name().is_some_and(|name| name == "tests.rs")
        || file.components().any(|part| part.as_os_str() == "tests");
    let lines = text.lines().count();
    if !tests && lines > LONGEST && !LONG_FILES.iter().any(|(long, _)| Path::new(long) == file) {
        found.push(format!("{shown}: {lines} lines, more than {LONGEST}; split it by idea"));
    }
    if !tests && !text.starts_with("//!") && !text.contains("\n//!") {
        found.push(format!("{shown}: says nowhere what it is for (`//!`)"));
    }
    let unsafe_allowed = UNSAFE_ALLOWED.iter().any(|place| shown.to_string().starts_with(place));
    let mut say =
        |number: usize, problem: String| found.push(format!("{shown}:{}: {problem}", number + 1));
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (parts, advice) in FORBIDDEN {
            let word = parts.concat();
            if code.contains(&word) {
                say(number, format!("`{word}`: {advice}"));
            }
        }
        if !unsafe_allowed && uses_unsafe(code) {
            say(number, "unsafe outside the process runtime".to_owned());
        }
    }
    found
}

/// Whether the line opens an unsafe block, function or implementation.
fn uses_unsafe(code: &str) -> bool {
    let word = ["un", "safe"].concat();
    ["{", "fn", "impl", "extern", "trait"]
        .iter()
        .any(|next| code.contains(&format!("{word} {next}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str, expected: &[&str]) {
        let found = problems(Path::new(file), text);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (problem, part) in found.iter().zip(expected) {
            assert!(problem.contains(part), "{problem} should contain {part}");
        }
    }

    #[test]
    fn a_plain_file_is_in_order() {
        check("crates/a/src/lib.rs", "//! For tests.\nfn main() {}\n", &[]);
    }

    #[test]
    fn layout_and_length_are_checked() {
        check("crates/a/src/b/mod.rs", "//! B.\n", &["never `mod.rs`"]);
        check("crates/a/src/b.rs", &"//! B.\n".repeat(601), &["601 lines"]);
        check("crates/a/tests/it/b.rs", &"//! B.\n".repeat(601), &[]);
        check("crates/a/src/b.rs", "fn f() {}\n", &["what it is for"]);
    }

    #[test]
    fn forbidden_words_are_found_in_code_and_not_in_comments() {
        let word = ["to", "do!()"].concat();
        check("crates/a/src/b.rs", &format!("//! B.\nfn f() {{ {word} }}\n"), &["b.rs:2"]);
        check("crates/a/src/b.rs", &format!("//! B.\n// {word}\n"), &[]);
    }

    #[test]
    fn unsafe_is_found_outside_the_process_runtime() {
        let text = format!("//! B.\n{} {{ f() }}\n", ["un", "safe"].concat());
        check("crates/a/src/b.rs", &text, &["b.rs:2"]);
        check("crates/node/src/runtime/process.rs", &text, &[]);
    }
}
