//! Filters of system calls, and system calls that another process answers.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use rustix::process::Pid;

/// The architecture of this program in `struct seccomp_data`.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
/// The lower half: all supported machines are little-endian.
const FIRST_ARGUMENT: u32 = 16;

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    id: u64,
    /// The thread that made the call.
    pub(crate) thread: Pid,
    /// Its number.
    pub(crate) number: libc::c_long,
    pub(crate) arguments: [u64; 6],
}

/// The answer to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel executes it.
    Continue,
    /// It has succeeded, with the result 0.
    Done,
    /// It has failed with this error number.
    Failed(i32),
}

/// One instruction of a filter.
const fn instruction(code: u32, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    // All codes are below 256.
    #[allow(clippy::cast_possible_truncation)]
    libc::sock_filter { code: code as u16, jt: yes, jf: no, k: value }
}

const fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Skips `yes` instructions if the loaded value is equal to `value`, else `no`.
const fn if_equal(value: u32, yes: u8, no: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value)
}

const fn end(action: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

/// From now on `bind` and `connect` of this process and its children wait for answers through the
/// result. Needs CAP_SYS_ADMIN in the own user namespace.
pub(crate) fn intercept_addresses() -> io::Result<OwnedFd> {
    let filter = [
        load(ARCH),
        // Programs of another architecture are not intercepted.
        if_equal(ARCHITECTURE, 0, 3),
        load(NUMBER),
        if_equal(number(libc::SYS_bind), 2, 0),
        if_equal(number(libc::SYS_connect), 1, 0),
        end(libc::SECCOMP_RET_ALLOW),
        end(libc::SECCOMP_RET_USER_NOTIF),
    ];
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A signal must not interrupt a call that is being answered: Go interrupts its own threads all
    // the time. From Linux 5.19 on.
    let killable = listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let fd = match install(&filter, killable) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(&filter, listener)?,
        installed => installed?,
    };
    // SAFETY: with this flag the result is a new descriptor without an owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A system call that fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Always.
    Fail { number: libc::c_long, error: i32 },
    /// With any of these bits in its first argument.
    FailWithFlags { number: libc::c_long, flags: u32, error: i32 },
}

/// Forbids system calls to this process and its children, and all with a number above `highest`.
pub(crate) fn forbid(rules: &[Rule], highest: libc::c_long) -> io::Result<()> {
    const ALLOW: libc::sock_filter = end(libc::SECCOMP_RET_ALLOW);
    let fail = |error: i32| end(libc::SECCOMP_RET_ERRNO | error.unsigned_abs());
    let above = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let any_bit = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let mut filter = vec![
        load(ARCH),
        if_equal(ARCHITECTURE, 1, 0),
        fail(libc::EPERM),
        load(NUMBER),
        instruction(above, 0, 1, self::number(highest)),
        fail(libc::ENOSYS),
    ];
    for rule in rules {
        match *rule {
            Rule::Fail { number, error } => {
                filter.extend([if_equal(self::number(number), 0, 1), fail(error)]);
            }
            Rule::FailWithFlags { number, flags, error } => filter.extend([
                if_equal(self::number(number), 0, 4),
                load(FIRST_ARGUMENT),
                instruction(any_bit, 0, 1, flags),
                fail(error),
                ALLOW,
            ]),
        }
    }
    filter.push(ALLOW);
    install(&filter, 0).map(drop)
}

/// Numbers of system calls are small.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn number(call: libc::c_long) -> u32 {
    call as u32
}

fn install(filter: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<libc::c_int> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        // The kernel only reads it.
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to `len` instructions; both exist until the call returns, and the
    // kernel copies them. A filter that the kernel accepts cannot access memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            flags,
            std::ptr::from_ref(&program),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

/// Receives the next call. Blocks, unless the descriptor is readable.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Call> {
    let mut notice = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: the kernel wants zeros, and writes at most this structure, whose size is part of the
    // request.
    let result = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, notice.as_mut_ptr())
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all of it was zero, which is valid for its integers, before the kernel wrote to it.
    let notice = unsafe { notice.assume_init() };
    let thread = i32::try_from(notice.pid).ok().and_then(Pid::from_raw);
    Ok(Call {
        id: notice.id,
        // 0 if the thread is not visible from here.
        thread: thread.ok_or_else(|| io::Error::other("the caller is not visible"))?,
        number: libc::c_long::from(notice.data.nr),
        arguments: notice.data.args,
    })
}

/// Whether the caller still waits. Only then its process id is still its own.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, call: &Call) -> bool {
    // SAFETY: the kernel reads 8 bytes, the size of `id`.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            std::ptr::from_ref(&call.id),
        )
    };
    result == 0
}

/// Answers a call.
pub(crate) fn answer(listener: BorrowedFd<'_>, call: &Call, answer: Answer) -> io::Result<()> {
    let (error, flags) = match answer {
        Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        Answer::Done => (0, 0),
        Answer::Failed(number) => (-number, 0),
    };
    let response = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error,
        flags: number(flags as libc::c_long),
    };
    // SAFETY: the kernel reads this structure, whose size is part of the request.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            std::ptr::from_ref(&response),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads memory of another process. Returns the number of bytes.
pub(crate) fn read_memory(of: Pid, from: u64, to: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let remote = remote(from, to.len())?;
    // SAFETY: the kernel writes at most `to.len()` bytes to `to`. The other address is one of the
    // other process, which the kernel checks.
    let count = unsafe {
        libc::process_vm_readv(
            of.as_raw_nonzero().get(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes to memory of another process that it may write to.
pub(crate) fn write_memory(of: Pid, to: u64, from: &[u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let remote = remote(to, from.len())?;
    // SAFETY: the kernel only reads `from`. The other address is one of the other process, which
    // the kernel checks; no memory of this process changes.
    let count = unsafe {
        libc::process_vm_writev(
            of.as_raw_nonzero().get(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    if usize::try_from(count).is_ok_and(|count| count == from.len()) {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn remote(address: u64, length: usize) -> io::Result<libc::iovec> {
    let address = usize::try_from(address).map_err(io::Error::other)?;
    Ok(libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: length })
}
