//! Notifications about changes in a folder.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};

/// Watches one folder: files written, closed after writing, or moved into it, and its own removal.
#[derive(Debug)]
pub(crate) struct Changes(OwnedFd);

impl Changes {
    /// Starts watching. Every change after this call is reported.
    pub(crate) fn watch(folder: &Path) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&fd, folder, events)?;
        Ok(Self(fd))
    }

    /// The descriptor, readable after a change; async code calls [`drain`] on it.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Blocks until there is a change or `limit` has passed.
    pub(crate) fn wait(&self, limit: Duration) {
        let timeout = Timespec::try_from(limit).ok();
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref());
        drain(self.0.as_fd());
    }
}

/// Discards the pending notifications: callers look at the folder itself.
pub(crate) fn drain(fd: BorrowedFd<'_>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    while rustix::io::read(fd, &mut buffer).is_ok() {}
}
