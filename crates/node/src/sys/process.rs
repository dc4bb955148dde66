//! Forking, signals and descriptors, for the shim and its child only.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd},
};

use rustix::process::Pid;

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The old process, with the id of the new one.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks a process that has one thread; refuses any other.
///
/// Rust code may go on in the child like in the parent, because with a single thread no lock (of the allocator,
/// say) can be held by somebody who does not exist in the child.
pub(crate) fn fork_single_threaded() -> io::Result<Fork> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with several threads must not fork"));
    }
    // SAFETY: `fork` itself has no memory effect on the caller; the danger is a child that finds locks held
    // by threads it does not have, and there is only one thread (checked above, and no other thread exists
    // that could start one meanwhile).
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(Fork::Child),
        -1 => Err(io::Error::last_os_error()),
        pid => Pid::from_raw(pid)
            .map(Fork::Parent)
            .ok_or_else(|| io::Error::other("fork returned no process id")),
    }
}

/// Ends this process at once: no destructors, no exit handlers. For a forked child, whose copies of the
/// parent's buffers must not be flushed a second time.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Gives this process its own copy of the named namespaces.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: the danger of `unshare` is un-sharing the descriptor table behind the back of `OwnedFd`s. The callers
    // pass mount and host-name namespaces only, which own no memory and no descriptors.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Gives every signal its default action again and blocks none. Ignored and blocked signals survive exec,
/// and a program must not inherit what the agent's own parent ignored.
pub(crate) fn reset_signals() {
    // SAFETY: setting the default action installs no handler, so no code of ours can run on a signal; an
    // invalid or unchangeable number is refused with an error that is of no interest. The signal set is
    // initialised by `sigemptyset` before `sigprocmask` reads it.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Marks every descriptor from 3 up as to be closed by exec, also those that the agent's own parent leaked.
pub(crate) fn close_others_on_exec() -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only flags of descriptors change; none is closed while somebody owns it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes `fd` the standard descriptor `target` (0, 1 or 2).
pub(crate) fn become_stdio(fd: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    assert!((0..=2).contains(&target), "only the standard descriptors are replaced");
    // SAFETY: `fd` is open, and the standard descriptors are owned by nobody in Rust's sense.
    if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Signals as a readable descriptor.
#[derive(Debug)]
pub(crate) struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` (and `also_blocked`, which nobody reads) and opens a descriptor for them.
    pub(crate) fn open(signals: &[i32], also_blocked: &[i32]) -> io::Result<Self> {
        let mut wanted = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut blocked = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are initialised by `sigemptyset` before anything reads them, and live until the
        // calls return. The descriptor that `signalfd` returns is new and owned by nobody else.
        unsafe {
            libc::sigemptyset(wanted.as_mut_ptr());
            libc::sigemptyset(blocked.as_mut_ptr());
            for &signal in signals {
                libc::sigaddset(wanted.as_mut_ptr(), signal);
                libc::sigaddset(blocked.as_mut_ptr(), signal);
            }
            for &signal in also_blocked {
                libc::sigaddset(blocked.as_mut_ptr(), signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, blocked.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, wanted.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next pending signal, if any.
    pub(crate) fn next(&self) -> Option<i32> {
        let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.0, &mut buffer).ok()?;
        // `ssi_signo` is the first field.
        let number = buffer.get(..read)?.first_chunk::<4>()?;
        Some(i32::from_ne_bytes(*number))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
