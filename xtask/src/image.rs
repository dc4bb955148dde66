//! `image`: the program for a container image, and what an image is built from.
//!
//! The program is linked statically, C library included, so that the image needs no base and no package. It is tried as it will run: in a
//! root folder with nothing else in it. Neither a network nor a container engine is needed; `docker build` or any other builder then
//! takes the folder.

mod elf;

use crate::run;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the operator may take to ask for its API server.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes `target/image`. `--profile NAME` builds by another profile than `release`.
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
        bail!("{} is linked dynamically: it asks for {loader}", program.display());
    }
    let folder = run::target()?.join("image");
    lay_out(&folder, &program)?;
    let megabytes = bytes.len() / (1024 * 1024);
    println!("linked statically: {} ({megabytes} MiB)", program.display());
    try_in_empty_root(&folder)?;
    println!("ready for `docker build --tag TAG {}`", folder.display());
    Ok(())
}

/// Builds the program; returns where it is.
fn build(profile: &str) -> Result<PathBuf> {
    let host = host()?;
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" -C target-feature=+crt-static");
    // Without a loader the crate for random numbers does not find the system call at run time, and would want /dev/urandom.
    flags.push_str(" --cfg getrandom_backend=\"linux_getrandom\"");
    // With a target named, the flags are not for build scripts and macros, which cannot be static.
    let arguments = ["build", "--package", "mxjob", "--locked", "--offline", "--profile", profile];
    run::check(
        run::cargo().args(arguments).args(["--target", &host]).env("RUSTFLAGS", flags.trim()),
    )?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(run::target()?.join(host).join(folder).join("mxjob"))
}

/// The target that this machine is.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = run::output(run::command(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it builds for")
}

/// The folder that an image is built from.
fn lay_out(folder: &Path, program: &Path) -> Result<()> {
    let copy = || {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        std::fs::copy(run::root().join("Dockerfile"), folder.join("Dockerfile"))?;
        std::fs::copy(program, folder.join("mxjob"))
    };
    copy().map(drop).with_context(|| format!("cannot lay out {}", folder.display()))
}

/// Runs the program with nothing around it but what a cluster mounts into every pod. The operator must get as far as to ask for its
/// API server, by a name; nobody answers there. The name is in `/etc/hosts`: a DNS server is not tried.
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
    fill().with_context(|| format!("cannot lay out {}", root.display()))?;
    let Some(enter) = entrance() else {
        eprintln!("the program was not tried in an empty root: this system lets nobody enter one");
        return Ok(());
    };
    let version = run::output(enter(&root).args(["/mxjob", "version"]))?;
    println!("runs in an empty root: {}", version.trim());

    let log = root.with_extension("log");
    let mut operator = enter(&root);
    operator.args(["/mxjob", "operator", "--webhook-listen", "127.0.0.1:0"]);
    operator.args(["--metrics-listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]);
    // Port 1 is nobody's.
    operator.env("KUBERNETES_SERVICE_HOST", "cluster.example.com");
    operator.env("KUBERNETES_SERVICE_PORT", "1");
    let said = std::fs::File::create(&log).context("cannot make a log")?;
    let mut running = run::Guard::spawn(operator.stdout(Stdio::null()).stderr(said))?;
    let has_asked = run::poll(PATIENCE, Duration::from_millis(50), || {
        let said = std::fs::read_to_string(&log).context("cannot read the log")?;
        // An address was found, and nobody listens there.
        let is_done = said.contains("refused") || running.0.try_wait()?.is_some();
        Ok(is_done.then_some(said))
    })?;
    drop(running);
    let said = has_asked.context("the operator said nothing in an empty root")?;
    ensure!(
        said.contains("refused"),
        "the operator does not work in an empty root: {}",
        said.trim()
    );
    println!("asks for its API server in an empty root");
    std::fs::remove_file(&log)
        .and_then(|()| std::fs::remove_dir_all(&root))
        .context("cannot remove what was tried")
}

/// How a program can be run with another root, if it can: in a user namespace, or as root.
fn entrance() -> Option<fn(&Path) -> Command> {
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
