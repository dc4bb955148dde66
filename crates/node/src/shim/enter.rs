//! `shim --exec`: becomes a command in a running container.
//!
//! The caller provides standard input, output and error. Before it executes the command, this
//! process joins a cgroup below the container's, so that it can be killed alone and ends with the
//! container. It also enters the container's namespaces, and takes its user, environment and
//! working directory.

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
    child::{Failure, NOT_EXECUTABLE, NOT_FOUND, SETUP_FAILED, identity, try_to},
    intercept::Passage,
    report,
};
use crate::{
    cgroup, proc,
    state::{AttemptDir, RunRecord, Spec},
    sys::process::{close_others_on_exec, reset_signals},
};

/// The command line.
struct ExecArgs {
    dir: AttemptDir,
    tty: bool,
    command: Vec<OsString>,
}

/// Becomes the command. Returns only on failure, with the exit code of a shell.
pub(super) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(args) = parse(args) else {
        report("usage: shim --exec DIR [--tty] -- COMMAND...");
        return ExitCode::from(2);
    };
    let Failure { code, message } = become_command(&args);
    report(&message);
    ExitCode::from(code)
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Option<ExecArgs> {
    let mut args = args.into_iter().peekable();
    let dir = AttemptDir::new(args.next()?.into());
    let tty = args.next_if(|word| word == "--tty").is_some();
    (args.next()? == "--").then_some(())?;
    let command: Vec<_> = args.collect();
    (!command.is_empty()).then_some(ExecArgs { dir, tty, command })
}

fn become_command(args: &ExecArgs) -> Failure {
    let (Some(spec), Some(run)) = (args.dir.spec(), args.dir.run()) else {
        return ended();
    };
    if let Err(failure) = prepare(args, &spec, &run) {
        return failure;
    }
    let Some((program, arguments)) = args.command.split_first() else { return ended() };
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    if args.tty {
        // The default of container runtimes; the container's own variable takes precedence.
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

fn prepare(args: &ExecArgs, spec: &Spec, run: &RunRecord) -> Result<(), Failure> {
    let namespaces = match &spec.hosts {
        Some(_) => Some(Namespaces::of(run, spec.user_namespace)?),
        None => None,
    };
    reset_signals();
    // Before this process joins the cgroup of the command, which is to be empty after its end.
    let passage = match spec.intercept {
        Some(address) => Some(try_to("answer system calls", Passage::serve_apart(address))?),
        None => None,
    };
    try_to("start a session", setsid())?;
    if let Some(folder) = &spec.cgroup {
        let own = cgroup::of_command(folder, getpid());
        try_to("create a cgroup", mxjob_files::public_dir(&own))?;
        try_to("join the cgroup", cgroup::join(&own, getpid()))?;
    }
    try_to("join the cgroups", spec.groups.join(getpid()))?;
    // Like the container's program. Best effort.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    if let Some(namespaces) = namespaces {
        namespaces.enter()?;
    }
    if args.tty {
        try_to("attach the terminal", ioctl_tiocsctty(io::stdin().as_fd()))?;
    }
    umask(Mode::from_raw_mode(spec.umask));
    try_to("close descriptors", close_others_on_exec())?;
    if let Some(passage) = passage {
        try_to("pass system calls", passage.enter())?;
    }
    identity::take(spec)?;
    std::env::set_current_dir(&spec.cwd).map_err(|error| Failure {
        code: NOT_FOUND,
        message: format!("cannot enter the working directory {:?}: {error}", spec.cwd),
    })
}

/// The namespaces of a container's program.
struct Namespaces {
    /// Where the container needs one.
    user: Option<File>,
    mount: File,
    host_name: File,
}

impl Namespaces {
    /// Opens them and verifies that they are the program's: its id may have been reused.
    fn of(run: &RunRecord, with_users: bool) -> Result<Self, Failure> {
        let program = run.pid.and_then(Pid::from_raw).ok_or_else(ended)?;
        let shim = Pid::from_raw(run.shim).ok_or_else(ended)?;
        let open = |kind: &str| {
            File::open(format!("/proc/{}/ns/{kind}", program.as_raw_nonzero())).map_err(|_| ended())
        };
        let user = if with_users { Some(open("user")?) } else { None };
        let found = Self { user, mount: open("mnt")?, host_name: open("uts")? };
        // A child of the living shim with this id is the program, or another process in the same
        // container.
        let same = proc::start_time(shim) == Some(run.shim_start)
            && proc::parent(program) == Some(run.shim);
        if same { Ok(found) } else { Err(ended()) }
    }

    fn enter(&self) -> Result<(), Failure> {
        let into = |file: &File, kind| move_into_link_name_space(file.as_fd(), Some(kind));
        // First: it permits to enter the others.
        if let Some(user) = &self.user {
            try_to("enter the user namespace", into(user, LinkNameSpaceType::User))?;
        }
        try_to(
            "enter the host name namespace",
            into(&self.host_name, LinkNameSpaceType::HostNameAndNISDomainName),
        )?;
        try_to("enter the mount namespace", into(&self.mount, LinkNameSpaceType::Mount))
    }
}

fn ended() -> Failure {
    Failure { code: SETUP_FAILED, message: "the container has ended".to_owned() }
}
