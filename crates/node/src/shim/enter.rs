//! `shim --exec`: becomes a command in the place of a container that runs.
//!
//! Standard input, output and error are what the caller has given. Before the command takes over, this process joins the
//! container's cgroup (in a group of its own below it, so that it can be killed alone and dies with the container) and
//! its namespaces, and takes its user, environment and working directory.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode},
};

use rustix::{
    fs::Mode,
    process::{Pid, getpid, ioctl_tiocsctty, setsid, umask},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    child::{Failure, NOT_EXECUTABLE, NOT_FOUND, SETUP_FAILED, change_user, tried},
    complain,
};
use crate::{
    cgroup, exec, proc,
    state::{AttemptDir, RunRecord, Spec},
    sys::process::{close_others_on_exec, reset_signals},
};

/// What is on the command line.
struct Wish {
    dir: AttemptDir,
    tty: bool,
    command: Vec<OsString>,
}

/// Becomes the command. Returns only if that is impossible, with the code that a shell would give.
pub(super) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(wish) = parse(args) else {
        complain("usage: shim --exec DIR [--tty] -- COMMAND...");
        return ExitCode::from(2);
    };
    let Failure { code, message } = become_command(&wish);
    complain(&message);
    ExitCode::from(code)
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Wish> {
    let mut args = args.into_iter().peekable();
    let dir = AttemptDir::new(args.next()?.into());
    let tty = args.next_if(|word| word == "--tty").is_some();
    (args.next()? == "--").then_some(())?;
    let command: Vec<_> = args.collect();
    (!command.is_empty()).then_some(Wish { dir, tty, command })
}

fn become_command(wish: &Wish) -> Failure {
    let (Some(spec), Some(run)) = (wish.dir.spec(), wish.dir.run()) else {
        return gone();
    };
    if let Err(failure) = prepare(wish, &spec, &run) {
        return failure;
    }
    let Some((program, arguments)) = wish.command.split_first() else { return gone() };
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    if wish.tty {
        // What container runtimes say of their terminals; the container's own word counts more.
        command.env("TERM", "xterm");
    }
    let error = command
        .envs(spec.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))))
        .exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    Failure { code, message: format!("cannot run {program:?}: {error}") }
}

fn prepare(wish: &Wish, spec: &Spec, run: &RunRecord) -> Result<(), Failure> {
    let namespaces = match &spec.hosts {
        Some(_) => Some(Namespaces::of(run)?),
        None => None,
    };
    reset_signals();
    tried("start a session", setsid())?;
    if let Some(folder) = &spec.cgroup {
        let own = exec::group(folder, getpid());
        tried("make a cgroup", mxjob_files::public_dir(&own))?;
        tried("join the cgroup", cgroup::join(&own, getpid()))?;
    }
    // As the container itself. Best effort.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    if let Some(namespaces) = namespaces {
        namespaces.enter()?;
    }
    if wish.tty {
        tried("take the terminal", ioctl_tiocsctty(io::stdin().as_fd()))?;
    }
    umask(Mode::from_raw_mode(spec.umask));
    tried("close descriptors", close_others_on_exec())?;
    change_user(spec)?;
    std::env::set_current_dir(&spec.cwd).map_err(|error| Failure {
        code: NOT_FOUND,
        message: format!("cannot enter the working directory {:?}: {error}", spec.cwd),
    })
}

/// The namespaces of a container's program.
struct Namespaces {
    mount: File,
    host_name: File,
}

impl Namespaces {
    /// Opens them, if they are really the program's: its id could belong to another process by now.
    fn of(run: &RunRecord) -> Result<Self, Failure> {
        let program = run.pid.and_then(Pid::from_raw).ok_or_else(gone)?;
        let shim = Pid::from_raw(run.shim).ok_or_else(gone)?;
        let open = |kind: &str| {
            File::open(format!("/proc/{}/ns/{kind}", program.as_raw_nonzero())).map_err(|_| gone())
        };
        let found = Self { mount: open("mnt")?, host_name: open("uts")? };
        // A child of the living shim was the program all the while, or its successor in nothing but the number.
        let same = proc::start_time(shim) == Some(run.shim_start)
            && proc::parent(program) == Some(run.shim);
        if same { Ok(found) } else { Err(gone()) }
    }

    fn enter(&self) -> Result<(), Failure> {
        let into = |file: &File, kind| move_into_link_name_space(file.as_fd(), Some(kind));
        tried(
            "enter the host name",
            into(&self.host_name, LinkNameSpaceType::HostNameAndNISDomainName),
        )?;
        tried("enter the mounts", into(&self.mount, LinkNameSpaceType::Mount))
    }
}

fn gone() -> Failure {
    Failure { code: SETUP_FAILED, message: "the container does not run any more".to_owned() }
}
