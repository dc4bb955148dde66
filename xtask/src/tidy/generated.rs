//! Rules for generated files: they are what the code would write now.

use super::Tree;
use crate::run;
use anyhow::Result;

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if !tree.files.iter().any(|file| file.starts_with("manifests")) {
        found.push("manifests/: is empty; run `cargo xtask codegen`".to_owned());
    }
    // The comparison is a test of the crate that generates; here it is run by itself.
    let fresh = run::output(run::cargo().args([
        "test",
        "--package",
        "mxjob-api",
        "--quiet",
        "--locked",
        "manifest",
    ]));
    if let Err(error) = fresh {
        let advice =
            "manifests/: cargo xtask codegen writes it again where it is not what the types say";
        found.push(format!("{advice}: {error:#}"));
    }
    Ok(found)
}
