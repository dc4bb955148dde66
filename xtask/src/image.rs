//! `image`: the program for a container image, and the folder that an image is built from.
//!
//! The program is linked statically, C library included, so that the image needs no base and no
//! package. It is tried in a root folder with no other program. Neither a network nor a container
//! engine is needed; `docker build` or any other builder takes the folder.

mod elf;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run;

/// How long the operator may take to send a request to its API server.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Creates `target/image`. `--profile NAME` builds with another profile than `release`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let profile = match arguments {
        [] => "release",
        [flag, profile] if flag == "--profile" => profile,
        _ => bail!("usage: cargo xtask image [--profile NAME]"),
    };
    let program = build(profile)?;
    let bytes =
        std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    if let Some(loader) = elf::interpreter(&bytes)? {
        bail!("{} is linked dynamically: it needs {loader}", program.display());
    }
    let folder = run::target()?.join("image");
    fill(&folder, &program)?;
    let megabytes = bytes.len() / (1024 * 1024);
    println!("linked statically: {} ({megabytes} MiB)", program.display());
    try_in_empty_root(&folder)?;
    println!("ready for `docker build --tag TAG {}`", folder.display());
    Ok(())
}

/// Builds the program; returns its path.
fn build(profile: &str) -> Result<PathBuf> {
    let host = host()?;
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" -C target-feature=+crt-static");
    // In a static program the crate for random numbers does not find the system call at run time,
    // and would need /dev/urandom.
    flags.push_str(" --cfg getrandom_backend=\"linux_getrandom\"");
    // With `--target`, the flags are not used for build scripts and macros, which cannot be static.
    let arguments = ["build", "--package", "mxjob", "--locked", "--offline", "--profile", profile];
    run::check(
        run::cargo().args(arguments).args(["--target", &host]).env("RUSTFLAGS", flags.trim()),
    )?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(run::target()?.join(host).join(folder).join("mxjob"))
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = run::output(run::command(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` prints no host")
}

/// Fills the folder that an image is built from.
fn fill(folder: &Path, program: &Path) -> Result<()> {
    let copy = || {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        std::fs::copy(run::root().join("Dockerfile"), folder.join("Dockerfile"))?;
        std::fs::copy(program, folder.join("mxjob"))
    };
    copy().map(drop).with_context(|| format!("cannot fill {}", folder.display()))
}

/// Runs the program with only the files that a cluster mounts into every pod. The operator must try
/// to connect to its API server, which does not answer. The name of the server is in `/etc/hosts`,
/// so DNS is not tested.
fn try_in_empty_root(image: &Path) -> Result<()> {
    let root = run::target()?.join("image-root");
    let account = root.join("var/run/secrets/kubernetes.io/serviceaccount");
    let fill = || {
        if root.exists() {
            std::fs::remove_dir_all(&root)?;
        }
        std::fs::create_dir_all(root.join("etc"))?;
        std::fs::create_dir_all(&account)?;
        std::fs::copy(image.join("mxjob"), root.join("mxjob"))?;
        std::fs::write(root.join("etc/hosts"), "127.0.0.1 cluster.example.com\n")?;
        std::fs::write(account.join("ca.crt"), include_str!("image/ca.crt"))?;
        std::fs::write(account.join("token"), "token")?;
        std::fs::write(account.join("namespace"), "mxjob-system")
    };
    fill().with_context(|| format!("cannot fill {}", root.display()))?;
    let Some(enter) = command_with_root() else {
        eprintln!(
            "the program was not tried in an empty root folder: this system does not permit it"
        );
        return Ok(());
    };
    let version = run::output(enter(&root).args(["/mxjob", "version"]))?;
    println!("runs in an empty root folder: {}", version.trim());

    let log = root.with_extension("log");
    let mut operator = enter(&root);
    operator.args(["/mxjob", "operator", "--webhook-listen", "127.0.0.1:0"]);
    operator.args(["--metrics-listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]);
    // No program listens on port 1.
    operator.env("KUBERNETES_SERVICE_HOST", "cluster.example.com");
    operator.env("KUBERNETES_SERVICE_PORT", "1");
    let stderr = std::fs::File::create(&log).context("cannot create a log file")?;
    let mut running = run::Guard::spawn(operator.stdout(Stdio::null()).stderr(stderr))?;
    let has_asked = run::poll(FIRST_REQUEST_TIMEOUT, Duration::from_millis(50), || {
        let text = std::fs::read_to_string(&log).context("cannot read the log")?;
        // The name was resolved, and the connection was refused.
        let is_done = text.contains("refused") || running.0.try_wait()?.is_some();
        Ok(is_done.then_some(text))
    })?;
    drop(running);
    let text = has_asked.context("the operator sent no request in an empty root folder")?;
    ensure!(
        text.contains("refused"),
        "the operator does not work in an empty root folder: {}",
        text.trim()
    );
    println!("connects to its API server in an empty root folder");
    std::fs::remove_file(&log)
        .and_then(|()| std::fs::remove_dir_all(&root))
        .context("cannot remove the empty root folder")
}

/// A way to run a program with another root folder, if there is one: in a user namespace, or as
/// root.
fn command_with_root() -> Option<fn(&Path) -> Command> {
    let unshared = |root: &Path| {
        let mut command = run::command("unshare");
        command.args(["--user", "--map-root-user", "--root"]).arg(root);
        command
    };
    let changed = |root: &Path| {
        let mut command = run::command("chroot");
        command.arg(root);
        command
    };
    let ways: [fn(&Path) -> Command; 2] = [unshared, changed];
    ways.into_iter().find(|way| run::output(way(Path::new("/")).arg("true")).is_ok())
}
