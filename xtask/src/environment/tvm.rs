//! TVM for the test of a real tuning job, on machines with the one Python version for which its
//! wheels exist.
//!
//! It is optional: the roles of a tuning job are also tested without TVM.

use std::process::{Command, Stdio};

use super::clients::once;
use super::pip;
use crate::run;

/// A fork whose wheels still have AutoTVM; the wheels of TVM itself do not.
/// 465 MB installed.
const PACKAGES: &[&str] = &["hhb-tvm==3.2.3", "numpy==1.26.4"];
const PYTHON: &str = "python3.10";

/// Installs TVM into `.demo/tvm-venv` if possible, and reports why not otherwise.
pub(crate) fn prepare() {
    if !python().args(["-c", "import venv, ensurepip"]).status().is_ok_and(|done| done.success()) {
        eprintln!("{PYTHON} is not installed; tuning is tested without TVM.");
        return;
    }
    let venv = run::local().join("tvm-venv");
    let done = once(&venv, &PACKAGES.join("\n"), || {
        run::check(python().args(["-m", "venv", "--clear"]).arg(&venv))?;
        let install = ["install", "--quiet", "--only-binary=:all:"];
        run::check(pip(&venv.join("bin/python")).args(install).args(PACKAGES))
    });
    if let Err(error) = done {
        // An incomplete environment would be used by the next run.
        let _ = std::fs::remove_dir_all(&venv);
        eprintln!("cannot install TVM; tuning is tested without it: {error:#}");
    }
}

/// The Python of that version; with pyenv, only the variable selects it.
fn python() -> Command {
    let mut command = Command::new(PYTHON);
    command.env("PYENV_VERSION", "3.10").current_dir(run::root());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
