//! Between fork and exec: the child makes itself the container.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
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
    thread::{UnshareFlags, set_thread_gid, set_thread_groups, set_thread_uid},
};
use serde::{Deserialize, Serialize};

use crate::{
    beneath, cgroup,
    state::{Bind, DEFAULT_UMASK, Spec},
    sys::process::{become_stdio, close_others_on_exec, reset_signals, unshare},
};

/// The program is not there: what a shell answers.
pub(super) const NOT_FOUND: u8 = 127;
/// The program is there and cannot be run: what a shell answers.
pub(super) const NOT_EXECUTABLE: u8 = 126;
/// The machine refused something around the program, so trying again may help: what Kubernetes answers.
pub(super) const SETUP_FAILED: u8 = 128;

/// Why there is no program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The exit code to report.
    pub(super) code: u8,
    /// What was tried, and what came of it.
    pub(super) message: String,
}

/// Becomes the program. Returns only if that is impossible.
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
        return Failure { code: NOT_FOUND, message: "there is no command".to_owned() };
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
    tried("start a session", setsid())?;
    // Mount points and what is on the way to them may be entered by every user.
    umask(Mode::from_raw_mode(DEFAULT_UMASK));
    if let Some(folder) = &spec.cgroup {
        tried("join the cgroup", cgroup::join(folder, getpid()))?;
    }
    // Training processes are what the kernel should end first when memory is short. Best effort.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    if let Some(hosts) = &spec.hosts {
        mount_all(spec, hosts)?;
    }
    let null = tried("open /dev/null", std::fs::File::open("/dev/null"))?;
    tried("redirect input", become_stdio(std::os::fd::AsFd::as_fd(&null), 0))?;
    tried("redirect output", become_stdio(stdout, 1))?;
    tried("redirect errors", become_stdio(stderr, 2))?;
    tried("close descriptors", close_others_on_exec())?;
    change_user(spec)?;
    if let Err(error) = std::env::set_current_dir(&spec.cwd) {
        let message = format!("cannot enter the working directory {:?}: {error}", spec.cwd);
        return Err(Failure { code: NOT_FOUND, message });
    }
    umask(Mode::from_raw_mode(spec.umask));
    // Last, because a change of user resets it. The program goes when its shim goes: nobody would know how it ends.
    tried("tie the program to its shim", set_parent_process_death_signal(Some(Signal::KILL)))?;
    if getppid() != Some(shim) {
        return Err(Failure { code: SETUP_FAILED, message: "the shim is gone".to_owned() });
    }
    Ok(())
}

fn mount_all(spec: &Spec, hosts: &Path) -> Result<(), Failure> {
    tried("make a mount namespace", unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUTS))?;
    // Mounts of the machine still appear here; ours never appear there.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    tried("separate the mounts", mount_change("/", slave))?;
    // Looked up before the first mount, which may hide what they are in.
    let sources = spec.binds.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    for (bind, source) in spec.binds.iter().zip(&sources) {
        mount(bind, &source.path)?;
    }
    tried("mount the hosts file", mount_bind_recursive(hosts, "/etc/hosts"))?;
    // So that programs which look up their own host name find the pod's address.
    tried("set the host name", rustix::system::sethostname(spec.pod.as_bytes()))
}

/// What to mount.
struct Source {
    path: PathBuf,
    /// Where the path is that of a descriptor, because a container could change the way to what it names.
    _descriptor: Option<OwnedFd>,
}

fn source(bind: &Bind) -> Result<Source, Failure> {
    let Some(sub_path) = &bind.sub_path else {
        return Ok(Source { path: bind.source.clone(), _descriptor: None });
    };
    let what = format!("prepare subPath {:?} of {:?}", sub_path.to_string(), bind.source);
    let descriptor = tried(&what, beneath::open_or_make(&bind.source, sub_path))?;
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into();
    Ok(Source { path, _descriptor: Some(descriptor) })
}

fn mount(bind: &Bind, source: &Path) -> Result<(), Failure> {
    let what = format!("mount {:?} at {:?}", bind.source, bind.target);
    if !bind.target.exists() {
        if source.is_dir() {
            tried(&what, std::fs::create_dir_all(&bind.target))?;
        } else {
            tried(&what, std::fs::File::create(&bind.target))?;
        }
    }
    tried(&what, mount_bind_recursive(source, &bind.target))?;
    if bind.read_only {
        tried(&what, mount_remount(&bind.target, MountFlags::BIND | MountFlags::RDONLY, ""))?;
    }
    Ok(())
}

pub(super) fn change_user(spec: &Spec) -> Result<(), Failure> {
    if spec.user.is_none() && spec.group.is_none() {
        return Ok(());
    }
    let group = spec.group.map_or_else(getgid, Gid::from_raw);
    tried("drop the supplementary groups", set_thread_groups(&[group]))?;
    tried("change the group", set_thread_gid(group))?;
    if let Some(user) = spec.user {
        tried("change the user", set_thread_uid(Uid::from_raw(user)))?;
    }
    Ok(())
}

pub(super) fn tried<T, E: std::fmt::Display>(
    what: &str,
    result: Result<T, E>,
) -> Result<T, Failure> {
    result
        .map_err(|error| Failure { code: SETUP_FAILED, message: format!("cannot {what}: {error}") })
}
