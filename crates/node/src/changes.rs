//! Being told when something happens in a folder.

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
    /// Begins to watch. What happens from now on is seen.
    pub(crate) fn watch(folder: &Path) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let wanted = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&fd, folder, wanted)?;
        Ok(Self(fd))
    }

    /// The descriptor, readable when something happened; for async code, which uses [`forget`].
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Blocks until something happens, but not longer than `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        let timeout = Timespec::try_from(limit).ok();
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref());
        forget(self.0.as_fd());
    }
}

/// Takes away what happened. What it was does not matter: whoever waits looks at the folder itself.
pub(crate) fn forget(fd: BorrowedFd<'_>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    while rustix::io::read(fd, &mut buffer).is_ok() {}
}
