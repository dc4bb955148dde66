//! Rules for generated files: they are what the code would write now.

use super::Tree;
use crate::run;
use anyhow::Result;

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if !tree.files.iter().any(|file| file.starts_with("manifests")) {
        found.push("manifests/: is empty; run `cargo xtask codegen`".to_owned());
    }
    // The comparisons are tests of the crates that generate; here they are run by themselves.
    let fresh = run::output(run::cargo().args([
        "test",
        "--package",
        "mxjob-machinery",
        "--package",
        "mxjob-api",
        "--package",
        "mxjob-operator",
        "--quiet",
        "--locked",
        "fresh",
    ]));
    if let Err(error) = fresh {
        let advice = "cargo xtask codegen writes generated files again where they are not what the types say";
        found.push(format!("{advice}: {error:#}"));
    }
    Ok(found)
}
