//! Rules for where the product may start processes, sync files to disk and read the wall clock.
//!
//! Works on tokens, so comments and strings do not count. Tests may call anything, and so may what
//! is not the product: xtask, the benchmarks, the fuzz targets.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use super::Tree;
use super::modules::source::{is_separator, test_item};

/// Calls that are allowed in few places.
struct Rule {
    /// Names the action in a message.
    action: &'static str,
    /// The last segments of a path, or the name of a function or method.
    calls: &'static [&'static [&'static str]],
    /// Files and folders, each with the reason. One without such a call must lose its entry.
    allowed: &'static [(&'static str, &'static str)],
    /// What to do instead.
    advice: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        action: "starts a process",
        calls: &[&["Command", "new"], &["posix_spawn"], &["fork"], &["vfork"]],
        allowed: &[
            ("crates/node/src/runtime", "the agent starts a shim for each attempt"),
            ("crates/node/src/shim", "the shim becomes the program of a container"),
            ("crates/node/src/exec.rs", "the agent starts commands in containers"),
            ("crates/node/src/sys/process.rs", "the fork of the shim"),
        ],
        advice: "let the node's runtime start it",
    },
    Rule {
        action: "syncs a file",
        calls: &[&["sync_all"], &["sync_data"], &["fsync"], &["fdatasync"], &["syncfs"]],
        allowed: &[
            ("crates/files/src", "small files that must outlive a power failure"),
            ("crates/store/src", "the log of the store"),
        ],
        advice: "use mxjob_files::write_durably",
    },
    Rule {
        action: "reads the wall clock",
        calls: &[&["Timestamp", "now"], &["SystemTime", "now"], &["Zoned", "now"]],
        allowed: &[
            ("crates/apiserver/src/environment.rs", "the server's view of the outside world"),
            ("crates/controller/src/executor.rs", "passes the clock to everything below it"),
            ("crates/manager/src/clock.rs", "the clock of the quota controller"),
            ("crates/mxjob/src/clock.rs", "the clock of the commands"),
            ("crates/node/src/clock.rs", "the clock of the agent and the shim"),
            ("crates/operator/src/wall_clock.rs", "the clock of the operator"),
        ],
        advice: "take the time as a parameter, or use the crate's clock module",
    },
];

/// A call that a rule is about.
struct Call {
    rule: &'static Rule,
    line: usize,
    name: String,
}

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut used = Vec::new();
    for file in tree.with_extension("rs").filter(|file| is_product(file)) {
        let calls =
            calls(&tree.text(file)?).with_context(|| format!("cannot read {}", file.display()))?;
        for call in &calls {
            match place(call.rule, file) {
                Some(place) => used.push((call.rule.action, place)),
                None => found.push(problem(file, call)),
            }
        }
    }
    for rule in RULES {
        for (place, _) in
            rule.allowed.iter().filter(|(place, _)| !used.contains(&(rule.action, *place)))
        {
            found.push(format!("{place}: nothing {}: remove its entry in the rule", rule.action));
        }
    }
    Ok(found)
}

/// Whether the file is part of the product: a source file of a crate, and no test module.
fn is_product(file: &Path) -> bool {
    let mut parts = file.iter().map(|part| part.to_string_lossy());
    let is_source = parts.next().is_some_and(|part| part == "crates")
        && parts.nth(1).is_some_and(|part| part == "src");
    is_source && !parts.any(|part| part == "tests" || part == "tests.rs")
}

/// The entry of the rule that allows its calls in this file.
fn place(rule: &Rule, file: &Path) -> Option<&'static str> {
    rule.allowed.iter().map(|(place, _)| *place).find(|place| file.starts_with(place))
}

fn problem(file: &Path, call: &Call) -> String {
    let Call { rule, line, name } = call;
    format!("{}:{line}: `{name}` {}: {}", file.display(), rule.action, rule.advice)
}

fn calls(text: &str) -> Result<Vec<Call>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("not Rust tokens: {error}"))?;
    let mut found = Vec::new();
    walk(&tokens.into_iter().collect::<Vec<_>>(), &mut found);
    Ok(found)
}

fn walk(tokens: &[TokenTree], found: &mut Vec<Call>) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let rest = tokens.get(at..).unwrap_or_default();
        if let Some(length) = test_item(rest) {
            at += length;
            continue;
        }
        match token {
            TokenTree::Group(group) => walk(&group.stream().into_iter().collect::<Vec<_>>(), found),
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                for rule in RULES {
                    for call in rule.calls.iter().filter(|call| begins_with(rest, call)) {
                        found.push(Call { rule, line, name: call.join("::") });
                    }
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

/// Whether the tokens begin with this path.
fn begins_with(tokens: &[TokenTree], path: &[&str]) -> bool {
    let Some((first, others)) = path.split_first() else { return true };
    let is_first = matches!(tokens.first(), Some(TokenTree::Ident(word)) if word == *first);
    let after = tokens.get(1..).unwrap_or_default();
    is_first
        && (others.is_empty()
            || (is_separator(after) && begins_with(after.get(2..).unwrap_or_default(), others)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let found = calls(text).unwrap();
        let found: Vec<_> = found.iter().map(|call| (call.line, call.name.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn calls_and_functions_passed_on_are_found_with_their_line() {
        check("fn f() {\n    std::process::Command::new(\"x\").spawn()\n}", &[(2, "Command::new")]);
        check("fn f() { a.unwrap_or_else(jiff::Timestamp::now) }", &[(1, "Timestamp::now")]);
        check(
            "fn f() { file.sync_all()?; m!(File::sync_data) }",
            &[(1, "sync_all"), (1, "sync_data")],
        );
        check("use libc::{fork, posix_spawn};", &[(1, "fork"), (1, "posix_spawn")]);
    }

    #[test]
    fn other_names_comments_strings_and_tests_do_not_count() {
        check(
            "fn fork_single_threaded() { Command::default(); Instant::now(); clock::now() }",
            &[],
        );
        check("/// As `fork`.\nfn f() { \"Command::new\"; } // fsync", &[]);
        check("#[cfg(test)]\nmod tests { fn f() { Command::new(1) } }", &[]);
        check("#[test]\nfn f() { SystemTime::now() }", &[]);
    }

    #[test]
    fn a_call_is_allowed_in_its_place_and_reported_elsewhere() {
        let allowed = |file: &str, text: &str| {
            let call = calls(text).unwrap().remove(0);
            place(call.rule, Path::new(file)).is_some()
        };
        assert!(allowed("crates/node/src/runtime/sandbox.rs", "Command::new"));
        assert!(allowed("crates/node/src/exec.rs", "Command::new"));
        assert!(!allowed("crates/node/src/agent.rs", "Command::new"));
        assert!(!allowed("crates/node/src/runtime/sandbox.rs", "sync_all"));
        let call = calls("\nTimestamp::now()").unwrap().remove(0);
        let problem = problem(Path::new("crates/api/src/a.rs"), &call);
        assert!(
            problem.starts_with("crates/api/src/a.rs:2: `Timestamp::now` reads the wall clock")
        );
    }

    #[test]
    fn only_the_sources_of_the_product_are_checked() {
        for (file, expected) in [
            ("crates/node/src/agent.rs", true),
            ("crates/node/src/agent/names/tests.rs", false),
            ("crates/node/tests/it/main.rs", false),
            ("crates/store/examples/commit_rate.rs", false),
            ("xtask/src/run.rs", false),
            ("bench/scale/src/operator.rs", false),
        ] {
            assert_eq!(is_product(Path::new(file)), expected, "{file}");
        }
    }
}
