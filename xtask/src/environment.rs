//! What the demonstration and the tests need in addition to Rust: a Python environment with MXNet,
//! real data, kubectl, curl.
//!
//! The Python environment is in `.demo/venv`, outside the system's Python. Everything is installed
//! once; later calls find a file with the versions and return immediately.

pub(crate) mod clients;
pub(crate) mod tvm;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// The last MXNet with a small wheel that needs no old numpy: 190 MB installed and 2.6 s for the
/// digits job, where 1.9.1 takes 296 MB and 3.8 s and reaches the same accuracy.
const PACKAGES: &[&str] = &["mxnet==1.5.1.post0", "numpy==1.26.4"];
/// In order of preference; numpy 1.26 has wheels up to 3.12, and lightkube needs 3.10.
const PYTHONS: &[&str] = &["python3.11", "python3.12", "python3.10", "python3"];
/// The only file used of the scikit-learn wheel: 1,797 handwritten digits of 8 x 8 grey values.
const DATA_MEMBER: &str = "sklearn/datasets/data/digits.csv.gz";

/// Extracts that file from a wheel and checks its size.
const EXTRACT: &str = r#"
import csv, glob, gzip, os, sys, zipfile
folder, member, target = sys.argv[1:]
wheel, = glob.glob(os.path.join(folder, "*.whl"))
data = zipfile.ZipFile(wheel).read(member)
rows = list(csv.reader(gzip.decompress(data).decode().splitlines()))
assert len(rows) == 1797 and all(len(row) == 65 for row in rows), "not the digits data"
with open(target + ".new", "wb") as file:
    file.write(data)
os.replace(target + ".new", target)
"#;

/// Creates `.demo/venv` and `.demo/digits.csv.gz` if they are missing.
pub(crate) fn prepare() -> Result<()> {
    let folder = run::local();
    let (venv, stamp) = (folder.join("venv"), folder.join("stamp"));
    let data = folder.join("digits.csv.gz");
    let expected = format!("{}\n", PACKAGES.join("\n"));
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == expected)
        && venv.join("bin/python").exists()
        && data.exists()
    {
        return Ok(());
    }
    eprintln!("Preparing {} (once; about 190 MB):", folder.display());
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let python = find_python()?;
    // `--clear`: an interrupted run may have left an incomplete environment.
    run::check(run::command(&python).args(["-m", "venv", "--clear"]).arg(&venv))?;
    let inside = venv.join("bin/python");
    run::check(pip(&inside).args(["install", "--quiet", "--only-binary=:all:"]).args(PACKAGES))
        .context("cannot install MXNet; is a Python package index reachable?")?;
    importable(&inside)?;
    fetch_data(&inside, &folder, &data)?;
    std::fs::write(&stamp, expected).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Installs kubectl if it is not on the PATH.
pub(crate) fn kubectl() -> Result<()> {
    if !run::exists("kubectl") {
        eprintln!("kubectl is not on the PATH.");
        apt(&["kubernetes-client"])?;
    }
    Ok(())
}

/// Installs curl if there is none with HTTP/2 on the PATH.
pub(crate) fn curl() -> Result<()> {
    let speaks_http2 = || {
        run::output(Command::new("curl").arg("--version"))
            .is_ok_and(|version| version.split_whitespace().any(|feature| feature == "HTTP2"))
    };
    if speaks_http2() {
        return Ok(());
    }
    eprintln!("There is no curl with HTTP/2 on the PATH.");
    apt(&["curl"])?;
    if !speaks_http2() {
        bail!("the curl on the PATH has no HTTP/2; put one with HTTP/2 on the PATH");
    }
    Ok(())
}

/// A Python for which MXNet's and numpy's wheels exist, with the modules for an environment.
fn find_python() -> Result<PathBuf> {
    if let Some(python) = usable_python() {
        return Ok(python);
    }
    eprintln!("There is no Python 3.10 to 3.12 with its venv module.");
    apt(&["python3", "python3-venv"])?;
    usable_python().context("no Python 3.10 to 3.12 was found; install one and put it on the PATH")
}

fn usable_python() -> Option<PathBuf> {
    let question =
        "import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))";
    let usable = |name: &&&str| {
        Command::new(name)
            .args(["-c", question])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    PYTHONS.iter().find(usable).map(PathBuf::from)
}

fn pip(python: &Path) -> Command {
    let mut command = run::command(python);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command
}

/// Imports MXNet once. It needs only the libraries of the GNU compiler from the system.
fn importable(python: &Path) -> Result<()> {
    let import = || run::output(run::command(python).args(["-W", "ignore", "-c", "import mxnet"]));
    let Err(error) = import() else { return Ok(()) };
    if !error.to_string().contains("libgomp") && !error.to_string().contains("libquadmath") {
        return Err(error.context("MXNet was installed but cannot be imported"));
    }
    apt(&["libgomp1", "libquadmath0"])?;
    import().map(drop).context("MXNet was installed but cannot be imported")
}

/// Extracts the data from scikit-learn's wheel. The package itself is not installed, because MXNet
/// would then import scipy in every process.
fn fetch_data(python: &Path, folder: &Path, data: &Path) -> Result<()> {
    let temporary = folder.join("download");
    // An interrupted run may have left the folder.
    let _ = std::fs::remove_dir_all(&temporary);
    run::check(
        pip(python)
            .args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "scikit-learn", "-d"])
            .arg(&temporary),
    )
    .context("cannot download the digits data; is a Python package index reachable?")?;
    run::quiet(
        run::command(python).args(["-c", EXTRACT]).arg(&temporary).arg(DATA_MEMBER).arg(data),
    )
    .context("cannot extract the digits data from the scikit-learn wheel")?;
    std::fs::remove_dir_all(&temporary)
        .with_context(|| format!("cannot remove {}", temporary.display()))
}

/// Installs Debian packages as root, otherwise fails with the command that does.
fn apt(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get update && apt-get install {}", packages.join(" "));
    let root = run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || !run::exists("apt-get") {
        bail!("Debian packages are missing; run `{by_hand}` as root and try again");
    }
    run::check(run::command("apt-get").args(["update", "-qq"]))?;
    run::check(
        run::command("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages),
    )
    .with_context(|| format!("cannot install Debian packages; try `{by_hand}`"))
}
