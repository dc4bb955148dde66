//! The Kubernetes clients of other languages that the tests talk through: Python in two environments, since the newest
//! `kubernetes` and the one that `kubeflow-training` works with exclude each other, and Node.js with its client.

use super::{apt, find_python, pip};
use crate::run;
use anyhow::{Context as _, Result};
use std::path::Path;

/// Environments of Python by folder and what is in them.
const PYTHON: &[(&str, &[&str])] = &[
    ("clients-venv", &["kubernetes==37.0.2"]),
    // The last version that knows MXJobs. With kubernetes 37 it fails before it sends anything.
    ("training-venv", &["kubeflow-training==1.8.1", "kubernetes==29.0.0"]),
];
/// Where the packages of Node.js are listed and locked; they bring a Node.js of their own, because the client wants a
/// newer one than distributions have.
const NODE: &str = "crates/mxjob/tests/clients/node";
const NODE_FILES: &[&str] = &["package.json", "package-lock.json"];

/// Makes sure that all of them are in `.demo`.
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
            .context("cannot install a Python client; is there a way to a Python package index?")
    })
}

fn node() -> Result<()> {
    let (from, to) = (run::root().join(NODE), run::local().join("node"));
    let lock = from.join("package-lock.json");
    let wanted = std::fs::read_to_string(&lock)
        .with_context(|| format!("cannot read {}", lock.display()))?;
    once(&to, &wanted, || {
        std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        for file in NODE_FILES {
            std::fs::copy(from.join(file), to.join(file))
                .with_context(|| format!("cannot copy {file} to {}", to.display()))?;
        }
        if !run::exists("npm") {
            apt(&["npm"])?;
        }
        // The engine that npm itself runs on may be older than the client wants; the tests run the one that is installed here.
        let quiet = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
        run::check(run::command("npm").args(quiet).current_dir(&to))
            .context("cannot install the Node.js client; is there a way to an npm registry?")
    })
}

/// Fills a folder unless its stamp says that the same was put there before.
pub(super) fn once(folder: &Path, wanted: &str, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.join("stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("Preparing {} (once):", folder.display());
    fill()?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
