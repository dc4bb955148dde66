//! The Kubernetes clients of other languages for the tests: Python in two environments, because
//! `kubeflow-training` does not work with the newest `kubernetes`, and Node.js.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{apt, find_python, pip};
use crate::run;

/// Python environments: folder and packages.
const PYTHON: &[(&str, &[&str])] = &[
    ("clients-venv", &["kubernetes==37.0.2", "kr8s==0.20.15", "lightkube==1.0.1"]),
    // The last version with MXJobs. With kubernetes 37 it fails before it sends a request.
    ("training-venv", &["kubeflow-training==1.8.1", "kubernetes==29.0.0"]),
];
/// The folder with the locked packages of Node.js. They include Node.js itself, because the client
/// needs a newer one than distributions have.
const NODE: &str = "crates/mxjob/tests/clients/node";
const NODE_FILES: &[&str] = &["package.json", "package-lock.json"];

/// Installs them into `.demo` if they are missing.
pub(crate) fn prepare() -> Result<()> {
    for (folder, packages) in PYTHON {
        python(folder, packages)?;
    }
    node()
}

fn python(folder: &str, packages: &[&str]) -> Result<()> {
    let venv = run::local().join(folder);
    once(&venv, &packages.join("\n"), || {
        let python = find_python()?;
        run::check(run::command(python).args(["-m", "venv", "--clear"]).arg(&venv))?;
        let install = ["install", "--quiet", "--only-binary=:all:"];
        run::check(pip(&venv.join("bin/python")).args(install).args(packages))
            .context("cannot install a Python client; is a Python package index reachable?")
    })
}

fn node() -> Result<()> {
    let (from, to) = (run::root().join(NODE), run::local().join("node"));
    let lock = from.join("package-lock.json");
    let expected = std::fs::read_to_string(&lock)
        .with_context(|| format!("cannot read {}", lock.display()))?;
    once(&to, &expected, || {
        std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        for file in NODE_FILES {
            std::fs::copy(from.join(file), to.join(file))
                .with_context(|| format!("cannot copy {file} to {}", to.display()))?;
        }
        if !run::exists("npm") {
            apt(&["npm"])?;
        }
        // npm's own Node.js may be too old for the client; the tests use the one that is installed
        // here.
        let quiet = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
        run::check(run::command("npm").args(quiet).current_dir(&to))
            .context("cannot install the Node.js client; is an npm registry reachable?")
    })
}

/// Fills a folder unless its file `stamp` has the same content as `expected`.
pub(super) fn once(folder: &Path, expected: &str, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.join("stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    eprintln!("Preparing {} (once):", folder.display());
    fill()?;
    std::fs::write(&stamp, expected).with_context(|| format!("cannot write {}", stamp.display()))
}
