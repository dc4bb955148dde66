//! Rules for generated files: they equal what the code would write now.

use anyhow::Result;

use super::Tree;
use crate::run;

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if !tree.files.iter().any(|file| file.starts_with("manifests")) {
        found.push("manifests/ is empty; run `cargo xtask codegen`".to_owned());
    }
    // The comparisons are tests of the crates that generate the files.
    let fresh = run::output(run::cargo().args([
        "test",
        "--package",
        "mxjob-machinery",
        "--package",
        "mxjob-protobuf",
        "--package",
        "mxjob-api",
        "--package",
        "mxjob-operator",
        "--quiet",
        "--locked",
        "fresh",
    ]));
    if let Err(error) = fresh {
        let advice = "generated files are out of date; run `cargo xtask codegen`";
        found.push(format!("{advice}: {error:#}"));
    }
    Ok(found)
}
