//! Rules for Rust files: length, module layout, and forbidden words.

use std::fmt;
use std::path::Path;

use anyhow::Result;

use super::Tree;
use super::scan::lines;

/// The largest number of lines of a file. Tests are exempt.
const LONGEST: usize = 600;
/// Longer files, each with the reason. A file that became shorter must be removed from the list.
const LONG_FILES: &[(&str, &str)] = &[];
/// The only place for `unsafe`: system calls that no safe library offers.
const UNSAFE_ALLOWED: &str = "crates/node/src/sys";

/// Joined at run time, so that this file does not contain the words.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["todo", "!("], "finish it, or open an issue"),
    (&["unimplemented", "!("], "finish it, or open an issue"),
    (
        &["#[", "ignore"],
        "a test that does not run proves nothing; assert what happens today instead",
    ),
];

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut count = Count::default();
    for file in tree.with_extension("rs") {
        let text = tree.text(file)?;
        found.extend(problems(file, &text));
        count.add(file, &text);
    }
    println!("tidy: lines of Rust: {count}");
    for (file, _) in LONG_FILES {
        let lines = tree.text(Path::new(file)).map(|text| text.lines().count()).unwrap_or_default();
        if lines <= LONGEST {
            found.push(format!("{file}: remove its entry from the list of long files"));
        }
    }
    Ok(found)
}

/// The crate that only tests use.
const TESTKIT: &str = "crates/testkit";

/// Lines of Rust by what they are.
#[derive(Debug, Default, PartialEq)]
struct Count {
    code: usize,
    comments: usize,
    blank: usize,
    tests: usize,
}

impl Count {
    /// Everything in a test file, or from `#[cfg(test)]` before an inline module on, counts as
    /// tests.
    fn add(&mut self, file: &Path, text: &str) {
        let mut lines = lines(text).into_iter().peekable();
        let mut is_test = is_test_file(file) || file.starts_with(TESTKIT);
        while let Some(line) = lines.next() {
            is_test |= line.code() == "#[cfg(test)]"
                && lines.peek().is_some_and(|next| {
                    next.code().starts_with("mod ") && next.code().ends_with('{')
                });
            let kind = if is_test {
                &mut self.tests
            } else if line.whole_comment().is_some() {
                &mut self.comments
            } else if line.text.trim().is_empty() {
                &mut self.blank
            } else {
                &mut self.code
            };
            *kind += 1;
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, comments, blank, tests } = self;
        let source = code + comments + blank;
        write!(formatter, "{source} of source ({code} code, {comments} comments), {tests} of tests")
    }
}

/// Test modules and integration tests in files of their own.
fn is_test_file(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tests.rs")
        || file.components().any(|part| part.as_os_str() == "tests")
}

fn problems(file: &Path, text: &str) -> Vec<String> {
    let shown = file.display();
    let mut found = Vec::new();
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        found.push(format!("{shown}: a module is `name.rs` beside `name/`, never `mod.rs`"));
    }
    // A list of cases may be long, and a test module needs no head.
    let tests = is_test_file(file);
    let lines = text.lines().count();
    if !tests && lines > LONGEST && !LONG_FILES.iter().any(|(long, _)| Path::new(long) == file) {
        found.push(format!("{shown}: {lines} lines, more than {LONGEST}; split it by idea"));
    }
    if !tests && !text.starts_with("//!") && !text.contains("\n//!") {
        found.push(format!("{shown}: has no module head (`//!`)"));
    }
    let unsafe_allowed = file.starts_with(UNSAFE_ALLOWED);
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
            say(number, format!("unsafe outside of {UNSAFE_ALLOWED}"));
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
    fn lines_of_source_and_tests_are_counted() {
        let mut count = Count::default();
        let text = "//! A.\n\nfn f() {} // x\n#[cfg(test)]\nmod tests {\n    use a;\n}\n";
        count.add(Path::new("crates/a/src/lib.rs"), text);
        assert_eq!(count, Count { code: 1, comments: 1, blank: 1, tests: 4 });
        count.add(Path::new("crates/a/src/b/tests.rs"), "//! A.\n");
        assert_eq!(count.tests, 5);
    }

    #[test]
    fn layout_and_length_are_checked() {
        check("crates/a/src/b/mod.rs", "//! B.\n", &["never `mod.rs`"]);
        check("crates/a/src/b.rs", &"//! B.\n".repeat(601), &["601 lines"]);
        check("crates/a/tests/it/b.rs", &"//! B.\n".repeat(601), &[]);
        check("crates/a/src/b.rs", "fn f() {}\n", &["no module head"]);
    }

    #[test]
    fn forbidden_words_are_found_in_code_and_not_in_comments() {
        let word = ["to", "do!()"].concat();
        check("crates/a/src/b.rs", &format!("//! B.\nfn f() {{ {word} }}\n"), &["b.rs:2"]);
        check("crates/a/src/b.rs", &format!("//! B.\n// {word}\n"), &[]);
    }

    #[test]
    fn unsafe_is_found_outside_of_its_place() {
        let text = format!("//! B.\n{} {{ f() }}\n", ["un", "safe"].concat());
        check("crates/a/src/b.rs", &text, &["b.rs:2"]);
        check("crates/node/src/sys/process.rs", &text, &[]);
    }
}
