//! The commands that call cargo's own checks: `test`, `lint`, `fuzz`, `codegen`, and `ci`, which
//! runs everything.

use anyhow::{Context as _, Result, bail};

use crate::{Run, conformance, environment, run, tidy};

/// Installs what the tests need, then runs unit, integration, end-to-end and documentation tests.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    environment::prepare()?;
    environment::kubectl()?;
    environment::curl()?;
    environment::clients::prepare()?;
    environment::tvm::prepare();
    if !run::exists("cargo-nextest") {
        eprintln!("cargo-nextest is not installed: using `cargo test` (slower, less clear output)");
        return run::check(run::cargo().args(["test", "--workspace", "--locked"]).args(arguments));
    }
    run::check(run::cargo().args(["nextest", "run", "--workspace", "--locked"]).args(arguments))?;
    if arguments.is_empty() {
        // nextest runs no documentation tests.
        run::check(run::cargo().args(["test", "--workspace", "--doc", "--locked", "--quiet"]))?;
    }
    Ok(())
}

/// Formatting, clippy with warnings denied, and the dependency rules of `deny.toml`.
pub(crate) fn lint(_: &[String]) -> Result<()> {
    run::check(run::cargo().args(["fmt", "--all", "--check"]))
        .context("the code is not formatted; run `cargo xtask fmt`")?;
    run::check(run::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    if run::exists("cargo-deny") {
        run::check(run::cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        eprintln!("cargo-deny is not installed: the rules of deny.toml were not checked");
    }
    Ok(())
}

/// Feeds mutated input to every decoder, for a bounded time; the arguments are those of the
/// `mxjob-fuzz` program.
pub(crate) fn fuzz(arguments: &[String]) -> Result<()> {
    let program = ["run", "--package", "mxjob-fuzz", "--quiet", "--locked", "--"];
    run::check(run::cargo().args(program).args(arguments))
}

/// Writes the generated files.
pub(crate) fn codegen(_: &[String]) -> Result<()> {
    // The tests that compare the files with the types write them if the variable is set. Each file
    // is compiled into the program that writes the next: built-in kinds, then their messages in
    // protobuf and the pod template, then the definition that contains the template, then the
    // manifests that contain the definition.
    for package in ["mxjob-machinery", "mxjob-protobuf", "mxjob-api", "mxjob-api", "mxjob-operator"]
    {
        let arguments = ["test", "--package", package, "--quiet", "--locked", "fresh"];
        run::check(run::cargo().env("UPDATE_MANIFESTS", "1").args(arguments))?;
    }
    Ok(())
}

/// What must pass before a merge, in this order. `.ci/run` and `CONTRIBUTING.md` refer to this
/// list.
const CI: &[(&str, Run)] =
    &[("lint", lint), ("test", test), ("conformance", conformance::run), ("tidy", tidy::run)];

/// Runs the checks of [`CI`], also after one has failed.
pub(crate) fn ci(_: &[String]) -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CI {
        if let Err(error) = check(&[]) {
            eprintln!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_name_the_checks_of_ci() {
        let names: Vec<&str> = CI.iter().map(|(name, _)| *name).collect();
        let (last, others) = names.split_last().unwrap();
        let row = format!("| `cargo xtask ci` | {} and {last}, in this order", others.join(", "));
        assert!(include_str!("../../CONTRIBUTING.md").contains(&row), "{row}");
        let about = crate::COMMANDS.iter().find(|command| command.0 == "ci").unwrap().1;
        assert!(about.starts_with(&names.join(", ")), "{about}");
    }
}
