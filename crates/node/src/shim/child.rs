//! Between fork and exec: the child sets up the container around itself.

pub(super) mod identity;
mod mounts;
pub(super) mod namespaces;
mod resolve;
mod root;
mod system_calls;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use rustix::{
    fs::Mode,
    process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid, umask},
};
use serde::{Deserialize, Serialize};

use super::intercept::Passage;
use crate::{
    cgroup,
    state::{DEFAULT_UMASK, Spec},
    sys::process::{close_others_on_exec, replace_stdio, reset_signals},
};

pub(super) use self::root::try_mounts;

/// Exit code if the program does not exist, as in a shell.
pub(super) const NOT_FOUND: u8 = 127;
/// Exit code if the program cannot be executed, as in a shell.
pub(super) const NOT_EXECUTABLE: u8 = 126;
/// Exit code if the setup failed, as in Kubernetes. A retry may succeed.
pub(super) const SETUP_FAILED: u8 = 128;

/// Why the program does not run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The exit code.
    pub(super) code: u8,
    /// The action that failed, and its error.
    pub(super) message: String,
}

/// Becomes the program. Returns only on failure.
pub(super) fn exec(
    spec: &Spec,
    shim: Pid,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    passage: Option<Passage>,
) -> Failure {
    if let Err(failure) = prepare(spec, shim, stdout, stderr, passage) {
        return failure;
    }
    let Some((program, arguments)) = spec.argv.split_first() else {
        return Failure { code: NOT_FOUND, message: "the command is empty".to_owned() };
    };
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))))
        .exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    Failure { code, message: format!("cannot run {program:?}: {error}") }
}

fn prepare(
    spec: &Spec,
    shim: Pid,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    passage: Option<Passage>,
) -> Result<(), Failure> {
    reset_signals();
    try_to("start a session", setsid())?;
    // Every user may enter mount points and their parent folders.
    umask(Mode::from_raw_mode(DEFAULT_UMASK));
    if let Some(folder) = &spec.cgroup {
        try_to("join the cgroup", cgroup::join(folder, getpid()))?;
    }
    try_to("join the cgroups", spec.groups.join(getpid()))?;
    // When memory is short, the kernel should kill training processes first. Best effort.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    if let Some(hosts) = &spec.hosts {
        mounts::set_up(spec, hosts)?;
    }
    let null = try_to("open /dev/null", File::open("/dev/null"))?;
    try_to("replace the standard streams", replace_stdio([null.as_fd(), stdout, stderr]))?;
    try_to("close descriptors", close_others_on_exec())?;
    if let Some(passage) = passage {
        try_to("pass system calls to the shim", passage.enter())?;
    }
    identity::take(spec)?;
    if let Err(error) = std::env::set_current_dir(&spec.cwd) {
        let message = format!("cannot enter the working directory {:?}: {error}", spec.cwd);
        return Err(Failure { code: NOT_FOUND, message });
    }
    umask(Mode::from_raw_mode(spec.umask));
    // Last, because a change of user resets it. The program ends with its shim, which alone records
    // how it ended.
    try_to("set the parent death signal", set_parent_process_death_signal(Some(Signal::KILL)))?;
    if getppid() != Some(shim) {
        return Err(Failure { code: SETUP_FAILED, message: "the shim has ended".to_owned() });
    }
    Ok(())
}

pub(super) fn try_to<T, E: std::fmt::Display>(
    what: &str,
    result: Result<T, E>,
) -> Result<T, Failure> {
    result
        .map_err(|error| Failure { code: SETUP_FAILED, message: format!("cannot {what}: {error}") })
}
