//! Attributes of mounts.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

/// `struct mount_attr` of the kernel.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;

/// Makes a mount read-only, given a descriptor of its root; with `recursive` also the mounts below
/// it. Needs Linux 5.12.
pub(crate) fn make_read_only(mount: impl AsFd, recursive: bool) -> io::Result<()> {
    let attributes = Attributes { set: MOUNT_ATTR_RDONLY, ..Attributes::default() };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, and `attributes` has the layout and the size that are passed;
    // both exist until the call returns, which writes to neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attributes),
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
