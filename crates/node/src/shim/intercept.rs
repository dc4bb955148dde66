//! The pod's own address without a network program: the shim answers the calls `bind` and `connect`
//! of the container.
//!
//! A network program on the cgroup (`sys/bpf.rs`) needs root. What it does, the shim does here for
//! the processes of an ordinary user, which wait in these two calls for its answer:
//!
//! * A bind to `0.0.0.0` or `::` becomes a bind to the pod's address.
//! * A connection to 127.0.0.0/8 has the pod's address as its source, and one to 127.0.0.1 reaches
//!   the pod's own listener, if there is one on that port.
//!
//! This is no protection: a program that wants another address gets it. Everything that fails here
//! is left to the kernel as it is.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind, recvmsg, sendmsg,
        socket_with, socketpair, sockopt,
    },
    process::{
        ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, WaitOptions, pidfd_getfd, pidfd_open,
        setsid, waitpid,
    },
};

use crate::sys::{
    process::{Fork, exit_now, fork_single_threaded, replace_stdio},
    seccomp::{self, Answer, Call},
};

/// The size of `struct sockaddr_in6`, the longest address of interest.
const LONGEST: usize = 28;
/// The size of `struct sockaddr_in`.
const SHORTEST: usize = 16;
/// Where the address of a `struct sockaddr_in` begins.
const ADDRESS_OFFSET: u64 = 4;
/// Ports below this one need a right that the shim may have and the program not.
const FIRST_FREE_PORT: u16 = 1024;

/// The two ends through which a container passes its calls to its shim.
#[derive(Debug)]
pub(super) struct Passage {
    shim: OwnedFd,
    container: OwnedFd,
}

/// The calls of a container.
#[derive(Debug)]
pub(super) struct Calls {
    listener: OwnedFd,
    address: Ipv4Addr,
}

// === impl Passage ===

impl Passage {
    pub(super) fn new() -> io::Result<Self> {
        let (shim, container) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { shim, container })
    }

    /// In the container: from now on the shim answers the calls of this process.
    pub(super) fn enter(self) -> io::Result<()> {
        let listener = seccomp::intercept_addresses()?;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [listener.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(&self.container, &[io::IoSlice::new(b"x")], &mut control, SendFlags::empty())?;
        Ok(())
    }

    /// In the shim: the calls of the container; `None` if it has ended before.
    pub(super) fn calls(self, address: Ipv4Addr) -> io::Result<Option<Calls>> {
        // Otherwise the end of the container would not be seen.
        drop(self.container);
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let buffer = &mut [io::IoSliceMut::new(&mut byte)];
        recvmsg(&self.shim, buffer, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let listener = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok(listener.map(|listener| Calls { listener, address }))
    }

    /// Starts a process that answers the calls of a container, and ends after it.
    pub(super) fn serve_apart(address: Ipv4Addr) -> io::Result<Self> {
        let passage = Self::new()?;
        let child = match fork_single_threaded()? {
            Fork::Parent(child) => child,
            Fork::Child => {
                // Its parent ends at once, so the command gets no unexpected child.
                if let Ok(Fork::Child) = fork_single_threaded() {
                    let _ = passage.serve(address);
                }
                exit_now(0);
            }
        };
        waitpid(Some(child), WaitOptions::empty())?;
        Ok(passage)
    }

    fn serve(self, address: Ipv4Addr) -> io::Result<()> {
        let _ = setsid();
        // The output of the command ends when nothing holds it.
        let null = fs::File::options().read(true).write(true).open("/dev/null")?;
        replace_stdio([null.as_fd(), null.as_fd(), null.as_fd()])?;
        let Some(calls) = self.calls(address)? else { return Ok(()) };
        loop {
            let mut fds = [PollFd::new(&calls.listener, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled?,
            };
            let [fd] = fds;
            if !calls.handle(fd.revents()) {
                return Ok(());
            }
        }
    }
}

// === impl Calls ===

impl Calls {
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Answers one call, if there is one. Returns false when no process is left that could make
    /// calls.
    pub(super) fn handle(&self, events: PollFlags) -> bool {
        if events.contains(PollFlags::IN) {
            // Both fail if the caller was killed.
            if let Ok(call) = seccomp::receive(self.as_fd()) {
                let answer = self.answer(&call).unwrap_or(Answer::Continue);
                let _ = seccomp::answer(self.as_fd(), &call, answer);
            }
            return true;
        }
        !events.intersects(PollFlags::HUP | PollFlags::ERR)
    }

    fn answer(&self, call: &Call) -> io::Result<Answer> {
        let [descriptor, pointer, length, ..] = call.arguments;
        let mut bytes = [0; LONGEST];
        let length = usize::try_from(length).unwrap_or(LONGEST).min(LONGEST);
        let part = bytes.get_mut(..length).unwrap_or_default();
        let count = seccomp::read_memory(call.thread, pointer, part)?;
        let Some(target) = parse(bytes.get(..count).unwrap_or_default()) else {
            return Ok(Answer::Continue);
        };
        match (call.number, target.ip()) {
            (libc::SYS_bind, ip) if ip.is_unspecified() => {
                // The rights of the program decide, and not those of the shim.
                if (1..FIRST_FREE_PORT).contains(&target.port()) {
                    return Ok(Answer::Continue);
                }
                self.bind(&self.socket(call, descriptor)?, target)
            }
            (libc::SYS_connect, IpAddr::V4(ip)) if ip.is_loopback() => {
                let socket = self.socket(call, descriptor)?;
                // The source. It does not matter whether this fails: a bound socket stays as it is.
                let _ = bind(&socket, &SocketAddr::from((self.address, 0)));
                if ip == Ipv4Addr::LOCALHOST
                    && sockopt::socket_type(&socket)? == SocketType::STREAM
                    && self.listens_on(target.port())
                {
                    let to = pointer.wrapping_add(ADDRESS_OFFSET);
                    seccomp::write_memory(call.thread, to, &self.address.octets())?;
                }
                Ok(Answer::Continue)
            }
            _ => Ok(Answer::Continue),
        }
    }

    /// Binds a socket to the pod's address instead of all addresses.
    fn bind(&self, socket: &OwnedFd, target: SocketAddr) -> io::Result<Answer> {
        // A datagram socket that is bound to any address and any port is a client, and may need to
        // reach other machines.
        if target.port() == 0 && sockopt::socket_type(socket)? == SocketType::DGRAM {
            return Ok(Answer::Continue);
        }
        // A socket for IPv6 only has no form of the pod's address.
        if target.is_ipv6() && sockopt::ipv6_v6only(socket)? {
            return Ok(Answer::Continue);
        }
        let ip = match target.ip() {
            IpAddr::V4(_) => IpAddr::V4(self.address),
            IpAddr::V6(_) => IpAddr::V6(self.address.to_ipv6_mapped()),
        };
        Ok(match bind(socket, &SocketAddr::new(ip, target.port())) {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed(error.raw_os_error()),
        })
    }

    /// The socket of the caller.
    fn socket(&self, call: &Call, descriptor: u64) -> io::Result<OwnedFd> {
        let number = i32::try_from(descriptor).map_err(io::Error::other)?;
        let thread = call.thread.as_raw_nonzero();
        let process = pidfd_open(process_of(call.thread)?, PidfdFlags::empty())?;
        let number = ForeignRawFd::from(number);
        let socket = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
        // The process id was the caller's if the caller waits now. A thread can have descriptors
        // of its own.
        let theirs = fs::read_link(format!("/proc/{thread}/fd/{number}"))?;
        let ours = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
        if theirs == ours && seccomp::still_waits(self.as_fd(), call) {
            Ok(socket)
        } else {
            Err(io::Error::other("the caller has ended"))
        }
    }

    /// Whether a process of the pod listens on a port of the pod's address.
    fn listens_on(&self, port: u16) -> bool {
        let in_use = || -> rustix::io::Result<bool> {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            // So that only a listener is in the way, and no ended connection.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            Ok(bind(&socket, &SocketAddr::from((self.address, port)))
                == Err(rustix::io::Errno::ADDRINUSE))
        };
        in_use().unwrap_or(false)
    }
}

/// The process of a thread.
fn process_of(thread: Pid) -> io::Result<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", thread.as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|id| Pid::from_raw(id.trim().parse().ok()?))
        .ok_or_else(|| io::Error::other("the process of a thread is not known"))
}

/// An address of the internet, from the bytes of a `struct sockaddr`.
fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match family {
        libc::AF_INET if bytes.len() >= SHORTEST => {
            let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some((Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            Some((Ipv6Addr::from(octets), port).into())
        }
        _ => None,
    }
}

/// Tries interception as for a container: `prepare` is called in a child process.
pub(super) fn try_interception(prepare: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let address = Ipv4Addr::LOCALHOST;
    let passage = Passage::new()?;
    let child = match fork_single_threaded()? {
        Fork::Parent(child) => child,
        Fork::Child => {
            let bound = prepare().and_then(|()| passage.enter()).and_then(|()| {
                let listener = std::net::TcpListener::bind(("0.0.0.0", 0))?;
                Ok(listener.local_addr()?.ip() == address)
            });
            exit_now(i32::from(!bound.unwrap_or(false)));
        }
    };
    if let Some(calls) = passage.calls(address)? {
        let mut open = true;
        while open {
            let mut fds = [PollFd::new(&calls.listener, PollFlags::IN)];
            poll(&mut fds, None)?;
            let [fd] = fds;
            open = calls.handle(fd.revents());
        }
    }
    match waitpid(Some(child), WaitOptions::empty())? {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(io::Error::other("system calls cannot be answered for another process")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_parsed() {
        let four = [2_u16.to_ne_bytes().as_slice(), &[0x1f, 0x90, 127, 0, 0, 1], &[0; 8]].concat();
        assert_eq!(parse(&four), Some((Ipv4Addr::LOCALHOST, 8080).into()));
        assert_eq!(parse(&four[..15]), None);
        let six = [10_u16.to_ne_bytes().as_slice(), &[0; 6], &[0; 15], &[1], &[0; 4]].concat();
        assert_eq!(parse(&six), Some((Ipv6Addr::LOCALHOST, 0).into()));
        for bytes in [&six[..23], &[1, 0, b'/', b'a'], &[2], &[]] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }
}
