//! Between fork and exec: the child sets up the container around itself.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::Mode,
    mount::{MountFlags, MountPropagationFlags, mount_bind_recursive, mount_change, mount_remount},
    process::{
        Gid, Pid, Signal, Uid, getgid, getpid, getppid, set_parent_process_death_signal, setsid,
        umask,
    },
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};
use serde::{Deserialize, Serialize};

use crate::{
    beneath, cgroup, hosts,
    state::{Bind, DEFAULT_UMASK, Spec},
    sys::process::{
        close_others_on_exec, replace_stdio, reset_signals, unshare_mounts_and_host_name,
    },
};

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
) -> Failure {
    if let Err(failure) = prepare(spec, shim, stdout, stderr) {
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
        mount_all(spec, hosts)?;
    }
    let null = try_to("open /dev/null", File::open("/dev/null"))?;
    try_to("replace the standard streams", replace_stdio([null.as_fd(), stdout, stderr]))?;
    try_to("close descriptors", close_others_on_exec())?;
    change_user(spec)?;
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

fn mount_all(spec: &Spec, hosts: &Path) -> Result<(), Failure> {
    try_to("create a mount namespace", unshare_mounts_and_host_name())?;
    // New mounts of the machine appear here; ours do not appear there.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    try_to("separate the mounts", mount_change("/", slave))?;
    // Opened before the first mount, which may hide their folders.
    let sources = spec.binds.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    for (bind, source) in spec.binds.iter().zip(&sources) {
        mount(bind, &source.path)?;
    }
    try_to("mount the hosts file", mount_bind_recursive(hosts, "/etc/hosts"))?;
    // Programs that look up their own host name find the pod's address.
    let name = hosts::host_name(&spec.pod);
    try_to("set the host name", rustix::system::sethostname(name.as_bytes()))
}

/// The source of a mount.
struct Source {
    path: PathBuf,
    /// Kept open while its path in /proc is used: a container could change the real path.
    _descriptor: Option<OwnedFd>,
}

fn source(bind: &Bind) -> Result<Source, Failure> {
    let Some(sub_path) = &bind.sub_path else {
        return Ok(Source { path: bind.source.clone(), _descriptor: None });
    };
    let what = format!("prepare subPath {:?} of {:?}", sub_path.to_string(), bind.source);
    let descriptor = try_to(&what, beneath::open_or_make(&bind.source, sub_path))?;
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into();
    Ok(Source { path, _descriptor: Some(descriptor) })
}

fn mount(bind: &Bind, source: &Path) -> Result<(), Failure> {
    let what = format!("mount {:?} at {:?}", bind.source, bind.target);
    if !bind.target.exists() {
        if source.is_dir() {
            try_to(&what, fs::create_dir_all(&bind.target))?;
        } else {
            try_to(&what, File::create(&bind.target))?;
        }
    }
    try_to(&what, mount_bind_recursive(source, &bind.target))?;
    if bind.read_only {
        try_to(&what, mount_remount(&bind.target, MountFlags::BIND | MountFlags::RDONLY, ""))?;
    }
    Ok(())
}

pub(super) fn change_user(spec: &Spec) -> Result<(), Failure> {
    if spec.user.is_none() && spec.group.is_none() {
        return Ok(());
    }
    let group = spec.group.map_or_else(getgid, Gid::from_raw);
    try_to("drop the supplementary groups", set_thread_groups(&[group]))?;
    try_to("change the group", set_thread_gid(group))?;
    if let Some(user) = spec.user {
        try_to("change the user", set_thread_uid(Uid::from_raw(user)))?;
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
