//! The part of the test runner protocol that `cargo test` and nextest use.

use std::{process::ExitCode, thread};

/// The name and function of a test.
pub(crate) type Test = (&'static str, fn());

/// Lists or runs the tests that the command line selects.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| words.iter().any(|word| word == flag);
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let filters: Vec<&str> =
        filters.iter().map(|word| word.as_str()).filter(|word| *word != "terse").collect();
    if has("--list") {
        for (name, _) in tests.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<Test> = tests
        .iter()
        .filter(|(name, _)| {
            filters.is_empty()
                || filters
                    .iter()
                    .any(|word| if has("--exact") { name == word } else { name.contains(word) })
        })
        .copied()
        .collect();
    run_all(chosen)
}

/// Runs tests at the same time.
pub(crate) fn run_all(chosen: Vec<Test>) -> ExitCode {
    let running: Vec<_> =
        chosen.into_iter().map(|(name, test)| (name, thread::spawn(test))).collect();
    let mut failed = 0;
    for (name, thread) in running {
        let passed = thread.join().is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Names the functions of a module as tests.
#[macro_export]
macro_rules! tests {
    ($module:literal: $($name:ident),+ $(,)?) => {
        pub(crate) const TESTS: &[$crate::harness::Test] =
            &[$((concat!($module, "::", stringify!($name)), $name)),+];
    };
}
