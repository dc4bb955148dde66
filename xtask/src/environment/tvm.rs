//! TVM for the test of a real tuning job, on machines that have the one version of Python that its wheels are for.
//!
//! Nothing depends on it: the roles of a tuning job are tested without TVM too, so a machine that cannot have it does without.

use super::clients::once;
use super::pip;
use crate::run;
use std::process::{Command, Stdio};

/// A fork whose wheels still have AutoTVM; those of TVM itself on the Python package index do not. 465 MB installed.
const PACKAGES: &[&str] = &["hhb-tvm==3.2.3", "numpy==1.26.4"];
const PYTHON: &str = "python3.10";

/// Puts TVM into `.demo/tvm-venv` if that is possible, and says so if it is not.
pub(crate) fn prepare() {
    if !python().args(["-c", "import venv, ensurepip"]).status().is_ok_and(|done| done.success()) {
        eprintln!("There is no {PYTHON}: tuning is tested without TVM.");
        return;
    }
    let venv = run::local().join("tvm-venv");
    let done = once(&venv, &PACKAGES.join("\n"), || {
        run::check(python().args(["-m", "venv", "--clear"]).arg(&venv))?;
        let install = ["install", "--quiet", "--only-binary=:all:"];
        run::check(pip(&venv.join("bin/python")).args(install).args(PACKAGES))
    });
    if let Err(error) = done {
        // Half an environment would look like a whole one.
        let _ = std::fs::remove_dir_all(&venv);
        eprintln!("TVM cannot be installed, so tuning is tested without it: {error:#}");
    }
}

/// The Python of that version; where pyenv manages them, it runs only on request.
fn python() -> Command {
    let mut command = Command::new(PYTHON);
    command.env("PYENV_VERSION", "3.10").current_dir(run::root());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
