//! Forking, signals and descriptors, for the shim and its child only.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use rustix::{
    process::Pid,
    thread::{UnshareFlags, unshare_unsafe},
};

/// The two sides of a fork.
pub(crate) enum Fork {
    /// The old process, with the id of the new one.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks this process. An error if it has more than one thread.
///
/// With a single thread no lock (for example of the allocator) is held by a thread that does not
/// exist in the child, so the child can run any Rust code.
pub(crate) fn fork_single_threaded() -> io::Result<Fork> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("cannot fork a process with several threads"));
    }
    // SAFETY: `fork` does not change the memory of the caller. The danger is a child in which
    // threads that do not exist there hold locks, and there is only one thread: this was checked
    // above, and only this thread could start another.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(Fork::Child),
        -1 => Err(io::Error::last_os_error()),
        pid => Pid::from_raw(pid)
            .map(Fork::Parent)
            .ok_or_else(|| io::Error::other("fork returned no process id")),
    }
}

/// Ends this process immediately, without destructors and exit handlers: a forked child must not
/// flush its copies of the parent's buffers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Gives this process its own mount and host name namespaces, and before them a user namespace in
/// which it has all capabilities.
pub(crate) fn unshare_mounts_and_host_name(with_users: bool) -> io::Result<()> {
    let users = if with_users { UnshareFlags::NEWUSER } else { UnshareFlags::empty() };
    // SAFETY: `unshare` is unsafe because un-sharing the descriptor table would invalidate
    // `OwnedFd`s of other threads. These namespaces own no memory and no descriptors.
    Ok(unsafe { unshare_unsafe(users | UnshareFlags::NEWNS | UnshareFlags::NEWUTS) }?)
}

/// Resets every signal to its default action and unblocks all. Ignored and blocked signals survive
/// exec, and a program must not inherit those of the agent's parent.
pub(crate) fn reset_signals() {
    // SAFETY: the default action is no handler, so none of our code can run on a signal. The call
    // fails without effect for invalid and unchangeable signals. `sigemptyset` initialises the set
    // before `sigprocmask` reads it.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// The CPU time that the children of this process that it has waited for used, with all their own,
/// and the largest resident memory of one of them in bytes.
pub(crate) fn use_of_children() -> io::Result<(Duration, u64)> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `getrusage` writes the whole struct, which exists until the call returns.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the struct is initialised.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
        seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or_default())
    };
    let kib = u64::try_from(usage.ru_maxrss).unwrap_or_default();
    Ok((time(usage.ru_utime) + time(usage.ru_stime), kib.saturating_mul(1024)))
}

/// The unit of times in `/proc`.
pub(crate) fn clock_ticks_per_second() -> u64 {
    system_value(libc::_SC_CLK_TCK).unwrap_or(100)
}

/// The unit of memory in `/proc`.
pub(crate) fn page_size() -> u64 {
    system_value(libc::_SC_PAGESIZE).unwrap_or(4096)
}

fn system_value(name: libc::c_int) -> Option<u64> {
    // SAFETY: `sysconf` has no preconditions; it returns -1 for a name that it does not know.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).ok().filter(|value| *value > 0)
}

/// Sets close-on-exec for every descriptor from 3 on, also for those that the agent's parent
/// leaked.
pub(crate) fn close_others_on_exec() -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only flags of descriptors change; no owned descriptor is closed.
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

/// Replaces standard input, output and error, in this order.
pub(crate) fn replace_stdio(streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    for (fd, target) in streams.into_iter().zip(0..) {
        // SAFETY: `fd` is open, and no value owns the standard descriptors 0 to 2, which are the
        // only targets.
        if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Signals as a readable descriptor.
#[derive(Debug)]
pub(crate) struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` and `also_blocked`, and opens a descriptor for `signals`.
    pub(crate) fn open(signals: &[i32], also_blocked: &[i32]) -> io::Result<Self> {
        let mut read_set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut blocked_set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises both sets before they are read, and they exist until
        // the calls return. `sigaddset` fails without effect for an invalid signal. `signalfd`
        // returns a new descriptor without an owner.
        unsafe {
            libc::sigemptyset(read_set.as_mut_ptr());
            libc::sigemptyset(blocked_set.as_mut_ptr());
            for &signal in signals {
                libc::sigaddset(read_set.as_mut_ptr(), signal);
                libc::sigaddset(blocked_set.as_mut_ptr(), signal);
            }
            for &signal in also_blocked {
                libc::sigaddset(blocked_set.as_mut_ptr(), signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, blocked_set.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, read_set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
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
